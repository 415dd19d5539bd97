"""Load a model and its tokenizer for use and for training: any Hugging Face causal language model, safetensors only.

What can be wrong with a folder is found before transformers sees it, so that each mistake is one line with a remedy.
Leaves out reward models (`tutelage.models.reward`) and quantised loading.
"""

from __future__ import annotations

import copyreg
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tutelage.errors import ConfigError, ModelError
from tutelage.models.find import ResolvedModel, kind_of, resolve_model
from tutelage.models.folder import read_origin
from tutelage.models.starter import ensure_starter
from tutelage.models.template import ensure_pad_token, set_generation_tokens
from tutelage.models.weights import check_folder, check_weights, has_tokenizer

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_CONTENT_ERRORS = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)
# No *.bin or *.pt: pickles are never fetched. `consolidated*` are the same weights once more in another layout.
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*"]
_HUB_FILES_LEFT_OUT = ["consolidated*", "*/*"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in evaluation mode on its device, and the tokenizer that belongs to it."""

    model: Any
    tokenizer: Any
    name: str
    path: Path


def load_model(
    name: str,
    *,
    workspace: Path | None = None,
    dtype: str = "bfloat16",
    device: str | None = None,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Loaded:
    """Load what `name` means (see `tutelage.models.find`), fetching a starter or hub model first if need be.

    `device` is a GPU where there is one, else the CPU, unless given. A folder with an adapter gives the base model with
    that adapter on it. `progress` takes a line a step of fetching; standard error otherwise. Raises `ModelError`, also
    for a reward model and an ensemble of them.
    """
    compute_dtype, home = torch_dtype(dtype), torch_device(device)
    path = local_folder(resolve_model(name, workspace), progress or to_standard_error, trust_remote_code)
    _refuse_what_cannot_write(name, path)
    if (path / "adapter_config.json").is_file():
        model, tokenizer = put_adapter(path, trust_remote_code, lambda base: load_model(
            base, workspace=workspace, dtype=dtype, device="cpu", trust_remote_code=trust_remote_code,
            progress=progress,
        ))  # fmt: skip
    else:
        check_own_code(path, trust_remote_code)
        tokenizer = load_tokenizer(path, trust_remote_code)
        model = _load_weights(path, compute_dtype, trust_remote_code)
    check_vocabulary(model, tokenizer, path)
    ensure_pad_token(tokenizer)
    set_generation_tokens(model, tokenizer)
    return Loaded(model.to(home).eval(), tokenizer, name, path)


def _refuse_what_cannot_write(name: str, path: Path) -> None:
    """A tied reward model would load as a language model without a word, with its head dropped."""
    kind = kind_of(path)
    if kind == "reward model":
        raise ModelError(f"'{name}' is a reward model: it scores answers and writes none; give a language model")
    if kind == "ensemble":
        raise ModelError(f"'{name}' is an ensemble of reward models, which write no answers; give a language model")


def to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def torch_dtype(dtype: str) -> torch.dtype:
    if dtype not in DTYPES:
        raise ConfigError(f"dtype '{dtype}' is unknown; known: {', '.join(DTYPES)}")
    return DTYPES[dtype]


def torch_device(device: str | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        there = "cpu or cuda" if torch.cuda.is_available() else "cpu"
        raise ConfigError(f"device '{device}' cannot be used here ({one_line(error)}); try {there}") from error
    return torch.device(device)


def local_folder(found: ResolvedModel, say: Callable[[str], None], trust_remote_code: bool) -> Path:
    if found.origin == "starter":
        return ensure_starter(found.name, say)
    if found.hub_id is not None:
        return _fetch_from_hub(found.hub_id, trust_remote_code)
    assert found.path is not None
    return found.path


def _fetch_from_hub(hub_id: str, trust_remote_code: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    files = [*_HUB_FILES, "*.py"] if trust_remote_code else _HUB_FILES
    try:
        return Path(snapshot_download(hub_id, allow_patterns=files, ignore_patterns=_HUB_FILES_LEFT_OUT))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(
            f"{hub_id} could not be fetched from the hub ({one_line(error)}); check the id, the network and your "
            "access, or give a folder or a starter model"
        ) from error


def check_own_code(path: Path, trust_remote_code: bool) -> None:
    """Check the folder, and say plainly that a model brings code of its own where loading it would have to run that."""
    from transformers import CONFIG_MAPPING

    check_folder(path)
    if trust_remote_code:
        return
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if "auto_map" in config and config["model_type"] not in CONFIG_MAPPING:
        raise ModelError(
            f"{path} needs Python code of its own (model type '{config['model_type']}'); "
            "set trust_remote_code if you have read that code and trust it"
        )


def load_tokenizer(path: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    with one_line_errors(f"{path}: the tokenizer cannot be loaded"), _handed_over():
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)


@contextmanager
def _handed_over() -> Iterator[None]:
    """Hand what was parsed over to its tokenizer, which would copy it: 2 s of work where there are 262,144 tokens.

    A reductor that gives a string says that a deep copy is the object itself, as it is for functions.
    """
    from tokenizers import Tokenizer

    copyreg.dispatch_table[Tokenizer] = lambda _: "itself"
    try:
        yield
    finally:
        copyreg.dispatch_table.pop(Tokenizer, None)  # another thread may have done so


def _load_weights(path: Path, dtype: torch.dtype, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    with one_line_errors(f"{path}: the model cannot be loaded"), no_progress_bars():
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        model, info = AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            attn_implementation=attention_for(config),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{path} lacks {len(missing)} tensors of a {config.model_type} language model, the first is {missing[0]}; "
            "fetch or save the model again, or give a causal language model"
        )
    return model


def attention_for(config: Any) -> str:
    """SDPA has no soft cap on attention scores and would leave it out without a word (Gemma 2)."""
    return "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"


def put_adapter(path: Path, trust_remote_code: bool, load_base: Callable[[str], Loaded]) -> tuple[Any, Any]:
    """An adapter on its base model, which `load_base` loads by its name, and the tokenizer."""
    import peft

    base_name = adapter_base(path)
    try:
        base = load_base(base_name)
    except ModelError as error:
        raise ModelError(f"{path} is an adapter, and its base model cannot be loaded: {error}") from error
    with one_line_errors(f"{path}: the adapter does not fit its base model {base_name}"):
        model = peft.PeftModel.from_pretrained(base.model, str(path), is_trainable=True)
    return model, load_tokenizer(path, trust_remote_code) if has_tokenizer(path) else base.tokenizer


def adapter_base(path: Path) -> str:
    """The name of the model that the adapter in `path` belongs on; `ModelError` for an adapter that is not whole."""
    import peft

    with one_line_errors(f"{path}: the adapter cannot be loaded"):
        config = peft.PeftConfig.from_pretrained(str(path))
    base_name = read_origin(path).get("base_model") or config.base_model_name_or_path
    if not base_name:
        raise ModelError(f"{path}/adapter_config.json names no base model; add base_model_name_or_path to it")
    check_weights(path)
    return str(base_name)


def check_vocabulary(model: Any, tokenizer: Any, path: Path) -> None:
    """Raise `ModelError` when the tokenizer has tokens that the model has no embedding for."""
    num_embeddings = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > num_embeddings:
        raise ModelError(
            f"{path}: the tokenizer has {len(tokenizer):,} tokens and the model {num_embeddings:,}; "
            "use the tokenizer that belongs to the model"
        )


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Turn what transformers, tokenizers and peft raise about a folder's content into one `ModelError`."""
    try:
        yield
    except Exception as error:
        # tokenizers raises a bare Exception for a damaged file; subclasses not named here are mistakes of ours.
        if isinstance(error, _CONTENT_ERRORS) or type(error) is Exception:
            raise ModelError(f"{what} ({one_line(error)})") from error
        raise


def one_line(error: BaseException) -> str:
    """The first line of an error's message, without its closing stop, cut to 200 characters; its type where empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:")[:200] if lines else type(error).__name__


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for shards that it reads or writes in a second."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
