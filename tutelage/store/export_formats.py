"""What a record looks like in each format that `tutelage export` writes. Pure: a record in, lines out.

The first format keeps every field; the others keep what they have a place for. TRL's shapes are the conversational ones
of https://huggingface.co/docs/trl/dataset_formats: language modelling, prompt-completion, prompt-only, preference,
unpaired preference.

Leaves out: reading the record (`tutelage.store.exports`) and writing files (`tutelage.store.export_files`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from tutelage.data.foreign_tutelage import MARK, VERSION
from tutelage.errors import ConfigError
from tutelage.store.labels import STRENGTHS

ExportFormat = Literal[
    "tutelage", "trl", "trl-prompt-completion", "trl-unpaired", "sharegpt", "alpaca", "label-studio", "argilla", "csv",
    "parquet",
]  # fmt: skip
Line = dict[str, Any]
GPT = {"system": "system", "user": "human", "assistant": "gpt"}


class NoPlace(Exception):
    """The format has no place for this record; the text says why."""


class Layout(NamedTuple):
    """How the lines of a file stand in it."""

    container: Literal["lines", "array", "csv", "parquet"]
    shape: Callable[[Line], Iterator[Line]]
    """The lines of a record."""


def layout_of(format: str, kind: str) -> Layout:
    """The layout of a format for records of a kind; `ConfigError` when it has none."""
    if format not in _SHAPES:
        raise ConfigError(f"--format {format}: none of {', '.join(_SHAPES)}")
    shape = _SHAPES[format].get(kind)
    if shape is None:
        able = ", ".join(name for name, shapes in _SHAPES.items() if kind in shapes)
        raise ConfigError(f"--format {format} has no shape for {kind}; these have: {able}")
    containers: Mapping[str, Any] = {
        "label-studio": "array", "argilla": "array", "csv": "csv", "parquet": "parquet",
    }  # fmt: skip
    if kind == "pairs" and shape is not _own:
        shape = _answered(shape)
    return Layout(containers.get(format, "lines"), shape)


def _answered(shape: Callable[[Line], Iterator[Line]]) -> Callable[[Line], Iterator[Line]]:
    """The shape of pairs, for those that have their answer: a draft may wait for it."""

    def shaped(pair: Line) -> Iterator[Line]:
        last = pair["messages"][-1] if pair["messages"] else {}
        if last.get("role") != "assistant" or not last["content"].strip():
            raise NoPlace("a draft without its answer")
        return shape(pair)

    return shaped


def _own(record: Line) -> Iterator[Line]:
    yield {MARK: VERSION, **record}


# --- a label's answers, best first ------------------------------------------------------------------------------------


def ranks_of(label: Line) -> list[int] | None:
    """Ranks of the answers, 0 = best; None where nobody could judge, or the verdict is on one answer."""
    value = label["value"]
    outcome = value.get("outcome")
    if outcome in ("first", "second"):
        return [0, 1] if outcome == "first" else [1, 0]
    if outcome in ("tie", "both_bad"):
        return [0, 0]
    ranks = value.get("ranks")
    return list(ranks) if ranks is not None else None


def texts_of(label: Line) -> list[str]:
    """The answers' texts."""
    many = label.get("completions")
    return [each["text"] for each in many] if many else [label["completion"]["content"]]


def _said(text: str) -> list[Line]:
    return [{"role": "assistant", "content": text}]


def _preferences(label: Line) -> Iterator[tuple[str, str]]:
    """Every (better, worse) of a label; a rewrite is better than all."""
    ranks, texts = ranks_of(label), texts_of(label)
    if ranks is None:
        raise NoPlace("nobody said which answer is better")
    pairs = [(a, b) for a in range(len(texts)) for b in range(len(texts)) if ranks[a] < ranks[b]]
    pairs.sort(key=lambda each: (ranks[each[0]], ranks[each[1]]))
    if not pairs and not label.get("rewrite"):
        raise NoPlace("a tie: no answer is better")
    for better, worse in pairs:
        yield texts[better], texts[worse]
    if label.get("rewrite"):
        for text in dict.fromkeys(texts):
            if text != label["rewrite"]:
                yield label["rewrite"], text


# --- TRL --------------------------------------------------------------------------------------------------------------


def _messages(pair: Line) -> Iterator[Line]:
    yield {"messages": pair["messages"]}


def _prompt_completion(pair: Line) -> Iterator[Line]:
    yield {"prompt": pair["messages"][:-1], "completion": pair["messages"][-1:]}


def _prompt_only(prompt: Line) -> Iterator[Line]:
    yield {"prompt": prompt["messages"]}


def _preference(label: Line) -> Iterator[Line]:
    if label["kind"] == "thumbs":
        yield from _unpaired(label)
        return
    _refuse_rating(label)
    for better, worse in _preferences(label):
        yield {"prompt": label["prompt"], "chosen": _said(better), "rejected": _said(worse)}


def _unpaired(label: Line) -> Iterator[Line]:
    _refuse_rating(label)
    prompt, texts = label["prompt"], texts_of(label)
    if label["kind"] == "thumbs":
        yield {"prompt": prompt, "completion": _said(texts[0]), "label": label["value"]["good"]}
        return
    ranks = ranks_of(label)
    if not ranks or not any(ranks):
        raise NoPlace("no answer is said to be better, so none is good or bad")
    for text, rank in zip(texts, ranks, strict=True):
        yield {"prompt": prompt, "completion": _said(text), "label": rank == 0}


def _refuse_rating(label: Line) -> None:
    if label["kind"] == "rating":
        raise NoPlace("a rating in numbers, for which this format has no place; export it as tutelage, csv or parquet")


# --- ShareGPT and Alpaca ----------------------------------------------------------------------------------------------


def _gpt_turns(messages: Sequence[Line]) -> list[Line]:
    return [{"from": GPT[turn["role"]], "value": turn["content"]} for turn in messages]


def _sharegpt(record: Line) -> Iterator[Line]:
    yield {"conversations": _gpt_turns(record["messages"])}


def _sharegpt_preference(label: Line) -> Iterator[Line]:
    _refuse_single(label)
    for better, worse in _preferences(label):
        sides = {"chosen": {"from": "gpt", "value": better}, "rejected": {"from": "gpt", "value": worse}}
        yield {"conversations": _gpt_turns(label["prompt"]), **sides}


def _refuse_single(label: Line) -> None:
    if label["kind"] in ("thumbs", "rating"):
        raise NoPlace("a verdict on one answer, for which this format has no place")


def _alpaca(pair: Line) -> Iterator[Line]:
    asked = _asked(pair["messages"][:-1])
    yield {**asked, "output": pair["messages"][-1]["content"]}


def _alpaca_preference(label: Line) -> Iterator[Line]:
    _refuse_single(label)
    asked = _asked(label["prompt"])
    for better, worse in _preferences(label):
        yield {**asked, "chosen": better, "rejected": worse}


def _asked(messages: Sequence[Line]) -> Line:
    system = [turn["content"] for turn in messages if turn["role"] == "system"]
    spoken = [turn["content"] for turn in messages if turn["role"] != "system"]
    if len(spoken) != 1:
        raise NoPlace("several turns, for which Alpaca has no place")
    return {"instruction": spoken[0], "input": "", **({"system": system[0]} if system else {})}


# --- Label Studio -----------------------------------------------------------------------------------------------------


def _plain_prompt(messages: Sequence[Line]) -> Any:
    """The question alone, or all turns where there are more."""
    return messages[0]["content"] if len(messages) == 1 else list(messages)


def _task(data: Line, results: list[Line], seconds: float | None = None, rater: str = "") -> Line:
    who = {"completed_by": {"email": rater}} if "@" in rater else {}
    annotation = {"result": results, "was_cancelled": False, "lead_time": seconds, **who}
    return {"data": data, "annotations": [annotation] if results else []}


def _result(name: str, type: str, value: Line, to: str = "prompt") -> Line:
    return {"from_name": name, "to_name": to, "type": type, "value": value}


def _studio_pair(pair: Line) -> Iterator[Line]:
    text = pair["messages"][-1]["content"]
    data = {"prompt": _plain_prompt(pair["messages"][:-1]), "source": pair["source"], "rater": pair["author"]}
    yield _task(data, [_result("response", "textarea", {"text": [text]})], rater=pair["author"])


def _studio_prompt(prompt: Line) -> Iterator[Line]:
    yield {"data": {"prompt": _plain_prompt(prompt["messages"])}}


def _studio_label(label: Line) -> Iterator[Line]:
    texts, data = texts_of(label), {"prompt": _plain_prompt(label["prompt"]), "rater": label["rater"]}
    results = list(_studio_verdict(label))
    if label["kind"] == "ranking":
        data["answers"] = [{"id": f"answer{at + 1}", "body": text} for at, text in enumerate(texts)]
    elif label["kind"] == "comparison":
        data |= {f"answer{at + 1}": text for at, text in enumerate(texts)}
    else:
        data["response"] = texts[0]
    if label["reasons"]:
        results.append(_result("reasons", "choices", {"choices": label["reasons"]}))
    for name in ("critique", "rewrite"):
        if label[name]:
            results.append(_result(name, "textarea", {"text": [label[name]]}))
    yield _task(data, results, label["seconds"], label["rater"])


def _studio_verdict(label: Line) -> Iterator[Line]:
    value = label["value"]
    if label["kind"] == "thumbs":
        yield _result("good", "choices", {"choices": ["good" if value["good"] else "bad"]}, "response")
    elif label["kind"] == "rating":
        for name, score in value["scores"].items():
            yield _result(name, "rating", {"rating": score}, "response")
    elif label["kind"] == "ranking":
        yield _result(
            "rank", "ranker", {"ranker": {"rank": [f"answer{at + 1}" for at in _strict_order(label)]}}, "answers"
        )
    elif value["outcome"] in ("first", "second"):
        side = {"first": "left", "second": "right"}[value["outcome"]]
        yield _result("better", "pairwise", {"selected": side}, "answer1,answer2")
        yield _result("strength", "choices", {"choices": [STRENGTHS[value["strength"]]]})
    else:
        yield _result("better", "choices", {"choices": [value["outcome"].replace("_", " ")]})


def _strict_order(label: Line) -> list[int]:
    """Places of the answers, best first; the tools that keep an order keep no ties."""
    ranks = label["value"].get("ranks")
    if ranks is None:
        raise NoPlace("nobody said which answer is better")
    if len(set(ranks)) < len(ranks):
        raise NoPlace("a ranking with ties, for which this format has no place")
    return sorted(range(len(ranks)), key=lambda at: ranks[at])


# --- Argilla ----------------------------------------------------------------------------------------------------------


def _argilla(record: Line, fields: Line, responses: Mapping[str, Any], person: str, metadata: Line) -> Line:
    user = str(uuid5(NAMESPACE_URL, f"tutelage:{person}"))
    return {
        "id": record["id"], "fields": fields, "metadata": metadata, "suggestions": {}, "vectors": {},
        "responses": {name: [{"value": value, "user_id": user}] for name, value in responses.items()},
    }  # fmt: skip


def _argilla_pair(pair: Line) -> Iterator[Line]:
    fields = {"prompt": _plain_prompt(pair["messages"][:-1])}
    metadata = {"author": pair["author"], "source": pair["source"], "licence": pair["licence"], "state": pair["state"]}
    yield _argilla(pair, fields, {"response": pair["messages"][-1]["content"]}, pair["author"], metadata)


def _argilla_prompt(prompt: Line) -> Iterator[Line]:
    yield _argilla(prompt, {"prompt": _plain_prompt(prompt["messages"])}, {}, "", {})


def _argilla_label(label: Line) -> Iterator[Line]:
    texts, value = texts_of(label), label["value"]
    names = ["response"] if len(texts) == 1 else [f"response-{at + 1}" for at in range(len(texts))]
    said: Line = {}
    if label["kind"] == "thumbs":
        said["good"] = "good" if value["good"] else "bad"
    elif label["kind"] == "rating":
        said |= value["scores"]
    elif label["kind"] == "ranking":
        said["ranking"] = [names[at] for at in _strict_order(label)]
    elif value["outcome"] in ("first", "second"):
        said |= {"better": names[value["outcome"] == "second"], "strength": STRENGTHS[value["strength"]]}
    else:
        said["better"] = value["outcome"].replace("_", " ")
    said |= {"reasons": label["reasons"]} if label["reasons"] else {}
    said |= {name: label[name] for name in ("critique", "rewrite") if label[name]}
    fields = {"prompt": _plain_prompt(label["prompt"]), **dict(zip(names, texts, strict=True))}
    yield _argilla(label, fields, said, label["rater"], {"rater": label["rater"]})


_SHAPES: Mapping[str, Mapping[str, Callable[[Line], Iterator[Line]]]] = {
    "tutelage": {"pairs": _own, "labels": _own, "prompts": _own},
    "trl": {"pairs": _messages, "labels": _preference, "prompts": _prompt_only},
    "trl-prompt-completion": {"pairs": _prompt_completion},
    "trl-unpaired": {"labels": _unpaired},
    "sharegpt": {"pairs": _sharegpt, "labels": _sharegpt_preference, "prompts": _sharegpt},
    "alpaca": {"pairs": _alpaca, "labels": _alpaca_preference},
    "label-studio": {"pairs": _studio_pair, "labels": _studio_label, "prompts": _studio_prompt},
    "argilla": {"pairs": _argilla_pair, "labels": _argilla_label, "prompts": _argilla_prompt},
    "csv": {"pairs": _own, "labels": _own, "prompts": _own},
    "parquet": {"pairs": _own, "labels": _own, "prompts": _own},
}
FORMATS: tuple[str, ...] = tuple(_SHAPES)
