"""Back to what a model was made from and forward from a record: the index, the graph, what is withdrawn and refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from record import ADA, BO, CY, DEE
from sqlalchemy import Connection, func, insert, select, update

from tutelage.errors import ConflictError, NotAllowedError, NotFoundError
from tutelage.models.folder import ORIGIN_FILE, write_origin
from tutelage.store import contents, lineage, pairs, schema
from tutelage.store.database import Store
from tutelage.store.ids import new_id
from tutelage.store.labels import NewLabel, add_label
from tutelage.store.lineage import Held
from tutelage.store.people import Person
from tutelage.store.uses import Step
from tutelage.types import Message

# A workspace with its whole story ------------------------------------------------------------------------------------


def pair(connection: Connection, author: Person, question: str, licence: str = "") -> str:
    """A pair of `author`, accepted by Bo, or by Ada where Bo wrote it."""
    talk = [Message("user", question), Message("assistant", "Yes.")]
    pair_id = pairs.draft(connection, author, talk, licence=licence)
    pairs.submit(connection, author, pair_id)
    pairs.accept(connection, ADA if author is BO else BO, pair_id)
    return pair_id


def edited(connection: Connection, editor: Person, pair_id: str) -> None:
    """A revision by `editor`, accepted by Ada."""
    talk = [Message("user", "Better?"), Message("assistant", "Better.")]
    pairs.edit(connection, editor, pair_id, talk, base_revision=1)
    pairs.accept(connection, ADA, pair_id)


def snapshot(connection: Connection, name: str, kind: str, ids: list[str], number: int = 1) -> str:
    """A snapshot NAME@number of these pairs' newest revisions, or of these labels."""
    datasets, revisions = schema.datasets, schema.pair_revisions
    dataset_id = connection.execute(select(datasets.c.id).where(datasets.c.name == name)).scalar()
    if dataset_id is None:
        dataset_id = new_id()
        row = {"id": dataset_id, "name": name, "kind": kind, "created_by": ADA.id, "created_ms": 1}
        connection.execute(insert(datasets).values(**row))
    id = new_id()
    row = {
        "id": id, "dataset_id": dataset_id, "number": number, "content_hash": f"{name}{number}", "why": "a first round",
        "num_records": len(ids), "created_by": ADA.id, "created_ms": 1_750_000_000_000,
    }  # fmt: skip
    connection.execute(insert(schema.snapshots).values(**row))
    for position, record_id in enumerate(ids):
        held: dict[str, Any] = {"snapshot_id": id, "position": position, "facts": {}}
        if kind == "pairs":
            newest = select(revisions.c.id).where(revisions.c.pair_id == record_id).order_by(revisions.c.number.desc())
            held["pair_revision_id"] = connection.execute(newest).scalars().first()
            licence = select(schema.pairs.c.licence).where(schema.pairs.c.id == record_id)
            held["facts"] = {"licence": connection.execute(licence).scalar_one()}
        else:
            held["label_id"] = record_id
        connection.execute(insert(schema.snapshot_records).values(**held))
    return id


def label(
    connection: Connection, person: Person, project_id: str, prompt_id: str, answer_ids: list[str], version: int = 1,
    item_id: str | None = None,
) -> str:  # fmt: skip
    return add_label(
        connection,
        NewLabel(
            person.id, new_id(), "comparison", prompt_id, answer_ids, {"outcome": "tie"}, project_id=project_id,
            guideline_version=version, item_id=item_id,
        ),
    )  # fmt: skip


def project(connection: Connection, name: str = "helpful") -> str:
    id = new_id()
    row = {"id": id, "name": name, "kind": "comparison", "question": "?", "created_by": ADA.id, "created_ms": 1}
    connection.execute(insert(schema.projects).values(**row))
    return id


def made(store: Store, name: str, method: str, *inputs: Mapping[str, Any], at: int = 0, **more: Any) -> None:
    """A model folder with the origin file that training writes."""
    folder = store.workspace / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    origin = {"kind": "trained", "run": name, "method": method, "steps": 5, "tokens": 700, "inputs": list(inputs)}
    write_origin(folder, origin | {"options": {}} | more)
    os.utime(folder / ORIGIN_FILE, ns=(0, (1_760_000_000_000 + at) * 1_000_000))


def of(role: str, name: str, snapshot: str = "") -> dict[str, str]:
    return {"role": role, "name": name} | ({"snapshot": snapshot, "content_hash": "abc"} if snapshot else {})


class Story:
    """Pairs by Cy and Dee → sft → verdicts by Bo and Cy on its answers → rm → ppo; `other` knows only Dee's pair."""

    def __init__(self, store: Store) -> None:
        with store.write() as connection:
            self.by_cy, self.by_dee = pair(connection, CY, "One?", "CC0"), pair(connection, DEE, "Two?")
            self.edited = pair(connection, DEE, "Three?", "CC0")
            edited(connection, BO, self.edited)
            self.curated = snapshot(connection, "curated", "pairs", [self.by_cy, self.by_dee, self.edited])
            self.of_dee = snapshot(connection, "dees", "pairs", [self.by_dee])
            prompt_id = contents.add_prompt(connection, [Message("user", "Which?")])
            answers = [contents.add_answer(connection, prompt_id, text, model="sft") for text in ("This.", "That.")]
            project_id = project(connection)
            self.label_bo = label(connection, BO, project_id, prompt_id, answers, 1)
            self.label_cy = label(connection, CY, project_id, prompt_id, answers, 2)
            self.verdicts = snapshot(connection, "helpful", "labels", [self.label_bo, self.label_cy])
        made(store, "sft", "sft", of("base", "starter-base"), of("data", "curated@1", self.curated), at=1,
             options={"epochs": 2, "lora.rank": 8})  # fmt: skip
        made(store, "rm", "reward", of("base", "starter-base"), of("data", "helpful@1", self.verdicts), at=2)
        made(store, "ppo", "ppo", of("base", "sft"), of("reward", "rm"), of("critic", "rm"), of("prompts", "p.jsonl"),
             at=3)  # fmt: skip
        made(store, "other", "sft", of("base", "starter-base"), of("data", "dees@1", self.of_dee), at=4)
        with store.write() as connection:
            assert lineage.rescan(connection, store.workspace) == (["other", "ppo", "rm", "sft"], [])


def paths(uses: list[lineage.Use]) -> dict[str, str]:
    return {use.model: " → ".join(f"{step.name} ({step.role})" for step in use.path) for use in uses}


# Back ----------------------------------------------------------------------------------------------------------------


def test_back_from_ppo_to_every_pair_label_and_person(any_store: Store) -> None:
    story = Story(any_store)
    with any_store.read() as connection:
        ppo = lineage.ancestors(connection, "ppo")
    assert (ppo.method, ppo.steps, ppo.tokens, ppo.made_ms) == ("ppo", 5, 700, 1_760_000_000_003)
    assert [(source.role, source.name) for source in ppo.inputs] == [
        ("base", "sft"), ("prompts", "p.jsonl"), ("reward", "rm"), ("critic", "rm"),
    ]  # fmt: skip
    base, _, reward, critic = ppo.inputs
    (sft,), (rm,) = base.models, reward.models
    assert sft.options == {"epochs": 2, "lora.rank": 8}
    assert [source.name for source in sft.inputs] == ["starter-base", "curated@1"]
    curated = sft.inputs[1].facts
    assert curated is not None
    assert (curated.kind, curated.num_records, curated.num_withdrawn, curated.by) == ("pairs", 3, 0, "ada")
    assert curated.counts == {
        "authors": {"dee": 2, "cy": 1}, "editors": {"bo": 1}, "reviewers": {"bo": 2, "ada": 1},
        "licences": {"CC0": 2, "none given": 1},
    }  # fmt: skip
    verdicts = rm.inputs[1]
    assert (verdicts.name, verdicts.snapshot_id) == ("helpful@1", story.verdicts)
    assert verdicts.facts is not None
    assert verdicts.facts.counts == {
        "projects": {"helpful": 2}, "kinds": {"comparison": 2}, "raters": {"bo": 1, "cy": 1},
        "guidelines": {"helpful v1": 1, "helpful v2": 1},
    }  # fmt: skip
    (judged,) = verdicts.models
    assert (judged.name, judged.is_repeated, judged.inputs) == ("sft", True, ())
    assert critic.models[0].is_repeated


def test_a_model_nobody_knows(any_store: Store) -> None:
    with any_store.read() as connection, pytest.raises(NotFoundError, match="knows no model 'nobody'; `tutelage lin"):
        lineage.ancestors(connection, "nobody")
    with any_store.write() as connection:
        for name in ("nobody", "../models", ""):
            with pytest.raises(NotFoundError, match="no model"):
                lineage.register(connection, any_store.workspace, name)


def test_without_a_record_the_files_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    data = {"role": "data", "name": "pairs.jsonl", "content_hash": "f" * 64}
    write_origin(folder, {"method": "sft", "inputs": [of("base", "starter-base"), data], "options": {}})
    (tmp_path / "models" / "next").mkdir()
    write_origin(tmp_path / "models" / "next", {"method": "dpo", "inputs": [of("base", "mine")]})
    found = lineage.ancestors_from_files(tmp_path, "next")
    assert (found.method, found.options) == ("dpo", None)
    (mine,) = found.inputs[0].models
    assert [(one.role, one.name, one.content_hash) for one in mine.inputs] == [
        ("base", "starter-base", ""), ("data", "pairs.jsonl", "f" * 64),
    ]  # fmt: skip
    with pytest.raises(NotFoundError, match="no model 'gone'"):
        lineage.ancestors_from_files(tmp_path, "gone")


def test_an_origin_file_of_before_lists_what_the_run_lets_know(store: Store) -> None:
    made(store, "rm", "reward")
    folder, run = store.workspace / "models" / "old", store.workspace / "runs" / "old"
    folder.mkdir(parents=True)
    run.mkdir(parents=True)
    write_origin(folder, {"kind": "trained", "run": "old", "method": "ppo", "base": "b", "data": "p.jsonl"})
    config = {"reward": ["0.5*rm + -1*length:9"], "ref_model": "r", "critic": None, "ptx_data": "starter"}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    os.utime(folder / ORIGIN_FILE, (1000, 1000))
    with store.write() as connection:
        lineage.register(connection, store.workspace, "old")
        found = lineage.ancestors(connection, "old")
    assert {(one.role, one.name) for one in found.inputs} == {
        ("base", "b"), ("data", "p.jsonl"), ("reference", "r"), ("reward", "rm"), ("ptx", "starter"),
    }  # fmt: skip
    assert found.made_ms == 1_000_000


def test_members_are_told_of_below_their_ensemble(store: Store) -> None:
    made(store, "one", "reward", of("base", "b"))
    made(store, "two", "reward", of("base", "b"))
    made(store, "both", "reward", of("member", "one"), of("member", "two"))
    made(store, "ppo", "ppo", of("base", "b"), of("reward", "both"), of("member", "one"), of("member", "two"))
    with store.write() as connection:
        lineage.rescan(connection, store.workspace)
        found = lineage.ancestors(connection, "ppo")
    assert [one.name for one in found.inputs] == ["b", "both"]
    assert [one.models[0].name for one in found.inputs[1].models[0].inputs] == ["one", "two"]


def test_a_name_that_leads_back_to_itself_ends(store: Store) -> None:
    made(store, "a", "sft", of("base", "b"))
    made(store, "b", "sft", of("base", "a"))
    with store.write() as connection:
        lineage.rescan(connection, store.workspace)
        found = lineage.ancestors(connection, "a")
    assert found.inputs[0].models[0].inputs[0].models[0].is_repeated


# The index -----------------------------------------------------------------------------------------------------------


def test_registered_again_it_is_there_once_and_as_it_is_now(any_store: Store) -> None:
    made(any_store, "mine", "sft", of("base", "b"), of("data", "old.jsonl"))
    with any_store.write() as connection:
        first = lineage.register(connection, any_store.workspace, "mine")
        assert lineage.register(connection, any_store.workspace, "mine") == first
        assert lineage.unknown_models(connection, any_store.workspace) == []
    made(any_store, "mine", "dpo", of("base", "b"), of("data", "new.jsonl"), of("data", "new.jsonl"), at=9)
    with any_store.write() as connection:
        assert lineage.unknown_models(connection, any_store.workspace) == ["mine"]
        assert lineage.register(connection, any_store.workspace, "mine") == first
        found = lineage.ancestors(connection, "mine")
        assert connection.execute(select(func.count()).select_from(schema.models)).scalar_one() == 1
    assert (found.method, [one.name for one in found.inputs]) == ("dpo", ["b", "new.jsonl"])


def test_a_snapshot_of_another_workspace_is_a_name_here(any_store: Store) -> None:
    made(any_store, "brought", "sft", of("data", "theirs@4", "0" * 32))
    with any_store.write() as connection:
        lineage.register(connection, any_store.workspace, "brought")
        (source,) = lineage.ancestors(connection, "brought").inputs
    assert (source.name, source.content_hash, source.snapshot_id, source.facts) == ("theirs@4", "abc", None, None)


def test_rescan_leaves_out_what_cannot_be_read(store: Store) -> None:
    made(store, "good", "sft")
    (store.workspace / "models" / "bad").mkdir()
    (store.workspace / "models" / "bad" / "tutelage_origin.json").write_text("{", encoding="utf-8")
    (store.workspace / "models" / ".new.partial-host-1").mkdir()
    (store.workspace / "models" / "foreign").mkdir()
    with store.write() as connection:
        done, unreadable = lineage.rescan(connection, store.workspace)
        assert lineage.ancestors(connection, "foreign").inputs == ()
    assert done == ["foreign", "good"]
    assert len(unreadable) == 1
    assert "tutelage_origin.json cannot be read" in unreadable[0]


# Forward -------------------------------------------------------------------------------------------------------------


def test_forward_from_a_pair_and_from_a_label(any_store: Store) -> None:
    story = Story(any_store)
    with any_store.read() as connection:
        cys, dees, labels = (
            lineage.forward(connection, pair_id=story.by_cy), lineage.forward(connection, pair_id=story.by_dee),
            lineage.forward(connection, label_id=story.label_cy),
        )  # fmt: skip
    assert cys.held == [Held(story.curated, "curated@1", 1)]
    assert paths(cys.uses) == {
        "sft": "curated@1 (data)",
        "rm": "curated@1 (data) → sft (answers)",
        "ppo": "curated@1 (data) → sft (base)",
    }
    assert {held.name for held in dees.held} == {"curated@1", "dees@1"}
    assert paths(dees.uses)["other"] == "dees@1 (data)"
    assert paths(labels.uses) == {"rm": "helpful@1 (data)", "ppo": "helpful@1 (data) → rm (reward)"}
    assert [use.is_direct for use in labels.uses] == [True, False]


def test_forward_from_what_was_never_used_and_from_nothing(any_store: Store) -> None:
    Story(any_store)
    with any_store.write() as connection:
        unused = pair(connection, CY, "Unused?")
        assert lineage.forward(connection, pair_id=unused) == ([], [])
        with pytest.raises(NotFoundError, match="no pair nothing; check the id"):
            lineage.forward(connection, pair_id="nothing")
        with pytest.raises(NotFoundError, match=f"no label {unused}"):
            lineage.forward(connection, label_id=unused)


# Taking work out -----------------------------------------------------------------------------------------------------


def withdrawn(connection: Connection) -> set[str]:
    return {
        id for table in (schema.pairs, schema.labels)
        for id in connection.execute(select(table.c.id).where(table.c.withdrawn_ms.is_not(None))).scalars()
    }  # fmt: skip


def test_a_persons_work_is_withdrawn_and_the_models_listed(any_store: Store) -> None:
    story = Story(any_store)
    with any_store.write() as connection:
        dry = lineage.remove_person(connection, ADA, CY, dry_run=True)
        assert withdrawn(connection) == set()
        assert connection.execute(select(schema.audit_log)).first() is None
    with any_store.write() as connection:
        removal = lineage.remove_person(connection, ADA, CY, dry_run=False)
        assert removal == dry
        assert withdrawn(connection) == {story.by_cy, story.label_cy}
        entry = connection.execute(select(schema.audit_log)).one()
        events = pairs.history(connection, ADA, story.by_cy).events
        cy = connection.execute(select(schema.people).where(schema.people.c.id == CY.id)).one()
    assert removal[:5] == ("cy", 1, 0, 1, 0)
    assert [held.name for held in removal.snapshots] == ["curated@1", "helpful@1"]
    assert paths(removal.retrain) == {
        "sft": "curated@1 (data)",
        "rm": "helpful@1 (data)",
        "ppo": "curated@1 (data) → sft (base)",
    }
    assert (entry.person_id, entry.action, entry.subject) == (ADA.id, "people.work_removed", CY.id)
    assert entry.detail == {"num_pairs": 1, "num_labels": 1, "num_models": 3}
    assert (events[-1].action, cy.active) == ("withdrawn", True)
    assert cy.withdrawn_ms is not None


def test_what_somebody_edited_is_their_work_too(any_store: Store) -> None:
    story = Story(any_store)
    with any_store.write() as connection:
        removal = lineage.remove_person(connection, ADA, BO, dry_run=False)
        assert removal[:5] == ("bo", 0, 1, 1, 0)
        assert withdrawn(connection) == {story.edited, story.label_bo}
    assert "other" not in paths(removal.retrain)


def test_once_more_withdraws_only_what_has_come_since(any_store: Store) -> None:
    Story(any_store)
    with any_store.write() as connection:
        first = lineage.remove_person(connection, ADA, DEE, dry_run=False)
        again = lineage.remove_person(connection, ADA, DEE, dry_run=False)
        assert (first[1:5], again[1:5]) == ((2, 0, 0, 0), (0, 0, 0, 0))
        assert (again.snapshots, again.retrain) == (first.snapshots, first.retrain)
        new = pair(connection, DEE, "New?")
        assert lineage.remove_person(connection, ADA, DEE, dry_run=False)[1:5] == (1, 0, 0, 0)
        assert new in withdrawn(connection)


def test_verdicts_on_their_words_go_and_nobody_is_asked_again(any_store: Store) -> None:
    with any_store.write() as connection:
        project_id = project(connection)
        theirs = contents.add_prompt(connection, [Message("user", "By Dee?")], author_id=DEE.id)
        plain = contents.add_prompt(connection, [Message("user", "By nobody?")])
        answers = [contents.add_answer(connection, theirs, text, model="m") for text in "ab"]
        written = contents.add_answer(connection, plain, "Dee's answer", author_id=DEE.id)
        others = [contents.add_answer(connection, plain, text, model="m") for text in "cd"]
        item_ids = [new_id() for _ in range(3)]
        asked = ((theirs, answers), (plain, [written, others[0]]), (plain, others))
        for item_id, (prompt_id, answer_ids) in zip(item_ids, asked, strict=True):
            row = {"project_id": project_id, "prompt_id": prompt_id, "answer_ids": answer_ids, "num_wanted": 2}
            connection.execute(insert(schema.items).values(id=item_id, state="open", created_ms=1, **row))
        author = {"item_id": item_ids[1], "person_id": DEE.id}
        connection.execute(insert(schema.item_authors).values(**author))
        on_prompt = label(connection, BO, project_id, theirs, answers, item_id=item_ids[0])
        on_answer = label(connection, BO, project_id, plain, [written, others[0]], item_id=item_ids[1])
        elsewhere = label(connection, BO, project_id, plain, others, item_id=item_ids[2])
        removal = lineage.remove_person(connection, ADA, DEE, dry_run=False)
        assert removal[:5] == ("dee", 0, 0, 0, 2)
        assert withdrawn(connection) == {on_prompt, on_answer}
        states = dict(connection.execute(select(schema.items.c.id, schema.items.c.state)).all())
    assert elsewhere
    assert [states[id] for id in item_ids] == ["withdrawn", "withdrawn", "open"]


def test_an_item_that_loses_a_verdict_wants_another(any_store: Store) -> None:
    with any_store.write() as connection:
        project_id, prompt_id = project(connection), contents.add_prompt(connection, [Message("user", "Which?")])
        answers = [contents.add_answer(connection, prompt_id, text, model="m") for text in "ab"]
        row = {"project_id": project_id, "prompt_id": prompt_id, "answer_ids": answers, "num_wanted": 2, "num_done": 2}
        item_id = new_id()
        connection.execute(insert(schema.items).values(id=item_id, state="done", created_ms=1, **row))
        for person in (BO, CY):
            label(connection, person, project_id, prompt_id, answers, item_id=item_id)
        for _ in range(2):  # the second time takes nothing off
            lineage.remove_person(connection, ADA, CY, dry_run=False)
            item = connection.execute(select(schema.items)).one()
            assert (item.state, item.num_done) == ("open", 1)


def test_only_an_admin_may(any_store: Store) -> None:
    with any_store.write() as connection:
        for person in (BO, CY):
            with pytest.raises(NotAllowedError, match="this needs the role admin"):
                lineage.remove_person(connection, person, DEE, dry_run=True)


def test_training_on_withdrawn_work_is_refused(any_store: Store) -> None:
    story = Story(any_store)
    with any_store.write() as connection:
        lineage.refuse_withdrawn(connection, story.curated, "curated@1")
        lineage.remove_person(connection, ADA, CY, dry_run=False)
        assert lineage.withdrawn_in(connection, story.curated) == lineage.withdrawn_in(connection, story.verdicts) == 1
        assert lineage.withdrawn_in(connection, story.of_dee) == 0
        with pytest.raises(ConflictError) as caught:
            lineage.refuse_withdrawn(connection, story.curated, "curated@1")
        connection.execute(update(schema.pairs).values(withdrawn_ms=1))
        with pytest.raises(ConflictError, match="curated@1 holds 3 records that were withdrawn"):
            lineage.refuse_withdrawn(connection, story.curated, "curated@1")
    assert str(caught.value) == (
        "curated@1 holds 1 record that was withdrawn since it was taken; take a new snapshot by "
        "`tutelage snapshot curated`, and train on that"
    )


def test_who_is_asked_for_many_rows_at_once(store: Store) -> None:
    """More ids than a database takes as parameters of one statement, in a snapshot each."""
    with store.write() as connection:
        talk = [Message("user", "How many?"), Message("assistant", "Many.")]
        ids = pairs.add_pairs(connection, CY, [pairs.NewPair(talk)] * 1201)
        snapshot(connection, "many", "pairs", ids)
        removal = lineage.remove_person(connection, ADA, CY, dry_run=False)
    assert removal.num_pairs_written == 1201
    assert [(held.name, held.num_held) for held in removal.snapshots] == [("many@1", 1201)]


def test_the_shortest_way_is_told(store: Store) -> None:
    """Through the data itself rather than through a base that had it, whatever the order in which they were made."""
    with store.write() as connection:
        id = snapshot(connection, "curated", "pairs", [pair(connection, CY, "One?")])
    made(store, "late", "sft", of("base", "first"), of("data", "curated@1", id), at=1)
    made(store, "first", "sft", of("data", "curated@1", id), at=2)
    with store.write() as connection:
        lineage.rescan(connection, store.workspace)
        held = [Held(id, "curated@1", 1)]
        found = {use.model: use.path for use in lineage.uses_of(connection, held)}
    assert found == {name: (Step("data", "curated@1"),) for name in ("first", "late")}


def test_what_was_made_with_a_model(any_store: Store) -> None:
    """From it, by its scores, and by verdicts on its answers, each with the shortest way; itself is not told."""
    Story(any_store)
    with any_store.read() as connection:
        assert paths(lineage.uses_of_model(connection, "sft")) == {"rm": "sft (answers)", "ppo": "sft (base)"}
        assert paths(lineage.uses_of_model(connection, "starter-base"))["ppo"] == "starter-base (base) → sft (base)"
        assert lineage.uses_of_model(connection, "ppo") == []


def test_the_index_catches_up_with_models_made_without_it(store: Store, tmp_path: Path) -> None:
    made(store, "new", "sft", of("base", "starter-base"))
    made(store, "damaged", "sft")
    (store.workspace / "models" / "damaged" / ORIGIN_FILE).write_text("{")
    made(store, "x" * 201, "sft")
    (tmp_path / "outside").mkdir()
    (store.workspace / "models" / "linked").symlink_to(tmp_path / "outside")
    with store.write() as connection:
        lineage.catch_up(connection, store.workspace)
        lineage.catch_up(connection, store.workspace)
        assert connection.execute(select(schema.models.c.name)).scalars().all() == ["new"]
