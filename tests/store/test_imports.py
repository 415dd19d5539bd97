"""Imports: what goes in comes out in the counts, the same file adds nothing, strict is all or nothing."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from record import ADA, BO, CY
from sqlalchemy import Table, func, select

from tutelage.errors import ConfigError, DataError, NotAllowedError
from tutelage.store import imports, schema
from tutelage.store.database import Store
from tutelage.store.import_rows import ImportOptions
from tutelage.store.imports import ImportReport, import_file
from tutelage.store.pairs import get as get_pair
from tutelage.store.pairs import listing as list_pairs
from tutelage.store.similar import near
from tutelage.types import Message

PAIR = {"prompt": "Name a fruit that grows on trees.", "completion": "Plum."}
COMPARISON = {"prompt": "Name a fruit.", "chosen": "Plum.", "rejected": "It depends.", "rater": "kim"}


def write(folder: Path, records: Sequence[Any], name: str = "work.jsonl") -> Path:
    file = folder / name
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def numbers(report: ImportReport) -> tuple[int, int, int, int]:
    return report.num_read, report.num_added, report.num_already, report.num_left_out


def rows(store: Store, table: Table) -> list[dict[str, Any]]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def size(store: Store, table: Table) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_pair_comes_with_its_history_tags_and_origin(any_store: Store, tmp_path: Path) -> None:
    records = [
        PAIR | {"licence": "CC-BY-4.0", "topic": "food"},
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "author": "zoe"},
    ]
    options = ImportOptions(tags=("fruit", "old"), source="the handbook")
    report = import_file(any_store, BO, write(tmp_path, records), options)
    assert numbers(report) == (2, 2, 0, 0)
    with any_store.read() as connection:
        second, first = list_pairs(connection, BO)  # the newest first
        assert (first.state, first.source, first.licence) == ("submitted", "the handbook (work.jsonl:1)", "CC-BY-4.0")
        assert sorted(first.tags) == ["fruit", "old"]
        detail = get_pair(connection, BO, second.id)
        assert [turn.content for turn in detail.messages] == ["Q", "A"]
        found = near(connection, [Message("user", "Name a fruit that grows on a tree.")])
        assert [each.pair_id for each in found] == [first.id]
    by_author = {row["author_id"] for row in rows(any_store, schema.pairs)}
    zoe = next(row for row in rows(any_store, schema.people) if row["name"] == "zoe")
    assert by_author == {BO.id, zoe["id"]}
    assert (zoe["active"], zoe["role"], zoe["password_hash"]) == (False, "rater", None)
    assert [row["action"] for row in rows(any_store, schema.pair_events)] == ["imported", "imported"]
    assert {row["import_id"] for row in rows(any_store, schema.pairs)} == {report.import_id}


def test_an_accepted_import_says_who_accepted_it(store: Store, tmp_path: Path) -> None:
    import_file(store, BO, write(tmp_path, [PAIR]), ImportOptions(state="accepted"))
    events = [(row["action"], row["person_id"]) for row in rows(store, schema.pair_events)]
    assert events == [("imported", BO.id), ("accepted", BO.id)]


def test_the_same_file_again_adds_nothing(any_store: Store, tmp_path: Path) -> None:
    file = write(tmp_path, [PAIR, PAIR, {"prompt": "Other?", "completion": "Yes."}, {"prompt": "No answer?"}])
    assert numbers(import_file(any_store, BO, file)) == (4, 2, 1, 1)
    assert numbers(import_file(any_store, BO, file)) == (4, 0, 3, 1)
    labels = write(tmp_path, [COMPARISON, COMPARISON, COMPARISON | {"rater": "lee"}], "labels.jsonl")
    assert numbers(import_file(any_store, BO, labels)) == (3, 3, 0, 0)
    assert numbers(import_file(any_store, BO, labels)) == (3, 0, 3, 0)
    longer = write(tmp_path, [COMPARISON, COMPARISON, COMPARISON | {"rater": "lee"}, COMPARISON], "labels.jsonl")
    assert numbers(import_file(any_store, BO, longer)) == (4, 1, 3, 0)


def test_labels_share_an_item_and_count_in_its_order(any_store: Store, tmp_path: Path) -> None:
    turned = {"prompt": "Name a fruit.", "response_a": "It depends.", "response_b": "Plum."}
    records = [
        COMPARISON,
        turned | {"winner": "b", "rater": "lee", "strength": "slightly better"},
        turned | {"winner": "a", "rater": "mo"},
        turned | {"winner": "both bad"},
        COMPARISON,
        turned | {"winner": "b"},
    ]
    report = import_file(any_store, BO, write(tmp_path, records), ImportOptions(project="fruit"))
    assert (numbers(report), report.project) == ((6, 6, 0, 0), "fruit")
    (item,) = rows(any_store, schema.items)
    assert (item["state"], item["num_done"], item["num_wanted"]) == ("done", 5, 5)
    labels = sorted(rows(any_store, schema.labels), key=lambda row: row["id"])
    assert [row["value"] for row in labels] == [
        {"outcome": "first", "strength": 3},
        {"outcome": "first", "strength": 2},
        {"outcome": "second", "strength": 3},
        {"outcome": "both_bad"},
        {"outcome": "first", "strength": 3},
        {"outcome": "first", "strength": 3},
    ]
    assert [row["round"] for row in labels] == [0, 0, 0, 0, 1, 0]  # a repeat, and somebody unknown
    assert {tuple(row["answer_ids"]) for row in labels} == {tuple(item["answer_ids"])}
    names = {row["id"]: row["name"] for row in rows(any_store, schema.people)}
    unknown = "unknown rater of work.jsonl"
    assert [names[row["person_id"]] for row in labels] == ["kim", "lee", "mo", unknown, "kim", unknown]
    (project,) = rows(any_store, schema.projects)
    assert (project["name"], project["kind"], project["created_by"]) == ("fruit", "comparison", BO.id)


def test_a_member_is_not_taken_for_somebody_of_the_same_name(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path, [COMPARISON | {"rater": "cy"}])
    import_file(store, BO, file)
    (label,) = rows(store, schema.labels)
    names = {row["id"]: (row["name"], row["active"]) for row in rows(store, schema.people)}
    assert names[label["person_id"]] == ("work.jsonl: cy", False)
    import_file(store, BO, file, ImportOptions(project="other", match_people=True))
    assert {row["person_id"] for row in rows(store, schema.labels)} == {label["person_id"], CY.id}


def test_ratings_give_a_new_project_its_range(store: Store, tmp_path: Path) -> None:
    records = [{"prompt": f"Q{at}", "completion": "A", "stars": stars} for at, stars in enumerate((2, 5, 1))]
    assert numbers(import_file(store, BO, write(tmp_path, records[:2], "stars.jsonl"))) == (2, 2, 0, 0)
    assert numbers(import_file(store, BO, write(tmp_path, records, "stars.jsonl"))) == (3, 1, 2, 0)
    (project,) = rows(store, schema.projects)
    assert project["kind"] == "rating"
    assert [(each["name"], each["low"], each["high"]) for each in project["attributes"]] == [("stars", 1, 5)]


def test_a_project_takes_only_its_own_kind(store: Store, tmp_path: Path) -> None:
    records = [COMPARISON, {"prompt": "Q", "completion": "A", "label": True}]
    report = import_file(store, BO, write(tmp_path, records), ImportOptions(project="fruit"))
    assert numbers(report) == (2, 1, 0, 1)
    assert "the kind is thumbs, and project 'fruit' collects comparison" in report.left_out[0].problem


def test_prompts_come_once_with_their_reference(any_store: Store, tmp_path: Path) -> None:
    file = write(tmp_path, [{"prompt": "Name a fruit.", "reference": "Plum.", "id": "q1"}, {"prompt": "Name a fruit."}])
    assert numbers(import_file(any_store, BO, file, ImportOptions(kind="prompts", licence="CC0"))) == (2, 1, 1, 0)
    assert numbers(import_file(any_store, BO, file, ImportOptions(kind="prompts"))) == (2, 0, 2, 0)
    (prompt,) = rows(any_store, schema.prompts)
    assert (prompt["reference"], prompt["meta"]) == ("Plum.", {"id": "q1", "source": "work.jsonl:1", "licence": "CC0"})


def test_what_was_left_out_is_kept_with_line_field_and_problem(store: Store, tmp_path: Path) -> None:
    records = [PAIR, "not json", {"prompt": "Q", "completions": "A"}, {"prompt": "Nul \0?", "completion": "A"}]
    report = import_file(store, BO, write(tmp_path, records))
    with store.read() as connection:
        (listed,) = imports.listing(connection, BO)
        kept = imports.get(connection, BO, report.import_id[:14])
    assert (listed["num_read"], listed["num_added"], listed["num_already"], listed["num_left_out"]) == (4, 1, 0, 3)
    assert (listed["person"], listed["format"], listed["kind"]) == ("bo", "plain", "pairs")
    assert listed["finished_ms"] is not None
    assert [(row["line"], row["field"], row["code"]) for row in kept["left_out"]] == [
        (2, None, "invalid-json"),
        (3, "completion", "missing-field"),
        (4, "messages[0].content", "not-kept"),
    ]
    assert "the nearest field here is 'completions'" in kept["left_out"][1]["problem"]


def test_records_of_one_long_line_are_told_apart(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    file.write_text(json.dumps([PAIR, {"prompt": "Q"}, {"prompt": "R"}]), encoding="utf-8")
    report = import_file(store, BO, file, ImportOptions(kind="pairs"))
    assert numbers(report) == (3, 1, 0, 2)
    assert [each.record for each in report.left_out] == [2, 3]


def test_a_list_on_the_first_line_does_not_hide_the_others(store: Store, tmp_path: Path) -> None:
    for name in ("work.jsonl", "work.json"):
        assert numbers(import_file(store, BO, write(tmp_path, [[], PAIR], name), ImportOptions(kind="pairs")))[0] == 2
    assert size(store, schema.pairs) == 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_strict_writes_nothing_where_one_record_is_bad(any_store: Store, tmp_path: Path, dry_run: bool) -> None:
    before = [size(any_store, table) for table in schema.metadata.sorted_tables]
    file = write(tmp_path, [PAIR, *[{"prompt": f"Q{at}", "completion": "A"} for at in range(600)], {"prompt": "Q"}])
    with pytest.raises(DataError, match=r"work\.jsonl:602 field 'completion': missing.*nothing was written") as caught:
        import_file(any_store, BO, file, ImportOptions(strict=True, dry_run=dry_run))
    assert caught.value.line == 602
    assert [size(any_store, table) for table in schema.metadata.sorted_tables] == before


def test_strict_does_not_mind_what_is_only_needless(store: Store, tmp_path: Path) -> None:
    task = {"id": 1, "data": {"prompt": "Q", "answer1": "A", "answer2": "B"}}
    made = {
        "id": 2,
        "completed_by": 1,
        "result": [{"type": "pairwise", "from_name": "x", "value": {"selected": "left"}}],
    }
    file = tmp_path / "export.json"
    cancelled = made | {"was_cancelled": True}
    file.write_text(json.dumps([task | {"annotations": [made, cancelled]}]), encoding="utf-8")
    assert numbers(import_file(store, BO, file, ImportOptions(strict=True))) == (2, 1, 0, 1)


def test_a_dry_run_says_what_the_import_then_does(any_store: Store, tmp_path: Path) -> None:
    pairs = write(tmp_path, [PAIR, PAIR, {"prompt": "Q"}, {"prompt": "R", "completion": "S"}], "pairs.jsonl")
    labels = write(tmp_path, [COMPARISON, COMPARISON, COMPARISON | {"rater": "lee"}, {"prompt": "x"}], "labels.jsonl")
    before = [size(any_store, table) for table in schema.metadata.sorted_tables]
    for file in (pairs, labels):
        told = import_file(any_store, BO, file, ImportOptions(dry_run=True))
        assert [size(any_store, table) for table in schema.metadata.sorted_tables] == before
        done = import_file(any_store, BO, file)
        assert numbers(told) == numbers(done)
        before = [size(any_store, table) for table in schema.metadata.sorted_tables]
        again = import_file(any_store, BO, file, ImportOptions(dry_run=True))
        assert (again.num_added, again.num_already) == (0, done.num_added + done.num_already)


def test_an_interrupted_import_keeps_whole_batches_and_goes_on(any_store: Store, tmp_path: Path) -> None:
    file = write(tmp_path, [{"prompt": f"Q{at}", "completion": "A"} for at in range(1200)] + [{"prompt": "bad"}])

    def stop(report: ImportReport) -> None:
        if report.num_read >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_file(any_store, BO, file, on_progress=stop)
    assert size(any_store, schema.pairs) == 1000
    (note,) = rows(any_store, schema.imports)
    assert (note["num_read"], note["num_added"], note["finished_ms"]) == (1000, 1000, None)
    assert numbers(import_file(any_store, BO, file)) == (1201, 200, 1000, 1)
    assert size(any_store, schema.pairs) == size(any_store, schema.pair_revisions) == 1200


def test_what_was_kept_is_told_when_ctrl_c_comes_before_it_was_counted(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    told: list[ImportReport] = []
    monkeypatch.setattr("tutelage.store.imports._Job._took", stop)
    with pytest.raises(KeyboardInterrupt):
        import_file(store, BO, write(tmp_path, [PAIR]), on_progress=told.append)
    assert (told[-1].num_read, told[-1].num_added, size(store, schema.pairs)) == (1, 1, 1)


def test_a_batch_that_fails_halfway_leaves_nothing_of_itself(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tutelage.store.import_pairs.remember", fail)
    with pytest.raises(KeyboardInterrupt):
        import_file(store, BO, write(tmp_path, [PAIR]))
    assert [size(store, table) for table in (schema.pairs, schema.pair_revisions, schema.imports)] == [0, 0, 0]


GOOD = st.builds(lambda at: {"prompt": f"Q{at}", "completion": f"A{at}"}, st.integers(0, 12))
BAD = st.sampled_from([
    {"prompt": "Q"}, {"completion": "A"}, {"prompt": 3, "completion": "A"}, [], 4, None, "not json {", "{",
    {"prompt": "Q", "completion": ""}, {"prompt": "", "completion": "A"}, {"messages": []}, {"messages": "x"},
    {"prompt": "\0", "completion": "A"}, {"prompt": "\ud800", "completion": "A"}, {"other": 1}, {},
    {"prompt": "Q", "completion": "A", "meta": 1e400}, {"messages": [{"role": "tool", "content": "x"}]},
])  # fmt: skip
VERDICT = st.builds(
    lambda at, rater, won: {"prompt": f"Q{at}", "response_a": "A", "response_b": "B", "winner": won, "rater": rater},
    st.integers(0, 4), st.sampled_from(["", "kim", "lee", "ada"]), st.sampled_from(["a", "b", "tie", "none of it"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mixture=st.lists(st.one_of(GOOD, BAD, VERDICT), min_size=1, max_size=25), kind=st.sampled_from(["pairs", "labels"])
)
def test_what_is_read_is_added_there_or_left_out(store: Store, tmp_path: Path, mixture: list[Any], kind: str) -> None:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in mixture]
    assume(lines != ["[]"])  # a file that is an empty list holds nothing
    file = write(tmp_path, lines)
    table = schema.pairs if kind == "pairs" else schema.labels
    before, options = size(store, table), ImportOptions(kind=kind, project="mix" if kind == "labels" else None)
    told = import_file(store, ADA, file, ImportOptions(kind=kind, project=options.project, dry_run=True))
    first = import_file(store, ADA, file, options)
    second = import_file(store, ADA, file, options)
    for report in (told, first, second):
        assert report.num_read == len(lines) == report.num_added + report.num_already + report.num_left_out
        assert len(report.left_out) == report.num_left_out
    assert numbers(told) == numbers(first)
    assert (second.num_added, second.num_left_out) == (0, first.num_left_out)
    assert size(store, table) - before == first.num_added


def test_every_way_to_store_records_gives_the_same_pairs(store: Store, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "a.csv").write_text('question,answer\n"Q, 1",A\n', encoding="utf-8")
    (tmp_path / "b.tsv").write_text("question\tanswer\nQ, 1\tA\n", encoding="utf-8")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"instruction": "Q, 1", "output": "A"}\n'))
    (tmp_path / "d.json").write_text(json.dumps({"data": [{"prompt": "Q, 1", "completion": "A"}]}), encoding="utf-8")
    turns = [{"from": "human", "value": "Q, 1"}, {"from": "gpt", "value": "A"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"conversations": turns}]), tmp_path / "e.parquet")
    reports = [
        import_file(store, BO, tmp_path / name) for name in ("a.csv", "b.tsv", "c.jsonl.gz", "d.json", "e.parquet")
    ]
    assert [numbers(report) for report in reports] == [(1, 1, 0, 0)] + [(1, 0, 1, 0)] * 4


@pytest.mark.parametrize(
    "address", ["https://example.org/pairs.jsonl", "http://169.254.169.254/latest", "file:///etc/passwd", "s3://b/k",
                "hub:owner/name", "FTP://example.org/x"],
)  # fmt: skip
def test_nothing_is_fetched(store: Store, address: str) -> None:
    with pytest.raises(ConfigError, match="nothing is fetched; download it"):
        import_file(store, BO, address)


def test_files_that_cannot_be_opened_say_why(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04.")
    os.mkfifo(tmp_path / "pipe.jsonl")  # nobody writes to it, so opening it would wait for ever
    for name, why in {
        "none.jsonl": "no such file",
        "empty.jsonl": "is empty",
        "x.pkl": "pickle",
        ".": "is a folder",
        "pipe.jsonl": "is not a regular file",
    }.items():
        with pytest.raises(DataError, match=why):
            import_file(store, BO, tmp_path / name)
    (tmp_path / "blank.jsonl").write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="nothing to import"):
        import_file(store, BO, tmp_path / "blank.jsonl")
    assert rows(store, schema.imports) == []


def test_a_damaged_file_keeps_what_stands_before_the_damage(store: Store, tmp_path: Path) -> None:
    packed = gzip.compress(
        "".join(json.dumps({"prompt": f"Q{at}", "completion": "A"}) + "\n" for at in range(50)).encode()
    )
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-12])
    report = import_file(store, BO, tmp_path / "cut.jsonl.gz")
    assert report.num_added > 0
    assert [each.code for each in report.left_out] == ["damaged-file"]
    assert report.num_read == report.num_added + 1


def test_only_reviewers_import_and_options_must_make_sense(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path, [PAIR])
    with pytest.raises(NotAllowedError, match="needs the role reviewer"):
        import_file(store, CY, file)
    for options, why in (
        (ImportOptions(kind="people"), "none of pairs, labels, prompts"),
        (ImportOptions(kind="pairs", project="x"), "leave it out"),
        (ImportOptions(kind="labels", state="accepted"), "--state is of pairs"),
        (ImportOptions(project="no name!"), "no name for a project"),
        (ImportOptions(tags=("",)), "--tag"),
        (ImportOptions(licence="x" * 101), "--licence"),
    ):
        with pytest.raises(ConfigError, match=why):
            import_file(store, BO, file, options)
    assert rows(store, schema.pairs) == []


def test_a_large_import_has_the_database_look_at_its_tables_anew(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(Store, "refresh_statistics", lambda self, num_added: counted.append(num_added))
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "Why?", "completion": "So."}\n')
    for dry_run in (True, False):
        import_file(store, BO, file, ImportOptions(dry_run=dry_run))
    assert counted == [1]
