"""From a model and a tree batch to logprobs or scores: the fast path, the padded path, and the check that picks one.

The fast path runs the decoder once over the packed row with tree attention and sends only the positions that
predict a trained token through the LM head, or those that end a sequence through a reward model's scalar head. The
padded path gives each root-to-leaf sequence a row of its own
and uses the model's ordinary forward; it serves models that cannot use the attention interface, and it is what
the fast path is checked against. Leaves out: losses (`methods`), optimisation (`train`).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tutelage.engine.attention import ATTENTION_NAME, TreeUnsupportedError, register
from tutelage.engine.fused import fuse_layers
from tutelage.engine.logprobs import Head, Logprobs, chunked_logprobs
from tutelage.engine.rows import pack
from tutelage.engine.support import recall, remember, support_key
from tutelage.engine.tree import Tokens, Tree, TreeBatch
from tutelage.models.adapt import is_reward_model
from tutelage.models.reward import score_head
from tutelage.models.starter import cache_folder

logger = logging.getLogger("tutelage")


def base_causal_lm(model: nn.Module) -> Any:
    """The transformers model inside a peft wrapper, or the model itself."""
    unwrap: Any = getattr(model, "get_base_model", None)
    return model if unwrap is None else unwrap()


def read_head(model: nn.Module) -> Head:
    """The LM head of a causal LM, with the scalings that some families apply to its output."""
    inner = base_causal_lm(model)
    layer = inner.get_output_embeddings()
    config = inner.config
    scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere multiplies
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite divides
    return Head(layer.weight, getattr(layer, "bias", None), scale, getattr(config, "final_logit_softcapping", None))


def tree_hidden(model: nn.Module, batch: TreeBatch) -> Tensor:
    """Last hidden state of each packed token, `(num_tokens, dim)`, with tree attention."""
    decoder = base_causal_lm(model).get_decoder()
    output = decoder(
        input_ids=batch.input_ids[None],
        position_ids=batch.position_ids[None],
        use_cache=False,
        tree=batch.layout,
    )
    return output.last_hidden_state[0]


def tree_logprobs(
    model: nn.Module, batch: TreeBatch, *, temperature: float = 1.0, with_entropy: bool = False
) -> Logprobs:
    """Logprobs of the batch's targets by the fast path."""
    hidden = tree_hidden(model, batch).index_select(0, batch.source_index)
    return chunked_logprobs(
        hidden, read_head(model), batch.target_ids, temperature=temperature, with_entropy=with_entropy
    )


def _scores(model: nn.Module, hidden: Tensor) -> Tensor:
    """The scalar head in fp32: in bf16 two scores near 1 could differ by no less than .008."""
    return functional.linear(hidden.float(), score_head(model).weight.float()).squeeze(-1)


def tree_ends(model: nn.Module, batch: TreeBatch) -> Tensor:
    """Last hidden state at the last token of each sequence, `(num_sequences, dim)`, by the fast path."""
    return tree_hidden(model, batch).index_select(0, batch.end_index)


def tree_scores(model: nn.Module, batch: TreeBatch) -> Tensor:
    """A reward model's score at the last token of each sequence, `(num_sequences,)` fp32, by the fast path."""
    return _scores(model, tree_ends(model, batch))


def tree_values(model: nn.Module, batch: TreeBatch) -> Tensor:
    """The scalar head where each target is predicted, `(num_targets,)` fp32, by the fast path."""
    return _scores(model, tree_hidden(model, batch).index_select(0, batch.source_index))


def padded_values(model: nn.Module, batch: TreeBatch) -> Tensor:
    """The same values by the decoder's ordinary forward on right-padded rows."""
    return _scores(model, _padded_hidden(model, batch))


def padded_ends(model: nn.Module, batch: TreeBatch) -> Tensor:
    """The same hidden states by the decoder's ordinary forward on right-padded rows."""
    paths = [path for tree in batch.trees for path in tree.paths()]
    ids, attention = _padded_rows(paths, batch.input_ids.device)
    output = base_causal_lm(model).get_decoder()(input_ids=ids, attention_mask=attention, use_cache=False)
    return output.last_hidden_state[range(len(paths)), [len(path) - 1 for path in paths]]


def padded_scores(model: nn.Module, batch: TreeBatch) -> Tensor:
    """The same scores by the decoder's ordinary forward on right-padded rows."""
    return _scores(model, padded_ends(model, batch))


def _padded_rows(paths: list[Tokens], device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(len(path) for path in paths)
    ids = torch.zeros(len(paths), longest, dtype=torch.long)
    mask = torch.zeros(len(paths), longest, dtype=torch.long)
    for row, path in enumerate(paths):
        ids[row, : len(path)] = torch.tensor(path.ids)
        mask[row, : len(path)] = 1
    return ids.to(device), mask.to(device)


def _padded_inputs(batch: TreeBatch) -> tuple[Tensor, Tensor, list[int], list[int]]:
    """(ids, attention mask, rows, columns): padded rows of all paths, and where in them each target is predicted."""
    paths = [path for tree in batch.trees for path in tree.paths()]
    rows: list[int] = []
    columns: list[int] = []
    for row, path in enumerate(paths):
        trained = [index for index, flag in enumerate(path.mask) if flag and index]
        rows += [row] * len(trained)
        columns += [index - 1 for index in trained]
    return *_padded_rows(paths, batch.input_ids.device), rows, columns


def padded_logits(model: nn.Module, batch: TreeBatch) -> Tensor:
    """Logits where each target is predicted, `(num_targets, vocab)` fp32, by the model's ordinary forward.

    The head runs on the whole rows; this path is about being right for any model, not about being lean.
    """
    ids, attention, rows, columns = _padded_inputs(batch)
    return model(input_ids=ids, attention_mask=attention, use_cache=False).logits[rows, columns].float()


def tree_logits(model: nn.Module, batch: TreeBatch) -> Tensor:
    """The same logits by the fast path, all at once: only for what cannot be computed in chunks."""
    head = read_head(model)
    hidden = tree_hidden(model, batch).index_select(0, batch.source_index)
    logits = functional.linear(hidden, head.weight, head.bias).float() * head.scale
    return logits if head.softcap is None else head.softcap * (logits / head.softcap).tanh()


def padded_logprobs(
    model: nn.Module, batch: TreeBatch, *, temperature: float = 1.0, with_entropy: bool = False
) -> Logprobs:
    """Logprobs of the same targets, in the same order, by the model's ordinary forward on right-padded rows."""
    everything = (padded_logits(model, batch) / temperature).log_softmax(-1)
    logprobs = everything.gather(1, batch.target_ids[:, None]).squeeze(1)
    entropy = -(everything.exp() * everything).sum(-1).detach() if with_entropy else None
    return Logprobs(logprobs, entropy)


def ordinary_implementation(model: nn.Module) -> str:
    """Which of transformers' attentions fits: its SDPA has no soft-capping, so Gemma 2 needs the eager one."""
    inner = base_causal_lm(model)
    capped = getattr(inner.config, "attn_logit_softcapping", None) is not None
    return "eager" if capped or not getattr(inner, "_supports_sdpa", False) else "sdpa"


@contextmanager
def ordinary_attention(model: nn.Module) -> Iterator[None]:
    """Give the model an attention of transformers' own, for generation and for the padded path."""
    inner = base_causal_lm(model)
    before = inner.config._attn_implementation
    inner.set_attn_implementation(ordinary_implementation(model))
    try:
        yield
    finally:
        inner.set_attn_implementation(before)


class TreeEngine:
    """A model made ready to give logprobs of tree batches.

    `path` is "tree" or "padded". The choice is made by running both on a small batch: where they differ, the padded
    path is taken and a log line says so.
    """

    def __init__(self, model: nn.Module, *, fuse: bool = True) -> None:
        self.model = model
        self.reason = tree_support(model)
        self.path = "padded" if self.reason else "tree"
        if self.path == "tree":
            register()
            base_causal_lm(model).set_attn_implementation(ATTENTION_NAME)
            if fuse:
                fuse_layers(base_causal_lm(model))
        else:
            base_causal_lm(model).set_attn_implementation(ordinary_implementation(model))
            logger.warning("padded path (slower): %s", self.reason)

    @property
    def row_tokens(self) -> int:
        """How long a row suits model and device: each walks the vocabulary and adds up all gradients once more."""
        weight = base_causal_lm(self.model).get_input_embeddings().weight
        if weight.is_cuda:
            return 8192
        return 1024 if len(weight) > 100_000 and not is_reward_model(self.model) else 768

    def logprobs(self, batch: TreeBatch, *, temperature: float = 1.0, with_entropy: bool = False) -> Logprobs:
        """Logprobs of the batch's targets, `(num_targets,)` fp32, differentiable; entropy on request."""
        run: Callable[..., Logprobs] = tree_logprobs if self.path == "tree" else padded_logprobs
        return run(self.model, batch, temperature=temperature, with_entropy=with_entropy)

    def logits(self, batch: TreeBatch) -> Tensor:
        """All logits where each target is predicted, `(num_targets, vocab)` fp32, differentiable: much memory."""
        return tree_logits(self.model, batch) if self.path == "tree" else padded_logits(self.model, batch)

    def values(self, batch: TreeBatch) -> Tensor:
        """A critic's value of the state before each target, `(num_targets,)` fp32, differentiable."""
        return tree_values(self.model, batch) if self.path == "tree" else padded_values(self.model, batch)

    def scores(self, batch: TreeBatch) -> Tensor:
        """A reward model's scores of the batch's sequences, `(num_sequences,)` fp32, differentiable."""
        return tree_scores(self.model, batch) if self.path == "tree" else padded_scores(self.model, batch)

    def ends(self, batch: TreeBatch) -> Tensor:
        """What the scalar head reads: hidden states at the ends of the sequences, `(num_sequences, dim)`."""
        return tree_ends(self.model, batch) if self.path == "tree" else padded_ends(self.model, batch)

    def states(self, batch: TreeBatch) -> Tensor:
        """Hidden states that predict the batch's targets, `(num_targets, dim)`."""
        if self.path == "padded":
            return _padded_hidden(self.model, batch)
        return tree_hidden(self.model, batch).index_select(0, batch.source_index)


def tree_support(model: nn.Module) -> str:
    """Why the model cannot use tree attention; empty when it can. Found out once for each model.

    Of a large model it is remembered for all of the same class and configuration (`support`).
    """
    found: str | None = getattr(model, "_tutelage_tree_support", None)
    if found is None:
        key = support_key(model, base_causal_lm(model))
        found = recall(cache_folder(), key) if key else None
        if found is None:
            found = _why_not_tree(model)
            if key:
                remember(cache_folder(), key, found)
        register()
        model._tutelage_tree_support = found  # type: ignore[assignment]
    return found


def _why_not_tree(model: nn.Module) -> str:
    """Why the fast path cannot be used; empty when it can."""
    inner = base_causal_lm(model)
    name = type(inner).__name__
    if not getattr(inner, "_supports_attention_backend", False):
        return f"{name} does not use the pluggable attention interface"
    if getattr(inner.config, "attention_chunk_size", None):
        return f"{name} uses chunked attention"
    if getattr(inner.config, "use_bidirectional_attention", None):
        return f"{name} attends in both directions"
    register()
    was_training = model.training
    model.eval()
    try:
        return _compare_paths(model, name)
    finally:
        model.train(was_training)


def _probe_batch(vocab: int) -> TreeBatch:
    ids = [(7 * index) % min(vocab, 97) + 1 for index in range(12)]
    fork = Tree(Tokens.prompt(ids[:4]), (Tokens.completion(ids[4:7]), Tokens.completion(ids[7:9])))
    return pack([Tree(Tokens.prompt(ids[:2]), (Tokens.completion(ids[9:]),)), fork])


FP32_PROBE_PARAMETERS = 1_000_000_000
"""Up to this size the two paths are compared in fp32: bf16 rounding alone moves logprobs of nonsense by half a nat."""


PROBE_VOCAB = 128
"""Rows of the embedding and the head that a copy has: more than `_probe_batch` uses, far fewer than a vocabulary."""


def _probe_model(model: nn.Module) -> nn.Module:
    """The model itself, or a copy in fp32 with a short vocabulary."""
    parameters = list(model.parameters())
    small = sum(p.numel() for p in parameters) <= FP32_PROBE_PARAMETERS
    if parameters[0].dtype == torch.float32 or not small:
        return model
    inner = base_causal_lm(model)
    embeddings = [inner.get_input_embeddings(), inner.get_output_embeddings()]
    short = {id(weight) for module in embeddings if module is not None for weight in module.parameters()}
    wide = {id(p): _in_fp32(p[:PROBE_VOCAB] if id(p) in short else p) for p in parameters}
    probe = copy.deepcopy(model, dict(wide)).float()
    embedding = base_causal_lm(probe).get_input_embeddings()
    if getattr(embedding, "padding_idx", None) is not None:
        embedding.padding_idx = None  # it may lie past the end; without gradients it does nothing
    return probe


def _in_fp32(parameter: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to(torch.float32, copy=True), requires_grad=parameter.requires_grad)


def _compare_paths(model: nn.Module, name: str) -> str:
    probe = base_causal_lm(_probe_model(model))
    before = probe.config._attn_implementation
    batch = _probe_batch(probe.get_input_embeddings().weight.shape[0] - 1).to(next(probe.parameters()).device)
    with torch.no_grad(), torch.random.fork_rng():
        probe.set_attn_implementation(ordinary_implementation(probe))
        expected = _padded_hidden(probe, batch), _padded_outputs(probe, batch)
        probe.set_attn_implementation(ATTENTION_NAME)
        try:
            found = tree_hidden(probe, batch).index_select(0, batch.source_index), _tree_outputs(probe, batch)
            tree_hidden(probe.train(), batch)  # dropout shows only here
        except (TreeUnsupportedError, TypeError, AttributeError, RuntimeError, ValueError) as error:
            return f"{name}: {' '.join(str(error).split())}"
        finally:
            probe.eval()
            probe.set_attn_implementation(before)
    exact = next(probe.parameters()).dtype == torch.float32
    gap, limit = float((found[1] - expected[1]).abs().max()), 1e-3 if exact else 1.0
    if not gap <= limit:
        kind = "scores" if is_reward_model(probe) else "logprobs"
        return f"{name}: packed and separate {kind} differ by {gap:.3g} (limit {limit:g})"
    # A fresh model says nearly the same of every token; its hidden states still show a leak.
    share, limit = float((found[0] - expected[0]).abs().max() / expected[0].abs().max()), 5e-5 if exact else 0.1
    if not share <= limit:
        return f"{name}: packed and separate hidden states differ by {share:.2g} of the largest (limit {limit:g})"
    if _has_window(probe.config) and batch.layout.cache["windows_seen"] == {None}:
        return f"{name} builds its sliding window into the mask only"
    return ""


def _tree_outputs(model: nn.Module, batch: TreeBatch) -> Tensor:
    return tree_scores(model, batch) if is_reward_model(model) else tree_logprobs(model, batch).logprobs


def _padded_outputs(model: nn.Module, batch: TreeBatch) -> Tensor:
    return padded_scores(model, batch) if is_reward_model(model) else padded_logprobs(model, batch).logprobs


def _has_window(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any("sliding" in kind for kind in kinds)
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)


def _padded_hidden(model: nn.Module, batch: TreeBatch) -> Tensor:
    """What `tree_hidden` gives at the sources, by the decoder's ordinary forward on padded rows."""
    ids, attention, rows, columns = _padded_inputs(batch)
    decoder = base_causal_lm(model).get_decoder()
    output = decoder(input_ids=ids, attention_mask=attention, use_cache=False)
    return output.last_hidden_state[rows, columns]
