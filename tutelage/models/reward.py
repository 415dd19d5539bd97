"""Reward models: a language model whose head gives one score instead of the next token's logits.

They are transformers' `AutoModelForSequenceClassification` with one label, so that everything else reads them too.

Where the score is read: at the last token of prompt and answer, which is the token that ends the turn. transformers'
own forward reads the last token that is not padding, so the two agree as long as the pad token is set and is no token
that can end an answer; `set_score_position` sees to that. A model made elsewhere may have been trained to be read one
token later (a blank line after the turn) or earlier (pad = end of turn); that is not to be seen in a folder.

Leaves out: the loss (`tutelage.methods`), scoring in packed rows (`tutelage.engine`), and heads with a hidden layer,
a bias or several labels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tutelage.errors import ModelError
from tutelage.models.adapt import merge_lora
from tutelage.models.ensemble import read_ensemble
from tutelage.models.find import kind_of, resolve_model
from tutelage.models.load import (
    Loaded,
    attention_for,
    check_own_code,
    check_vocabulary,
    load_model,
    load_tokenizer,
    local_folder,
    no_progress_bars,
    one_line_errors,
    put_adapter,
    to_standard_error,
    torch_device,
    torch_dtype,
)
from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token
from tutelage.models.weights import check_folder, read_header, weight_files

_FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f")


def load_reward_model(
    name: str,
    *,
    workspace: Path | None = None,
    dtype: str = "bfloat16",
    device: str | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] | None = None,
    fresh_head: bool = True,
) -> Loaded:
    """Load the reward model that `name` means, or make one of the language model that it means.

    A language model gets a fresh head drawn from N(0, 1/(dim + 1)) with `seed` (Stiennon et al. 2020, appendix B,
    https://arxiv.org/abs/2009.01325), divided by the size that the final norm gives hidden states, so that first scores
    are of size one whatever the family; with `fresh_head` False it is refused, since such a head scores at random. An
    adapter on a language model is merged into it first, so that what is trained next starts from one whole model. An
    adapter on a reward model stays an adapter. The tokenizer gets a chat template where it has none. Raises
    `ModelError`.
    """
    compute_dtype, home = torch_dtype(dtype), torch_device(device)
    path = local_folder(resolve_model(name, workspace), progress or to_standard_error, trust_remote_code)
    kind = _checked_kind(name, path, fresh_head)
    if kind != "reward model":
        base = load_model(
            str(path),  # the same model, by whatever name
            workspace=workspace,
            dtype=dtype,
            device="cpu",
            trust_remote_code=trust_remote_code,
            progress=progress,
        )
        model, tokenizer = _with_fresh_head(base, seed, trust_remote_code), base.tokenizer
    elif (path / "adapter_config.json").is_file():
        model, tokenizer = put_adapter(path, trust_remote_code, lambda base: _load_base(
            path, base, workspace=workspace, dtype=dtype, trust_remote_code=trust_remote_code, progress=progress
        ))  # fmt: skip
    else:
        check_own_code(path, trust_remote_code)
        tokenizer = load_tokenizer(path, trust_remote_code)
        model = _load_whole(path, compute_dtype, trust_remote_code)
    check_vocabulary(model, tokenizer, path)
    set_score_position(model, tokenizer)
    return Loaded(model.to(home).eval(), tokenizer, name, path)


def _checked_kind(name: str, path: Path, fresh_head: bool) -> str:
    if members := read_ensemble(path):
        names = ", ".join(member.name for member in members)
        raise ModelError(
            f"'{name}' is an ensemble of {len(members)} reward models; load its members one by one: {names}"
        )
    kind = kind_of(path)
    if kind == "other":
        check_folder(path)  # an empty or damaged folder is a clearer mistake
    if kind != "reward model" and not fresh_head:
        what = "not a reward model" if kind == "other" else "a language model, not a reward model"
        raise ModelError(f"'{name}' is {what}; train one with `tutelage train reward`")
    return kind


def score_head(model: nn.Module) -> nn.Linear:
    """The layer that turns a hidden state `(dim,)` into a score `(1,)`: the one in use, where adapters keep a copy."""
    unwrap: Any = getattr(model, "get_base_model", None)
    head: Any = (model if unwrap is None else unwrap()).score
    return head.modules_to_save[head.active_adapters[0]] if hasattr(head, "modules_to_save") else head


def set_score_position(model: Any, tokenizer: Any) -> None:
    """Make transformers' forward read the score at the end of the turn: set a pad token that no answer ends with.

    Adding a token for it would make the embedding differ from the policy's, so a vocabulary that has none to offer is a
    `ModelError`.
    """
    ensure_chat_template(tokenizer)
    ensure_pad_token(tokenizer)
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id, end_of_turn_id(tokenizer)):
        raise ModelError(
            f"the tokenizer has no token to pad with except '{tokenizer.pad_token}', which ends an answer, so the end "
            "of a padded answer cannot be found; add a pad token to the tokenizer and a row for it to the model's "
            "embedding, and save both"
        )
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id


def _with_fresh_head(base: Loaded, seed: int, trust_remote_code: bool) -> Any:
    """The decoder of a language model under a fresh score head; adapters are merged into it."""
    import peft

    adapted = isinstance(base.model, peft.PeftModel)
    lm = merge_lora(base.model) if adapted else base.model
    config = lm.config
    config.num_labels = 1
    # Without it, transformers' pipeline would put a sigmoid over a single label.
    config.problem_type = "regression"
    config._name_or_path = str(base.path)  # what an adapter on this model will name as its base
    model = _empty_classifier(config, base.path, trust_remote_code)
    prefix = model.base_model_prefix
    decoder: nn.Module = getattr(lm, lm.base_model_prefix, nn.Identity())
    if type(decoder) is not type(getattr(model, prefix, None)):
        raise _no_score_head(config, base.path)
    setattr(model, prefix, decoder)
    model.config = config  # the decoder's layers read it too, so there must be one
    model.name_or_path = config._name_or_path
    config.architectures = [type(model).__name__]
    model.score = _fresh_head(model.score.in_features, seed, lm.dtype, _hidden_rms(decoder))
    if any(parameter.is_meta for parameter in model.parameters()):
        raise _no_score_head(config, base.path)
    return model


def _empty_classifier(config: Any, path: Path, trust_remote_code: bool) -> Any:
    """The family's class for sequence classification, without memory for its weights."""
    from transformers import AutoModelForSequenceClassification

    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), quiet_transformers():
            model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=trust_remote_code)
    except ValueError as error:  # the family is not in transformers' table
        raise _no_score_head(config, path) from error
    _check_head(model, path)
    return model


def _fresh_head(dim: int, seed: int, dtype: torch.dtype, hidden_rms: float) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(dim, 1, bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        head.weight.copy_(torch.randn(1, dim, generator=generator) * (dim + 1) ** -0.5 / hidden_rms)
    return head.to(dtype)


def _hidden_rms(decoder: nn.Module) -> float:
    """Root mean square of what the final norm makes of a vector of ones and minus ones; 1 where there is no norm.

    Gemma's norms give hidden states some 20 times as large as Llama's, and a fresh head on them margins of ±10.
    """
    norm = next((layer for name in _FINAL_NORMS if isinstance(layer := getattr(decoder, name, None), nn.Module)), None)
    weight = getattr(norm, "weight", None)
    if norm is None or weight is None:
        return 1.0
    with torch.no_grad():
        ones = torch.ones_like(weight).unflatten(0, (1, -1))
        ones[:, ::2] = -1
        # In fp32 and rounded, so that the head is the same whatever the precision of the rest.
        rms = copy.deepcopy(norm).float()(ones.float()).square().mean().sqrt()
        return float(rms)


def _check_head(model: Any, path: Path) -> None:
    head = getattr(model, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1 or head.bias is not None:
        raise _no_score_head(model.config, path)


def _no_score_head(config: Any, path: Path) -> ModelError:
    return ModelError(
        f"{path}: the family '{config.model_type}' has no sequence classification in transformers that reads a plain "
        "`score` head; start from a model of another family, such as Llama, Qwen, Gemma or Mistral"
    )


def _load_whole(path: Path, dtype: torch.dtype, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with one_line_errors(f"{path}: the reward model cannot be loaded"), no_progress_bars(), quiet_transformers():
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        if config.num_labels != 1:
            raise ModelError(
                f"{path} is a classifier with {config.num_labels} labels, and a reward model has one; "
                "give a reward model or a language model"
            )
        with torch.random.fork_rng(devices=[]):  # what is missing is drawn at random, and refused below
            model, info = AutoModelForSequenceClassification.from_pretrained(
                path,
                config=config,
                dtype=dtype,
                attn_implementation=attention_for(config),
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
            )
    _check_head(model, path)
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{path} lacks {len(missing)} tensors of a {config.model_type} reward model, the first is {missing[0]}; "
            "fetch or save the model again"
        )
    return model


def _load_base(path: Path, name: str, **options: Any) -> Loaded:
    """The base model of the adapter in `path`: a head that the adapter holds takes the place of a fresh one."""
    import peft

    base = load_reward_model(name, device="cpu", fresh_head=_holds_a_head(path), **options)
    whole = merge_lora(base.model) if isinstance(base.model, peft.PeftModel) else base.model
    return replace(base, model=whole)


def _holds_a_head(path: Path) -> bool:
    return any("score" in name.split(".") for file in weight_files(path) for name in read_header(file))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from warning of tensors that are missing or left over; we check them and say so in one line."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
