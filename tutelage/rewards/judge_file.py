"""The YAML file of a judge: where it is asked, by what rubric, on what scale. The key stands in the environment."""

from __future__ import annotations

import difflib
import math
import os
import urllib.parse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError

LOCAL = {"localhost", "127.0.0.1", "::1"}
LARGEST = 10_000


@dataclass(frozen=True)
class JudgeConfig:
    """What the YAML file of a judge says."""

    base_url: str
    """The endpoint up to and without /chat/completions, e.g. http://localhost:8000/v1."""
    model: str
    """What the endpoint calls the model."""
    rubric: str
    """What is good, in words."""
    scale_min: float = 0.0
    """The worst score."""
    scale_max: float = 10.0
    """The best score."""
    api_key_env: str = ""
    """The environment variable that holds the key; empty where none is needed."""
    timeout_seconds: float = 60.0
    """How long one call may take."""
    max_tries: int = 5
    """Calls for one answer at most."""
    wait_seconds: float = 1.0
    """Before the second call; twice as long before each further one."""
    concurrency: int = 4
    """Calls at the same time."""
    allow_http: bool = False
    """Let an endpoint on another machine be asked without encryption."""

    def __post_init__(self) -> None:
        self._check_url()
        if not (math.isfinite(self.scale_min) and math.isfinite(self.scale_max) and self.scale_min < self.scale_max):
            raise ConfigError(
                f"scale_min is {self.scale_min} and scale_max {self.scale_max}; the second must be larger"
            )
        for name in ("timeout_seconds", "max_tries", "concurrency"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0 and at most {LARGEST}")
        if not 0 <= self.wait_seconds <= LARGEST:
            raise ConfigError(f"wait_seconds is {self.wait_seconds}; it must be from 0 to {LARGEST}")
        if self.api_key_env and not self.api_key_env.isidentifier():  # not shown: it may be the key itself
            raise ConfigError("api_key_env must be the name of an environment variable, such as JUDGE_KEY")

    def _check_url(self) -> None:
        try:
            url = urllib.parse.urlsplit(self.base_url)
            _ = url.port
        except ValueError as error:
            raise ConfigError(f"base_url is '{self.base_url}': {error}") from None
        if "@" in url.netloc:  # not shown: what stands there is a secret
            raise ConfigError("base_url holds a name or password; put the key into the variable that api_key_env names")
        plain = self.base_url.isascii() and self.base_url.isprintable() and " " not in self.base_url
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or not plain:
            raise ConfigError(
                f"base_url is '{self.base_url}'; it must be like https://host/v1 (or http://localhost:8000/v1)"
            )
        if url.scheme == "http" and url.hostname not in LOCAL and not self.allow_http:
            raise ConfigError(f"base_url is {self.base_url}, without encryption; use https://, or say allow_http: true")

    @property
    def url(self) -> str:
        """Where it is asked."""
        return self.base_url.rstrip("/") + "/chat/completions"

    @property
    def key(self) -> str:
        """The key, from the environment. Raises ConfigError when the variable is not set."""
        if not self.api_key_env:
            return ""
        if not (key := os.environ.get(self.api_key_env, "").strip()):
            raise ConfigError(f"the environment variable {self.api_key_env} of the judge is not set; export it")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the environment variable {self.api_key_env} of the judge holds no key; export it anew")
        return key


def read_judge(file: Path) -> JudgeConfig:
    """Read a judge's file. Raises ConfigError naming file and key."""
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--reward judge: {file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--reward judge: {file} is no readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"--reward judge: {file} must be a mapping with base_url, model and rubric")
    try:
        _check_keys(values)
        config = JudgeConfig(**values)
        _ = config.key
    except ConfigError as error:
        raise ConfigError(f"--reward judge: {file}: {error}") from None
    return config


def _check_keys(values: dict[Any, Any]) -> None:
    kinds = {item.name: str(item.type) for item in fields(JudgeConfig)}
    for key, value in values.items():
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=1, cutoff=0.0)[0]
            raise ConfigError(f"unknown key '{key}'; did you mean '{near}'? There are: {', '.join(kinds)}")
        if not _fits(value, kinds[key]):
            raise ConfigError(f"'{key}' is {value!r}; it must be of type {kinds[key]}")
    if missing := [key for key in ("base_url", "model", "rubric") if not str(values.get(key, "")).strip()]:
        raise ConfigError(f"'{missing[0]}' is missing")


def _fits(value: Any, kind: str) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    wanted: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    return isinstance(value, wanted[kind]) and not isinstance(value, bool)
