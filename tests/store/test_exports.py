"""Exports: every format, what loads again, and the round trip in which nothing is lost."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from record import BO, CY, DEE
from sqlalchemy import insert, select, update

from tutelage.data import load_comparisons, load_conversations, load_prompts, load_ratings
from tutelage.errors import ConfigError, NotAllowedError, NotFoundError
from tutelage.store import schema
from tutelage.store.contents import add_answer, add_prompt
from tutelage.store.database import Store
from tutelage.store.export_files import ExportReport, export_file
from tutelage.store.export_formats import FORMATS
from tutelage.store.exports import Filters, find_wanted, records
from tutelage.store.ids import new_id, now_ms
from tutelage.store.import_rows import ImportOptions
from tutelage.store.imports import import_file
from tutelage.store.labels import NewLabel, add_label
from tutelage.store.pairs import NewPair, accept, add_pairs, draft, edit, withdraw
from tutelage.types import Message

SYSTEM, ASKED = Message("system", "Be brief."), Message("user", "Name a fruit.")
PLUM = Message("assistant", 'Plum,\n"the" fruit – 梅.')
LONG = (ASKED, PLUM, Message("user", "Another?"), Message("assistant", "Pear."))


def pairs_in(store: Store) -> list[str]:
    """Three pairs: accepted with tags, edited by its author's reviewer, and one withdrawn."""
    with store.write() as connection:
        ids = add_pairs(connection, CY, [
            NewPair((SYSTEM, ASKED, PLUM), "the garden book, p. 3", "CC0-1.0", ("fruit", "easy"), {"level": [1, None]}),
            NewPair(LONG, tags=("fruit",)),
        ], action="drafted")  # fmt: skip
        ids += add_pairs(connection, DEE, [NewPair((ASKED, Message("assistant", "None.")))], action="drafted")
        accept(connection, BO, ids[0])
        edit(connection, BO, ids[1], (*LONG[:-1], Message("assistant", "A pear.")), base_revision=1)
        withdraw(connection, DEE, ids[2])
    return ids


def project(store: Store, kind: str) -> str:
    row = {"id": new_id(), "name": kind, "kind": kind, "question": "?", "created_by": BO.id, "created_ms": now_ms()}
    attributes = [{"name": "helpful", "low": 0, "high": 4, "help": ""}] if kind == "rating" else []
    with store.write() as connection:
        connection.execute(insert(schema.projects).values(**row, attributes=attributes))
    return str(row["id"])


VALUES: dict[str, list[dict[str, Any]]] = {
    "comparison": [
        {"outcome": "second", "strength": 4}, {"outcome": "tie"}, {"outcome": "both_bad"}, {"outcome": "cannot_judge"},
    ],
    "ranking": [{"ranks": [1, 0, 2]}, {"ranks": [0, 0, 1]}, {"cannot_judge": True}],
    "thumbs": [{"good": True}, {"good": False}],
    "rating": [{"scores": {"helpful": 3}}, {"scores": {"helpful": 0}}],
}  # fmt: skip
NUM_ANSWERS = {"comparison": 2, "ranking": 3, "thumbs": 1, "rating": 1}


def labels_in(store: Store, kind: str) -> None:
    """A label with each value, all fields filled, by two raters in turn."""
    project_id = project(store, kind)
    with store.write() as connection:
        for at, value in enumerate(VALUES[kind]):
            time.sleep(0.002)  # ids drawn within a millisecond are in no order
            prompt = add_prompt(connection, [SYSTEM, Message("user", f"Question {at}?")], reference="It is so.")
            answers = [
                add_answer(
                    connection, prompt, f"{kind} answer {at}.{each}", model="m1", sampling={"temperature": 0.7},
                    author_id=DEE.id if each == 1 else None,
                )
                for each in range(NUM_ANSWERS[kind])
            ]  # fmt: skip
            add_label(connection, NewLabel(
                CY.id, f"key-{kind}-{at}", kind, prompt, answers, value, displayed=answers[::-1],  # type: ignore[arg-type]
                reasons=["too long", "vague"], critique="Says \"much\",\nhelps little.", rewrite="Better: plum.",
                seconds=8.25, guideline_version=2, project_id=project_id, meta={"source": "here", "n": 1},
            ))  # fmt: skip


def written(store: Store, what: str, out: Path, format: str = "tutelage", **more: Any) -> ExportReport:
    return export_file(store, BO, what, out, format, **more)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def all_records(store: Store, what: str) -> list[dict[str, Any]]:
    with store.read() as connection:
        return list(records(connection, find_wanted(connection, BO, what, Filters()), Filters()))


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


@pytest.fixture
def other(tmp_path: Path, _sqlite_template: Path) -> Any:
    """A second workspace with the same people."""
    from sqlalchemy.engine import URL

    file = tmp_path / "other.db"
    file.write_bytes(_sqlite_template.read_bytes())
    with Store(tmp_path, URL.create("sqlite", database=str(file))) as made:
        yield made


@pytest.mark.parametrize(("format", "name"), [("tutelage", "p.jsonl"), ("csv", "p.csv"), ("parquet", "p.parquet")])
def test_pairs_come_back_as_they_were(any_store: Store, other: Store, tmp_path: Path, format: str, name: str) -> None:
    pairs_in(any_store)
    before = all_records(any_store, "pairs")
    assert len(before) == 2
    report = written(any_store, "pairs", tmp_path / name, format)
    assert (report.num_records, report.num_written, report.num_lines) == (2, 2, 2)
    there = import_file(any_store, BO, tmp_path / name)
    assert (there.num_added, there.num_already) == (0, 2)
    back = import_file(other, BO, tmp_path / name)
    assert (back.num_read, back.num_added, back.format) == (2, 2, "tutelage")
    own = ("id", "revision", "created_ms")
    assert [without(each, *own) for each in all_records(other, "pairs")] == [without(each, *own) for each in before]
    assert (before[0]["author"], before[0]["reviewer"], before[0]["state"]) == ("cy", "bo", "accepted")
    assert (before[1]["revision"], before[1]["messages"][-1]["content"]) == (2, "A pear.")


@pytest.mark.parametrize(("format", "name"), [("tutelage", "l.jsonl.gz"), ("csv", "l.csv"), ("parquet", "l.parquet")])
@pytest.mark.parametrize("kind", sorted(VALUES))
def test_labels_come_back_as_they_were(
    store: Store, other: Store, tmp_path: Path, kind: str, format: str, name: str
) -> None:
    labels_in(store, kind)
    before = all_records(store, f"labels:{kind}")
    report = written(store, f"labels:{kind}", tmp_path / name, format)
    assert report.num_records == report.num_written == len(VALUES[kind])
    there = import_file(store, BO, tmp_path / name, ImportOptions(project=kind))
    assert (there.num_added, there.num_already) == (0, len(before))
    back = import_file(other, BO, tmp_path / name, ImportOptions(project=kind))
    assert (back.num_added, back.num_left_out) == (len(before), 0)
    after = all_records(other, f"labels:{kind}")
    own = ("id", "source")
    assert [without(each, *own) for each in after] == [without(each, *own) for each in before]
    assert (before[0]["rater"], before[0]["displayed"]) == ("cy", list(range(NUM_ANSWERS[kind]))[::-1])
    assert [answer["author"] for answer in before[0].get("completions", [])][1:2] == ["dee"][: NUM_ANSWERS[kind] - 1]


def test_a_draft_without_its_answer_comes_back_and_has_no_place_elsewhere(
    store: Store, other: Store, tmp_path: Path
) -> None:
    with store.write() as connection:
        draft(connection, CY, [ASKED])
    written(store, "pairs", tmp_path / "p.jsonl")
    assert import_file(other, BO, tmp_path / "p.jsonl").num_added == 1
    assert [(each["state"], len(each["messages"])) for each in all_records(other, "pairs")] == [("draft", 1)]
    for format in ("trl", "trl-prompt-completion", "sharegpt", "alpaca", "label-studio", "argilla"):
        report = written(store, "pairs", tmp_path / format, format)
        assert dict(report.without_place) == {"a draft without its answer": 1}


def test_prompts_come_back_as_they_were(store: Store, other: Store, tmp_path: Path) -> None:
    with store.write() as connection:
        add_prompt(connection, [SYSTEM, ASKED], reference="Plum.", meta={"id": "q1", "source": "here"})
    written(store, "prompts", tmp_path / "p.jsonl")
    import_file(other, BO, tmp_path / "p.jsonl")
    own = ("id", "created_ms")
    after, before = all_records(other, "prompts"), all_records(store, "prompts")
    assert [without(each, *own) for each in after] == [without(each, *own) for each in before]


@pytest.mark.parametrize("format", ["tutelage", "trl", "trl-prompt-completion", "sharegpt", "csv", "parquet"])
def test_pairs_load_with_the_own_loader(store: Store, tmp_path: Path, format: str) -> None:
    pairs_in(store)
    file = tmp_path / ("p.csv" if format == "csv" else "p.parquet" if format == "parquet" else "p.jsonl")
    written(store, "pairs", file, format)
    loaded = [each.messages for each in load_conversations(file)]
    assert loaded == [(SYSTEM, ASKED, PLUM), (*LONG[:-1], Message("assistant", "A pear."))]


@pytest.mark.parametrize("format", ["tutelage", "csv", "parquet", "trl", "sharegpt"])
@pytest.mark.parametrize("kind", ["comparison", "ranking"])
def test_comparisons_load_with_the_own_loader(store: Store, tmp_path: Path, kind: str, format: str) -> None:
    labels_in(store, kind)
    file = tmp_path / ("l.csv" if format == "csv" else "l.parquet" if format == "parquet" else "l.jsonl")
    written(store, f"labels:{kind}", file, format)
    loaded = load_comparisons(file, on_bad="drop")
    best = {each.answers[each.ranks.index(0)][0].content for each in loaded if any(each.ranks)}
    first = "comparison answer 0.1" if kind == "comparison" else "ranking answer 0.1"
    assert first in best
    assert all(each.messages[0] == SYSTEM for each in loaded)
    if format in ("tutelage", "csv", "parquet"):
        assert len(loaded) == len(VALUES[kind]) - 1  # all but the one that could not be judged
        assert loaded[0].rater == "cy"
        assert loaded[0].strength == (3 if kind == "comparison" else None)


@pytest.mark.parametrize("format", ["tutelage", "csv", "parquet", "trl"])
def test_thumbs_and_ratings_load_with_the_own_loader(store: Store, tmp_path: Path, format: str) -> None:
    file = tmp_path / ("l.csv" if format == "csv" else "l.parquet" if format == "parquet" else "l.jsonl")
    labels_in(store, "thumbs")
    written(store, "labels:thumbs", file, format)
    assert [(each.answer[0].content, each.value) for each in load_ratings(file)] == [
        ("thumbs answer 0.0", True), ("thumbs answer 1.0", False),
    ]  # fmt: skip
    if format != "trl":
        labels_in(store, "rating")
        written(store, "labels:rating", file, format, overwrite=True)
        assert [each.value for each in load_ratings(file)] == [3, 0]


def test_the_shapes_of_trl(store: Store, tmp_path: Path) -> None:
    pairs_in(store)
    labels_in(store, "comparison")
    labels_in(store, "thumbs")
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Question 0?"}]
    written(store, "pairs", tmp_path / "sft.jsonl", "trl-prompt-completion")
    assert lines(tmp_path / "sft.jsonl")[0] == {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a fruit."}],
        "completion": [{"role": "assistant", "content": PLUM.content}],
    }
    report = written(store, "labels:comparison", tmp_path / "dpo.jsonl", "trl")
    worse, better = "comparison answer 0.0", "comparison answer 0.1"
    said = {text: [{"role": "assistant", "content": text}] for text in (worse, better, "Better: plum.")}
    assert lines(tmp_path / "dpo.jsonl")[:3] == [
        {"prompt": asked, "chosen": said[better], "rejected": said[worse]},
        {"prompt": asked, "chosen": said["Better: plum."], "rejected": said[worse]},
        {"prompt": asked, "chosen": said["Better: plum."], "rejected": said[better]},
    ]
    assert (report.num_records, report.num_written, dict(report.without_place)) == (
        4, 3, {"nobody said which answer is better": 1},
    )  # fmt: skip
    report = written(store, "labels:comparison", tmp_path / "kto.jsonl", "trl-unpaired")
    assert lines(tmp_path / "kto.jsonl") == [
        {"prompt": asked, "completion": said[worse], "label": False},
        {"prompt": asked, "completion": said[better], "label": True},
    ]
    assert report.num_written == 1
    written(store, "labels:thumbs", tmp_path / "thumbs.jsonl", "trl")
    assert [set(line) for line in lines(tmp_path / "thumbs.jsonl")] == [{"prompt", "completion", "label"}] * 2
    written(store, "prompts", tmp_path / "prompts.jsonl", "trl")
    assert lines(tmp_path / "prompts.jsonl")[0] == {"prompt": asked}
    assert load_prompts(tmp_path / "prompts.jsonl")[0].messages[0] == SYSTEM


def test_alpaca_has_no_place_for_several_turns(store: Store, tmp_path: Path) -> None:
    pairs_in(store)
    report = written(store, "pairs", tmp_path / "a.jsonl", "alpaca")
    assert lines(tmp_path / "a.jsonl") == [
        {"instruction": "Name a fruit.", "input": "", "system": "Be brief.", "output": PLUM.content}
    ]
    assert dict(report.without_place) == {"several turns, for which Alpaca has no place": 1}
    assert load_conversations(tmp_path / "a.jsonl")[0].messages == (SYSTEM, ASKED, PLUM)


@pytest.mark.parametrize("format", ["label-studio", "argilla"])
def test_other_tools_formats_can_be_read_back(store: Store, other: Store, tmp_path: Path, format: str) -> None:
    pairs_in(store)
    written(store, "pairs", tmp_path / "pairs.json", format)
    back = import_file(other, BO, tmp_path / "pairs.json")
    assert (back.format, back.num_added, back.num_left_out) == (format, 2, 0)
    messages = [each["messages"] for each in all_records(store, "pairs")]
    assert [each["messages"] for each in all_records(other, "pairs")] == messages
    for kind in sorted(VALUES):
        labels_in(store, kind)
        file = tmp_path / f"{kind}.json"
        report = written(store, f"labels:{kind}", file, format)
        back = import_file(other, BO, file, ImportOptions(project=kind))
        assert (back.format, back.num_added, back.num_left_out) == (format, report.num_written, 0)
        kept = ("prompt", "value", "reasons", "critique", "rewrite")
        before = [each for each in all_records(store, f"labels:{kind}") if _has_strict_order(each)]
        after = all_records(other, f"labels:{kind}")
        assert [[each[name] for name in kept] for each in after] == [[each[name] for name in kept] for each in before]


def _has_strict_order(label: dict[str, Any]) -> bool:
    ranks = label["value"].get("ranks")
    return label["kind"] != "ranking" or (ranks is not None and len(set(ranks)) == len(ranks))


def test_filters_take_the_pairs_they_say(store: Store, tmp_path: Path) -> None:
    first, second, _ = pairs_in(store)
    with store.write() as connection:
        connection.execute(update(schema.pairs).where(schema.pairs.c.id == first).values(changed_ms=1000))
    for filters, ids in (
        (Filters(states=("accepted",)), [first]),
        (Filters(tags=("fruit",)), [first, second]),
        (Filters(tags=("fruit", "easy")), [first]),
        (Filters(since_ms=2000), [second]),
        (Filters(states=("draft", "rejected")), []),
    ):
        written(store, "pairs", tmp_path / "p.jsonl", filters=filters, overwrite=True)
        assert [line["id"] for line in lines(tmp_path / "p.jsonl")] == ids
    with pytest.raises(ConfigError, match="--state wrong: none of draft"):
        written(store, "pairs", tmp_path / "q.jsonl", filters=Filters(states=("wrong",)))
    with pytest.raises(ConfigError, match="prompts have none"):
        written(store, "prompts", tmp_path / "q.jsonl", filters=Filters(tags=("fruit",)))


def test_corrected_and_withdrawn_work_stays_out(store: Store, tmp_path: Path) -> None:
    labels_in(store, "thumbs")
    with store.write() as connection:
        old = connection.execute(select(schema.labels).order_by(schema.labels.c.id)).first()
        assert old is not None
        add_label(connection, NewLabel(
            CY.id, "again", "thumbs", old.prompt_id, old.answer_ids, {"good": False}, project_id=old.project_id,
            supersedes=old.id,
        ))  # fmt: skip
    assert [each["value"] for each in all_records(store, "labels:thumbs")] == [{"good": False}, {"good": False}]
    with store.write() as connection:
        connection.execute(update(schema.people).where(schema.people.c.id == CY.id).values(withdrawn_ms=1))
    assert all_records(store, "labels:thumbs") == []


def test_work_that_somebody_who_left_had_a_part_in_stays_out(store: Store) -> None:
    first, second, _ = pairs_in(store)
    labels_in(store, "comparison")  # the second answer of each is dee's
    assert len(all_records(store, "labels:comparison")) == 4
    with store.write() as connection:
        gone = schema.people.c.id.in_([BO.id, DEE.id])
        connection.execute(update(schema.people).where(gone).values(withdrawn_ms=1))
    assert all_records(store, "labels:comparison") == []
    assert [each["id"] for each in all_records(store, "pairs")] == [first]  # bo edited the second
    assert second != first


def test_a_snapshot_is_written_as_it_was(store: Store, tmp_path: Path) -> None:
    _, second, _ = pairs_in(store)
    now = now_ms()
    with store.write() as connection:
        revisions = schema.pair_revisions
        query = select(revisions.c.id).where(revisions.c.pair_id == second, revisions.c.number == 1)
        old = connection.execute(query).scalar_one()
        row = {"id": "d", "name": "curated", "kind": "pairs", "created_by": BO.id, "created_ms": now}
        connection.execute(insert(schema.datasets).values(**row))
        row = {"id": "s", "dataset_id": "d", "number": 3, "content_hash": "", "num_records": 1, "created_ms": now}
        connection.execute(insert(schema.snapshots).values(**row))
        row = {"snapshot_id": "s", "position": 0, "pair_revision_id": old, "facts": {"tags": ["then"], "unknown": 1}}
        connection.execute(insert(schema.snapshot_records).values(**row))
    written(store, "curated@3", tmp_path / "s.jsonl")
    (line,) = lines(tmp_path / "s.jsonl")
    assert (line["id"], line["revision"], line["tags"], line["messages"][-1]["content"]) == (
        second,
        1,
        ["then"],
        "Pear.",
    )
    for what, why in (("curated@4", "no snapshot"), ("other@1", "no snapshot"), ("labels:none", "no project")):
        with pytest.raises(NotFoundError, match=why):
            written(store, what, tmp_path / "t.jsonl")
    with pytest.raises(ConfigError, match="written whole"):
        written(store, "curated@3", tmp_path / "t.jsonl", filters=Filters(tags=("x",)))


def test_many_rows_are_read_page_by_page_and_once_each(store: Store, tmp_path: Path) -> None:
    with store.write() as connection:
        new = [NewPair((Message("user", f"Q{at}"), Message("assistant", "A"))) for at in range(1203)]
        ids = add_pairs(connection, CY, new, action="drafted")
    written(store, "pairs", tmp_path / "p.jsonl.gz")
    with gzip.open(tmp_path / "p.jsonl.gz", "rt", encoding="utf-8") as file:
        assert [json.loads(line)["id"] for line in file] == ids


def test_a_file_is_written_whole_or_not_at_all(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs_in(store)
    out = tmp_path / "p.jsonl"
    out.write_text("before", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"already exists.*--overwrite"):
        written(store, "pairs", out)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tutelage.store.export_files._write_one", fail)
    with pytest.raises(KeyboardInterrupt):
        written(store, "pairs", out, overwrite=True)
    assert out.read_text(encoding="utf-8") == "before"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["p.jsonl"]


def test_nothing_but_the_named_file_is_touched(store: Store, tmp_path: Path) -> None:
    pairs_in(store)
    target, link = tmp_path / "target.txt", tmp_path / "link.jsonl"
    target.write_text("kept", encoding="utf-8")
    link.symlink_to(target)
    with pytest.raises(ConfigError, match="already exists"):
        written(store, "pairs", link)
    written(store, "pairs", link, overwrite=True)
    assert target.read_text(encoding="utf-8") == "kept"
    assert not link.is_symlink()
    for out, why in ((tmp_path, "is a folder"), (tmp_path / "no" / "p.jsonl", "does not exist"),
                     (Path("s3://bucket/p.jsonl"), "is an address|does not exist")):  # fmt: skip
        with pytest.raises(ConfigError, match=why):
            written(store, "pairs", out)


def test_formats_and_people_that_may_not(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotAllowedError, match="needs the role reviewer"):
        export_file(store, CY, "pairs", tmp_path / "p.jsonl")
    with pytest.raises(ConfigError, match="has no shape for prompts; these have: tutelage, trl"):
        written(store, "prompts", tmp_path / "p.jsonl", "alpaca")
    with pytest.raises(ConfigError, match="is none of pairs, prompts"):
        written(store, "everything", tmp_path / "p.jsonl")
    assert list(tmp_path.glob("p.jsonl*")) == []
    assert len(FORMATS) == 10
