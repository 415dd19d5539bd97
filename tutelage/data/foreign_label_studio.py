"""Reads Label Studio's exports: JSON (tasks with annotations), JSON_MIN, CSV and TSV (one annotation a row).

Taken are the controls that people use to judge and to write answers of language models: Pairwise, Ranker, Rating,
Choices and TextArea. Each annotation is one thing; cancelled ones, empty ones, and tasks that nobody annotated are left
out. Predictions are a model's and no verdicts. Format: https://labelstud.io/guide/task_format

Leaves out: regions in images, sound and text, and the form itself, which these exports do not hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tutelage.data.foreign import CRITIQUE_KEYS, REWRITE_KEYS, Incoming, LeftOut, Place, named_like
from tutelage.data.foreign_judgement import Judgement, assembled, find_answers, find_prompt, side_of
from tutelage.data.raw import Problem, RawFile, type_name
from tutelage.data.record import from_json
from tutelage.data.verdict_shapes import LABELS
from tutelage.data.verdict_values import WINNERS, verdict_word, word

CONTROLS = ("pairwise", "ranker", "rating", "choices", "textarea")
MIN_KEYS = {"annotation_id", "annotator", "lead_time"}
MIN_REST = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "history"}
CHOICE_NAMES = ("choice", "choices", "better", "verdict", "sentiment", *WINNERS, *LABELS)
TABLES = ("CSV", "TSV")
UNRANKED = "_"
"""Label Studio's own name for the items of a list that nobody moved."""


def is_task(record: Any) -> bool:
    """Whether a record is a task of the JSON export."""
    is_mapping = isinstance(record, Mapping) and isinstance(record.get("data"), Mapping)
    return is_mapping and bool(record.keys() & {"annotations", "completions"})


def is_row(record: Any) -> bool:
    """Whether a record is a row of the JSON_MIN export."""
    return isinstance(record, Mapping) and len(record.keys() & MIN_KEYS) > 1 and "id" in record


def read_label_studio(file: RawFile) -> Iterator[Incoming]:
    """A verdict or a pair of each annotation."""
    for number, item in enumerate(file, start=1):
        place = Place(file, item.line or 0, number)
        if isinstance(item, Problem):
            yield place.problems([item])
        elif is_task(item.value):
            yield from _task(place, item.value)
        elif is_row(item.value):
            yield _row(place, item.value)
        else:
            keys = ", ".join(map(str, list(item.value)[:5])) if isinstance(item.value, Mapping) else ""
            found = (
                f"an object with {keys or 'no fields'}" if isinstance(item.value, Mapping) else type_name(item.value)
            )
            problem = f"neither a task with 'data' and 'annotations' nor a row with 'annotation_id': found {found}"
            yield place.left_out("other-format", problem)


def _task(place: Place, task: Mapping[str, Any]) -> Iterator[Incoming]:
    name = "annotations" if "annotations" in task else "completions"
    annotations = task[name]
    if not isinstance(annotations, list):
        yield place.left_out("wrong-type", f"expected a list, found {type_name(annotations)}", name)
        return
    if not annotations:
        yield place.left_out("not-annotated", f"task {task.get('id')}: nobody annotated it", name)
    for at, annotation in enumerate(annotations):
        yield _annotation(place, task, annotation, f"{name}[{at}]")


def _annotation(place: Place, task: Mapping[str, Any], annotation: Any, field: str) -> Incoming:
    if not isinstance(annotation, Mapping):
        return place.left_out("wrong-type", f"expected an annotation, found {type_name(annotation)}", field)
    if annotation.get("was_cancelled") is True:
        told = f"annotation {annotation.get('id')}: cancelled by whoever made it"
        return place.left_out("cancelled", told, f"{field}.was_cancelled")
    results = annotation.get("result")
    if not isinstance(results, list) or not results:
        return place.left_out("empty-annotation", f"annotation {annotation.get('id')}: empty", f"{field}.result")
    said = _about(place, task["data"], field)
    said.rater = rater_of(annotation.get("completed_by")) or _named(task["data"])
    said.seconds = _seconds(annotation.get("lead_time"))
    said.meta |= {"task_id": task.get("id"), "annotation_id": annotation.get("id")}
    if annotation.get("ground_truth") is True:
        said.meta["ground_truth"] = True
    for at, result in enumerate(results):
        problem = _take(said, result, task["data"], f"{field}.result[{at}]")
        if problem is not None:
            return problem
    return assembled(said)


def _about(place: Place, data: Mapping[str, Any], field: str) -> Judgement:
    """What was shown, with nothing said about it yet."""
    named = {str(key): value for key, value in data.items()}
    prompt_name, prompt = find_prompt(named)
    answers = find_answers(named, prompt_name)
    used = {prompt_name, *(name for name, _ in answers)}
    rest = {key: value for key, value in named.items() if key not in used and not isinstance(value, list)}
    return Judgement(place, field, prompt, answers, meta={"data": rest} if rest else {})


def rater_of(value: Any) -> str:
    """A name for whoever annotated: an e-mail address where the export has it, else Label Studio's number."""
    if isinstance(value, Mapping):
        email, number = value.get("email"), value.get("id")
        return str(email).strip() if email else f"label-studio:{number}" if number is not None else ""
    if isinstance(value, bool) or value in (None, ""):
        return ""
    return value.strip() if isinstance(value, str) and "@" in value else f"label-studio:{value}"


def _named(data: Mapping[str, Any]) -> str:
    """The rater whom `tutelage export` wrote among the task's data, for whoever has no e-mail address."""
    name = data.get("rater")
    return name.strip() if isinstance(name, str) else ""


def _seconds(value: Any) -> float | None:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)  # a cell of a CSV file is a text
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _take(said: Judgement, result: Any, data: Mapping[str, Any], field: str) -> LeftOut | None:
    """Sort one answer of the form into the judgement."""
    if not isinstance(result, Mapping) or not isinstance(result.get("value"), Mapping):
        return said.place.left_out("wrong-type", f"expected a result with a value, found {type_name(result)}", field)
    control = str(result.get("type", "")).lower()
    if control not in CONTROLS:
        return None  # a region or a relation, which belongs to no verdict
    return _control(said, control, str(result.get("from_name", control)), result["value"], data, field)


def _control(
    said: Judgement, control: str, name: str, value: Mapping[str, Any], data: Mapping[str, Any], field: str
) -> LeftOut | None:
    if control == "pairwise":
        chosen = value.get("selected")
        said.side = {"left": "first", "right": "second"}.get(str(chosen), "tie")
    elif control == "ranker":
        return _ranker(said, value.get("ranker"), data, field)
    elif control == "rating":
        rating = value.get("rating")
        if isinstance(rating, bool) or not isinstance(rating, (int, float)):
            return said.place.left_out(
                "wrong-type", f"expected a number, found {type_name(rating)}", f"{field}.value.rating"
            )
        said.scores[name] = rating
    elif control == "choices":
        chosen = value.get("choices")
        said.words += [each for each in chosen if isinstance(each, str)] if isinstance(chosen, list) else []
    else:
        text = value.get("text")
        texts = [each for each in text if isinstance(each, str)] if isinstance(text, list) else [str(text or "")]
        said.texts[name] = "\n\n".join(filter(None, (said.texts.get(name, ""), *texts)))
    return None


def _ranker(said: Judgement, groups: Any, data: Mapping[str, Any], field: str) -> LeftOut | None:
    """An order of the items of a list; those that were not moved come last, all alike."""
    place = f"{field}.value.ranker"
    if not isinstance(groups, Mapping):
        groups = {"rank": groups}
    ordered = {name: ids for name, ids in groups.items() if name != UNRANKED and isinstance(ids, list) and ids}
    if len(ordered) != 1:
        problem = (
            f"items in {len(ordered)} groups ({', '.join(map(str, ordered))}), and nothing says which group is better"
        )
        return said.place.left_out("groups", problem if ordered else "nothing was ranked", place)
    items = _items(data)
    ids = [str(each) for each in next(iter(ordered.values()))]
    if unknown := [each for each in ids if each not in items]:
        return said.place.left_out("unknown-item", f"'{unknown[0]}' is no item of the task's list", place)
    rest = [each for each in items if each not in ids]
    said.answers = list(items.items())
    said.ranks = [ids.index(each) if each in ids else len(ids) for each in items]
    if len(items) < 2 or not (rest or len(ids) > 1):
        return said.place.left_out("no-verdict", f"a list of {len(items)} has no order", place)
    return None


def _items(data: Mapping[str, Any]) -> dict[str, str]:
    """Id and text of the items of the task's list."""
    for value in data.values():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) and "id" in item for item in value):
            return {str(item["id"]): _item_text(item) for item in value}
    return {}


def _item_text(item: Mapping[str, Any]) -> str:
    return next((item[key] for key in ("body", "text", "html", "title") if isinstance(item.get(key), str)), "")


def _row(place: Place, row: Mapping[str, Any]) -> Incoming:
    """A row of JSON_MIN or CSV: fields and answers stand side by side, told apart by their names and shapes."""
    row = {key: _cell(value) for key, value in row.items()} if place.file.container in TABLES else row
    controls = {str(key): value for key, value in row.items() if value != "" and _is_control(str(key), value)}
    data = {str(key): value for key, value in row.items() if key not in controls and key not in MIN_REST}
    said = _about(place, data, next(iter(controls), ""))
    said.rater, said.seconds = rater_of(row.get("annotator")), _seconds(row.get("lead_time"))
    said.meta |= {"task_id": row.get("id"), "annotation_id": row.get("annotation_id")}
    rest = {name: value for name, value in said.meta.get("data", {}).items() if value != ""}
    if all(named_like(name, (*REWRITE_KEYS, *CRITIQUE_KEYS)) for name in controls):
        controls |= {name: value for name, value in rest.items() if _is_verdict(value)}
    if not controls:
        names = f", or its answers are under names that say nothing ({', '.join(rest)}); export as JSON"
        told = f"annotation {row.get('annotation_id')}: empty{names if rest else ''}"
        return place.left_out("empty-annotation", told)
    for name, value in controls.items():
        for each in value if isinstance(value, list) else [value]:
            problem = _min_control(said, name, each, data)
            if problem is not None:
                return problem
    return assembled(said)


def _cell(value: Any) -> Any:
    """What a cell of a CSV file holds: lists and objects stand in it as JSON."""
    found = from_json(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
    items = found if isinstance(found, list) else [found]
    return found if all(isinstance(item, Mapping) for item in items) else value


def _is_verdict(value: Any) -> bool:
    """Whether a text can hardly be anything but a verdict: `left`, `tie`, `good`; not `a` or `1`."""
    told = word(value) if isinstance(value, str) else ""
    return len(told) > 1 and not told.isdigit() and (side_of(told, ("", "")) != "" or verdict_word(told) is not None)


def _is_control(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return named_like(name, (*CHOICE_NAMES, *REWRITE_KEYS, *CRITIQUE_KEYS))
    items = value if isinstance(value, list) else [value]
    kinds = {"selected", "rating", "ranker", "choices", "text"}
    return bool(items) and all(isinstance(item, Mapping) and item.keys() & kinds and "id" not in item for item in items)


def _min_control(said: Judgement, name: str, value: Any, data: Mapping[str, Any]) -> LeftOut | None:
    if isinstance(value, str):
        if named_like(name, (*REWRITE_KEYS, *CRITIQUE_KEYS)):
            said.texts[name] = value
        else:
            said.words.append(value)
        return None
    kinds = {"selected": "pairwise", "rating": "rating", "ranker": "ranker", "choices": "choices", "text": "textarea"}
    control = next(kinds[key] for key in kinds if key in value)
    return _control(said, control, name, value, data, name)
