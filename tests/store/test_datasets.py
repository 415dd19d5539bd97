"""Snapshots never change, name what they hold, and leave out what must not be trained on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from record import ADA, BO, CY, DEE
from sqlalchemy import Connection, insert, update

from tutelage.data import load_comparisons, load_conversations, load_ratings
from tutelage.errors import ConfigError, ConflictError, NotAllowedError, NotFoundError, StoreError
from tutelage.store import exports, pairs, schema, sources
from tutelage.store.contents import add_answer, add_prompt
from tutelage.store.database import Store
from tutelage.store.dataset_diff import diff
from tutelage.store.datasets import (
    Snapshot,
    as_bytes,
    listing,
    make_snapshot,
    records,
    snapshot_of,
    snapshots_of,
    take_snapshot,
)
from tutelage.store.ids import new_id
from tutelage.store.labels import NewLabel, add_label, check_value
from tutelage.store.people import Person
from tutelage.types import Message

ATTRIBUTES = ({"name": "helpful", "low": 0, "high": 4}, {"name": "correct", "low": 1, "high": 5})


def talk(question: str, answer: str = "Dry.") -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


def add(connection: Connection, *questions: str, person: Person = ADA, state: Any = "accepted", **more: Any) -> Any:
    new = [pairs.NewPair(talk(question), **more) for question in questions]
    return pairs.add_pairs(connection, person, new, state=state)


def lines(connection: Connection, name: str) -> list[Any]:
    return list(records(connection, snapshot_of(connection, name)))


def asked(connection: Connection, name: str = "curated") -> list[str]:
    return [line["messages"][0]["content"] for line in lines(connection, name)]


def project(connection: Connection, kind: str, name: str = "helpful") -> str:
    project_id = new_id()
    attributes = ATTRIBUTES if kind == "rating" else ()
    connection.execute(insert(schema.projects).values(
        id=project_id, name=name, kind=kind, question="?", attributes=list(attributes), created_by=ADA.id, created_ms=0,
    ))  # fmt: skip
    return project_id


def judge(
    connection: Connection, project_id: str, value: Mapping[str, Any], answers: Sequence[str] = ("Good.", "Bad."),
    *, question: str = "Why?", person: Person = CY, wrote: Person | None = None, **more: Any,
) -> str:  # fmt: skip
    kind = {"outcome": "comparison", "ranks": "ranking", "good": "thumbs", "scores": "rating"}.get(next(iter(value)))
    kind = kind or "ranking"
    prompt_id = add_prompt(connection, [Message("system", "Be kind."), Message("user", question)])
    ids = [
        add_answer(connection, prompt_id, text, model="m", author_id=wrote.id if wrote else None) for text in answers
    ]
    ids = more.pop("answer_ids", ids)
    check_value(kind, value, len(ids), ATTRIBUTES)
    time.sleep(0.002)  # labels of one millisecond have no order
    return add_label(
        connection,
        NewLabel(person.id, new_id(), kind, prompt_id, ids, value, project_id=project_id, **more),  # type: ignore[arg-type]
    )


def file_of(path: Path, found: Sequence[Any]) -> Path:
    path.write_bytes(b"".join(map(as_bytes, found)))
    return path


def test_a_snapshot_is_what_was_accepted_then(any_store: Store) -> None:
    with any_store.write() as connection:
        first, second = add(connection, "One?", "Two?", source="page 3", licence="CC0", tags=["b", "a"])
        add(connection, "Three?", state="submitted")
        snapshot = make_snapshot(connection, BO, "curated", why="the first")
        before = [as_bytes(line) for line in records(connection, snapshot)]
        pairs.edit(connection, BO, first, talk("One!"), base_revision=1)
        pairs.untag(connection, BO, second, "a")
        pairs.withdraw(connection, BO, second)
        connection.execute(update(schema.people).where(schema.people.c.id == ADA.id).values(name="augusta"))
        assert [as_bytes(line) for line in records(connection, snapshot)] == before
    assert (snapshot.label, snapshot.num_records, snapshot.created_by, snapshot.why) == (
        "curated@1", 2, "bo", "the first"
    )  # fmt: skip
    assert json.loads(before[0]) == {
        "messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Dry."}], "id": first,
        "author": "ada", "source": "page 3", "licence": "CC0", "tags": ["a", "b"],
    }  # fmt: skip
    assert snapshot.content_hash == hashlib.sha256(b"".join(before)).hexdigest()


def test_the_same_content_is_the_same_snapshot(any_store: Store) -> None:
    with any_store.write() as connection:
        (first,) = add(connection, "One?")
        one = make_snapshot(connection, BO, "curated")
        assert make_snapshot(connection, ADA, "curated", why="again") == one
        pairs.tag(connection, BO, first, "new")
        two = make_snapshot(connection, BO, "curated")
        pairs.untag(connection, BO, first, "new")
        three = make_snapshot(connection, BO, "curated")
        assert [each.number for each in (one, two, three)] == [1, 2, 3]
        assert one.content_hash == three.content_hash != two.content_hash
        assert [each.label for each in snapshots_of(connection, "curated")] == ["curated@3", "curated@2", "curated@1"]
        assert snapshot_of(connection, "curated") == three
        assert snapshot_of(connection, "curated@1") == one
        other = make_snapshot(connection, BO, "bits", tags=())
        assert [(each.name, each.newest) for each in listing(connection)] == [("bits", other), ("curated", three)]
        assert [each.name for each in listing(connection, after="bits")] == ["curated"]


def test_what_is_chosen_by_state_tag_and_source(store: Store) -> None:
    with store.write() as connection:
        add(connection, "One?", tags=["a", "b"], source="book.jsonl:1")
        add(connection, "Two?", tags=["a"], source="book.jsonl:2")
        add(connection, "Three?", state="submitted", source="page_1")
        pairs.draft(connection, CY, [Message("user", "Four?")])

        def take(**chosen: Any) -> list[str]:
            make_snapshot(connection, BO, "some", **chosen)
            return asked(connection, "some")

        assert take(tags=["a"]) == ["One?", "Two?"]
        assert take(tags=["a", "b"]) == ["One?"]
        assert take(sources=["book"], states=["accepted", "submitted"]) == ["One?", "Two?"]
        assert take(sources=["page%1", "page_"], states=["submitted"]) == ["Three?"]
        assert take(states=["accepted", "submitted", "draft"]) == ["One?", "Two?", "Three?"]
        assert snapshot_of(connection, "some").chosen_by == {
            "states": ["accepted", "submitted", "draft"], "tags": [], "sources": [],
            "left_out": {"there is no answer yet": 1},
        }  # fmt: skip
        with pytest.raises(StoreError, match=r"no pair is rejected, tagged 'x'; `tutelage pairs list`"):
            take(states=["rejected"], tags=["x"])
        with pytest.raises(ConfigError, match="'lost' is no state of a pair; there are draft"):
            take(states=["lost"])


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "a/b", "x.jsonl", "starter", "curated@3", "labels:", "labels:a/b/c"]
)
def test_a_name_is_never_a_path_or_a_word_with_another_meaning(store: Store, name: str) -> None:
    with store.write() as connection, pytest.raises(ConfigError, match="is no name for a dataset"):
        make_snapshot(connection, BO, name)


def test_raters_take_no_snapshots(store: Store) -> None:
    with store.write() as connection, pytest.raises(NotAllowedError, match="needs the role reviewer"):
        make_snapshot(connection, CY, "curated")


def test_removed_work_is_left_out(any_store: Store) -> None:
    with any_store.write() as connection:
        _, edited, _ = add(connection, "One?", "Two?", "Three?")
        pairs.edit(connection, BO, edited, talk("Two!"), base_revision=1)
        pairs.accept(connection, ADA, edited, allow_own=True)
        withdrawn, _ = add(connection, "Four?", "Five?", person=BO)
        pairs.withdraw(connection, BO, withdrawn)
        connection.execute(update(schema.people).where(schema.people.c.id == BO.id).values(withdrawn_ms=1))
        make_snapshot(connection, ADA, "curated")
        assert asked(connection) == ["One?", "Three?"]
        assert snapshot_of(connection, "curated").chosen_by["left_out"] == {"a person's work was removed": 2}

        helpful = project(connection, "comparison")
        value = {"outcome": "first", "strength": 3}
        kept = judge(connection, helpful, value)
        gone = [judge(connection, helpful, value, person=BO), judge(connection, helpful, value, wrote=BO)]
        withdrawn = judge(connection, helpful, value)
        connection.execute(update(schema.labels).where(schema.labels.c.id == withdrawn).values(withdrawn_ms=1))
        make_snapshot(connection, None, "labels:helpful")
        assert [line["id"] for line in lines(connection, "labels:helpful")] == [kept]
        assert kept not in gone


def test_comparisons_as_training_reads_them(any_store: Store, tmp_path: Path) -> None:
    with any_store.write() as connection:
        helpful = project(connection, "comparison")
        first = judge(
            connection, helpful, {"outcome": "second", "strength": 4}, reasons=["shorter"], critique="Too long.",
            guideline_version=2, seconds=3.5,
        )  # fmt: skip
        judge(connection, helpful, {"outcome": "both_bad"}, rewrite="Best.", person=DEE)
        judge(connection, helpful, {"outcome": "tie"})
        judge(connection, helpful, {"outcome": "first", "strength": 1}, rewrite="Good. ")  # no other text
        judge(connection, helpful, {"outcome": "cannot_judge"})
        judge(connection, helpful, {"outcome": "first", "strength": 1}, answers=("Same.", "Same."))
        judge(connection, helpful, {"outcome": "first", "strength": 1}, answers=("Good.", " "))
        snapshot = make_snapshot(connection, None, "labels:helpful")
        found = list(records(connection, snapshot))
    assert (snapshot.kind, snapshot.num_records, snapshot.created_by) == ("labels", 4, "")
    assert snapshot.chosen_by == {"gold": False, "repeats": False, "left_out": {
        "an answer is empty": 1, "nobody could judge": 1, "the answers are the same, and one was called better": 1,
    }}  # fmt: skip
    assert found[0] == {
        "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}],
        "chosen": "Bad.", "rejected": "Good.", "strength": 4, "rater": "cy", "id": first,
        "meta": {
            "critique": "Too long.", "guideline_version": 2, "models": ["m", "m"], "project": "helpful",
            "reasons": ["shorter"], "seconds": 3.5,
        },
    }  # fmt: skip
    read = load_comparisons(file_of(tmp_path / "l.jsonl", found))
    said = [([answer[0].content for answer in each.answers], each.ranks, each.strength, each.rater) for each in read]
    assert said == [
        (["Bad.", "Good."], (0, 1), 4.0, "cy"),
        (["Best.", "Good.", "Bad."], (0, 1, 1), None, "dee"),
        (["Good.", "Bad."], (0, 0), None, "cy"),
        (["Good.", "Bad."], (0, 1), 1.0, "cy"),
    ]
    assert found[1]["meta"]["outcome"] == "both_bad"
    assert [message.role for message in read[0].messages] == ["system", "user"]


def test_rankings_as_training_reads_them(store: Store, tmp_path: Path) -> None:
    with store.write() as connection:
        helpful = project(connection, "ranking")
        judge(connection, helpful, {"ranks": [1, 0, 1]}, answers=("A.", "B.", "C."))
        judge(connection, helpful, {"ranks": [0, 1, 2]}, answers=("A.", " ", "C."), rewrite="Best.")
        judge(connection, helpful, {"cannot_judge": True}, answers=("A.", "B."))
        judge(connection, helpful, {"ranks": [0, 1]}, answers=("A.", ""))
        judge(connection, helpful, {"ranks": [0, 1]}, answers=("A.", "A. "))
        make_snapshot(connection, None, "labels:helpful")
        read = load_comparisons(file_of(tmp_path / "l.jsonl", lines(connection, "labels:helpful")))
    assert [([answer[0].content for answer in each.answers], each.ranks) for each in read] == [
        (["A.", "B.", "C."], (1, 0, 1)), (["Best.", "A.", "C."], (0, 1, 2)),
    ]  # fmt: skip


def test_thumbs_as_training_reads_them(store: Store, tmp_path: Path) -> None:
    with store.write() as connection:
        helpful = project(connection, "thumbs")
        judge(connection, helpful, {"good": True}, answers=("A.",))
        judge(connection, helpful, {"good": False}, answers=("B.",), rewrite="Best.")
        judge(connection, helpful, {"good": False}, answers=("",), rewrite="Written.")
        judge(connection, helpful, {"good": False}, answers=("",))
        snapshot = make_snapshot(connection, None, "labels:helpful")
        found = lines(connection, "labels:helpful")
        path = file_of(tmp_path / "l.jsonl", found)
    read = [(each.answer[0].content, each.value) for each in load_ratings(path)]
    assert read == [("A.", True), ("B.", False), ("Best.", True), ("Written.", True)]
    assert (snapshot.num_records, len(found)) == (3, 4)
    (comparison,) = load_comparisons(path)  # all answers to one prompt, better before worse
    assert [answer[0].content for answer in comparison.answers] == ["A.", "B.", "Best.", "Written."]
    assert comparison.ranks == (0, 1, 0, 0)


def test_ratings_as_training_reads_them(any_store: Store, tmp_path: Path) -> None:
    with any_store.write() as connection:
        helpful = project(connection, "rating")
        judge(connection, helpful, {"scores": {"helpful": 3, "correct": 2}}, answers=("A.",))
        make_snapshot(connection, None, "labels:helpful")
        make_snapshot(connection, None, "labels:helpful/correct")
        # 3 of 0 … 4 is .75, 2 of 1 … 5 is .25.
        (mean,) = load_ratings(file_of(tmp_path / "mean.jsonl", lines(connection, "labels:helpful")))
        (one,) = load_ratings(file_of(tmp_path / "one.jsonl", lines(connection, "labels:helpful/correct")))
        assert (mean.value, one.value) == (0.5, 2)
        assert mean.meta["meta"]["scores"] == {"correct": 2, "helpful": 3}
        with pytest.raises(NotFoundError, match="rates no attribute 'kind'; there are: helpful, correct"):
            make_snapshot(connection, None, "labels:helpful/kind")
        with pytest.raises(NotFoundError, match="no labelling project 'other'; there are: helpful"):
            make_snapshot(connection, None, "labels:other")


def test_corrected_gold_and_repeated_labels(store: Store) -> None:
    with store.write() as connection:
        helpful = project(connection, "thumbs")
        old = judge(connection, helpful, {"good": True}, answers=("A.",))
        row = connection.execute(schema.labels.select().where(schema.labels.c.id == old)).one()
        new = judge(connection, helpful, {"good": False}, answers=("A.",), answer_ids=row.answer_ids, supersedes=old)
        gold = judge(connection, helpful, {"good": True}, answers=("B.",), is_gold=True)
        repeat = judge(connection, helpful, {"good": True}, answers=("A.",), round=1)

        def take(**chosen: Any) -> list[str]:
            make_snapshot(connection, BO, "labels:helpful", **chosen)
            return sorted(line["id"] for line in lines(connection, "labels:helpful"))

        assert take() == [new]
        assert take(gold=True) == sorted([new, gold])
        assert take(gold=True, repeats=True) == sorted([new, gold, repeat])
        project(connection, "thumbs", "empty")
        with pytest.raises(StoreError, match="labels:empty has no labels to learn from"):
            make_snapshot(connection, BO, "labels:empty")


def test_what_differs_between_two_snapshots(any_store: Store) -> None:
    with any_store.write() as connection:
        same, changed, tagged, removed = add(connection, "Same?", "It is five metres.", "Tagged?", "Gone?")
        make_snapshot(connection, BO, "curated")
        pairs.edit(connection, BO, changed, talk("It is six metres."), base_revision=1)
        pairs.accept(connection, ADA, changed, allow_own=True)
        pairs.tag(connection, BO, tagged, "x")
        pairs.reject(connection, BO, removed, comment="no")
        (came,) = add(connection, "New?")
        make_snapshot(connection, BO, "curated")
        found = diff(connection, "curated@1", "curated")
    assert (found.num_added, found.num_removed, found.num_changed, found.num_same) == (1, 1, 2, 1)
    assert ([line["id"] for line in found.added], [line["id"] for line in found.removed]) == ([came], [removed])
    first, second = found.changed
    assert (first.new["id"], second.new["id"], second.new["tags"]) == (changed, tagged, ["x"])
    assert [tuple(each)[:3] for each in first.changes[:4]] == [
        (0, "equal", "It is "), (0, "delete", "five "), (0, "insert", "six "), (0, "equal", "metres."),
    ]  # fmt: skip
    assert {each.op for each in second.changes} == {"equal"}
    assert same not in {line["id"] for line in (*found.added, *found.removed)}


def test_a_corrected_label_has_changed(store: Store) -> None:
    with store.write() as connection:
        helpful = project(connection, "thumbs")
        add(connection, "One?")
        make_snapshot(connection, BO, "curated")
        label_id = first = judge(connection, helpful, {"good": True}, answers=("A.",))
        make_snapshot(connection, BO, "labels:helpful")
        answer_ids = connection.execute(schema.labels.select()).one().answer_ids
        for good in (True, False):  # corrected twice
            label_id = judge(
                connection, helpful, {"good": good}, answers=("A.",), answer_ids=answer_ids, supersedes=label_id
            )
        make_snapshot(connection, BO, "labels:helpful")
        found = diff(connection, "labels:helpful@1", "labels:helpful@2")
        assert (found.num_added, found.num_removed, found.num_changed) == (0, 0, 1)
        assert [(each.old["id"], each.new["id"], each.new["label"]) for each in found.changed] == [
            (first, label_id, False)
        ]
        with pytest.raises(ConfigError, match="compare like with like"):
            diff(connection, "curated", "labels:helpful")


def test_a_snapshot_of_labels_is_exported_by_the_name_that_training_gives_it(store: Store) -> None:
    with store.write() as connection:
        helpful = project(connection, "thumbs")
        label_id = judge(connection, helpful, {"good": True}, answers=("A.",))
        make_snapshot(connection, BO, "labels:helpful")
        judge(connection, helpful, {"good": True}, answers=("B.",))
    with store.read() as connection:
        wanted = exports.find_wanted(connection, BO, "labels:helpful@1", exports.Filters())
        assert [line["id"] for line in exports.records(connection, wanted, exports.Filters())] == [label_id]
        now = exports.find_wanted(connection, BO, "labels:helpful", exports.Filters())
        assert exports.count(connection, now, exports.Filters()) == 2


# The files that training reads


def curated(store: Store, *questions: str) -> Snapshot:
    with store.write() as connection:
        add(connection, *(questions or ("One?", "Two?")))
        return make_snapshot(connection, BO, "curated")


def test_a_name_becomes_a_file_once(any_store: Store) -> None:
    snapshot = curated(any_store)
    source = sources.resolve(any_store.workspace, "curated")
    assert source is not None
    assert (source.name, source.snapshot_id, source.content_hash) == ("curated@1", snapshot.id, snapshot.content_hash)
    assert source.path == any_store.workspace / "snapshots" / "curated@1.jsonl"
    assert hashlib.sha256(source.path.read_bytes()).hexdigest() == snapshot.content_hash
    assert [each.messages[0].content for each in load_conversations(source.path)] == ["One?", "Two?"]
    written = source.path.stat().st_mtime_ns
    curated(any_store, "Three?")
    assert sources.resolve(any_store.workspace, "curated@1") == source
    assert source.path.stat().st_mtime_ns == written
    newest = sources.resolve(any_store.workspace, "curated")
    assert newest is not None
    assert (newest.name, newest.num_records) == ("curated@2", 3)
    assert sorted(path.name for path in source.path.parent.iterdir()) == ["curated@1.jsonl", "curated@2.jsonl"]


def test_labels_are_taken_as_they_are_now(store: Store) -> None:
    with store.write() as connection:
        helpful = project(connection, "rating")
        judge(connection, helpful, {"scores": {"helpful": 3, "correct": 2}}, answers=("A.",))

    def name(text: str) -> str:
        source = sources.resolve(store.workspace, text)
        assert source is not None
        assert source.path.is_file()
        return source.name

    assert [name("labels:helpful") for _ in range(2)] == ["labels:helpful@1"] * 2
    with store.write() as connection:
        judge(connection, helpful, {"scores": {"helpful": 1, "correct": 2}}, answers=("B.",))
    assert name("labels:helpful") == "labels:helpful@2"
    assert name("labels:helpful@1") == "labels:helpful@1"
    assert name("labels:helpful/correct") == "labels:helpful/correct@1"
    assert {path.parent for path in (store.workspace / "snapshots").rglob("*")} == {store.workspace / "snapshots"}


def test_a_changed_file_is_not_trained_on(store: Store) -> None:
    curated(store)
    source = sources.resolve(store.workspace, "curated@1")
    assert source is not None
    source.path.write_bytes(source.path.read_bytes() + b"{}\n")
    with pytest.raises(StoreError, match=r"curated@1.jsonl is not what curated@1 holds: somebody has changed it"):
        sources.resolve(store.workspace, "curated@1")
    source.path.unlink()
    assert sources.resolve(store.workspace, "curated@1") == source


def test_a_record_that_lost_words_is_noticed(store: Store) -> None:
    curated(store)
    with store.write() as connection:
        connection.execute(update(schema.pair_revisions).values(messages=[{"role": "user", "content": "x"}]))
    with pytest.raises(StoreError, match="no longer holds what curated@1 held"):
        sources.resolve(store.workspace, "curated@1")
    assert list((store.workspace / "snapshots").iterdir()) == []


def test_work_that_was_withdrawn_since_is_not_trained_on(store: Store) -> None:
    curated(store)
    with store.write() as connection:
        pairs.withdraw(connection, BO, pairs.listing(connection, BO)[0].id)
    with pytest.raises(ConflictError, match="curated@1 holds 1 record that was withdrawn since it was taken"):
        sources.resolve(store.workspace, "curated")


def test_names_of_nothing_and_names_of_files(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = store.workspace
    for text in ("pairs.jsonl", "folder/pairs", "./curated", "starter", "hub:owner/name", "in memory", "sealed"):
        assert sources.resolve(workspace, text) is None
    with pytest.raises(NotFoundError, match="no dataset 'curated'; `tutelage snapshot curated` makes one"):
        sources.resolve(workspace, "curated")
    with pytest.raises(NotFoundError, match="no labelling project 'x'; there is none yet"):
        sources.resolve(workspace, "labels:x")
    (tmp_path / "curated").write_text("{}", encoding="utf-8")
    assert sources.resolve(workspace, "curated") is None  # there is no such dataset, and there is such a file
    assert sources.readable(workspace, "curated") == "curated"
    curated(store)
    assert sources.readable(workspace, "curated") == str(workspace / "snapshots" / "curated@1.jsonl")
    assert sources.readable(workspace, "./curated") == "./curated"
    with pytest.raises(NotFoundError, match="no snapshot curated@4; the newest is curated@1"):
        sources.resolve(workspace, "curated@4")


def test_without_a_record_names_are_files(empty_workspace: Path) -> None:
    assert sources.resolve(empty_workspace, "curated") is None
    for text in ("curated@1", "labels:helpful"):
        with pytest.raises(StoreError, match="tutelage init"):
            sources.resolve(empty_workspace, text)


def test_a_long_snapshot_comes_back_in_order(store: Store) -> None:
    questions = [f"Question {number}?" for number in range(2345)]
    with store.write() as connection:
        add(connection, *questions)
    snapshot = take_snapshot(store, BO, "curated")
    with store.read() as connection:
        assert asked(connection) == questions
    assert snapshot.num_records == 2345
