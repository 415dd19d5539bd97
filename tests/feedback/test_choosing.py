"""Choosing in the record: who may be chosen, what is noted, what comes first, and who may choose."""

from __future__ import annotations

import numpy as np
import pytest
from record import ADA, BO, CY, DEE
from sqlalchemy import Connection, insert, select, update

from tutelage.errors import ConfigError, ConflictError, NotAllowedError
from tutelage.feedback import items, projects
from tutelage.feedback.choosing import choose, look
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.feedback.view import Features
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.ids import new_id, now_ms
from tutelage.store.labels import NewLabel, add_label
from tutelage.types import Message

DIM = 6


def project_with(connection: Connection, number: int = 40, kind: str = "comparison", num_answers: int = 2) -> Project:
    """A project with `number` items, each of a prompt of its own."""
    attributes = [{"name": "helpful", "low": 0, "high": 4}] if kind == "rating" else []
    project = projects.create(connection, BO, "helpful", kind, attributes=attributes)
    new = [
        NewItem(
            [Message("user", f"Question {place}?")],
            [NewAnswer(f"Answer {place}.{each}") for each in range(num_answers)],
        )
        for place in range(number)
    ]
    items.add_items(connection, BO, project, new)
    return project


def rows_of(connection: Connection, project: Project) -> list[object]:
    table = schema.items
    return list(connection.execute(select(table).where(table.c.project_id == project.id).order_by(table.c.id)))


def features_of(connection: Connection, seed: int = 0) -> dict[str, np.ndarray]:
    """Some state for every answer there is."""
    generator = np.random.default_rng(seed)
    ids = connection.execute(select(schema.answers.c.id).order_by(schema.answers.c.id)).scalars()
    return {id: generator.normal(size=DIM).astype(np.float32) for id in ids}


def judge(connection: Connection, project: Project, item: object, value: dict, person=CY, **more) -> str:
    new = NewLabel(
        person.id, new_id(), project.kind, item.prompt_id, item.answer_ids, value, project_id=project.id,
        item_id=item.id, **more,
    )  # fmt: skip
    connection.execute(update(schema.items).where(schema.items.c.id == item.id).values(num_done=1))
    return add_label(connection, new)


def assign(connection: Connection, project: Project, item: object, state: str, seconds: int) -> None:
    now = now_ms()
    connection.execute(insert(schema.assignments).values(
        id=new_id(), project_id=project.id, item_id=item.id, person_id=CY.id, state=state, displayed=item.answer_ids,
        leased_ms=now, expires_ms=now + 1000 * seconds,
    ))  # fmt: skip


def test_what_was_chosen_comes_first_with_rule_and_probability(any_store: Store) -> None:
    with any_store.write() as connection:
        project = project_with(connection)
        choice = choose(connection, BO, project, "d-optimal", features_of(connection), 12, seed=1)
        table = schema.items
        queue = list(connection.execute(select(table).order_by(table.c.priority.desc(), table.c.id)))
    assert [row.id for row in queue[:12]] == [id for id, _, _ in choice.items]
    assert [row.selection_rule for row in queue[:12]] == [rule for _, rule, _ in choice.items]
    assert {(row.selection_rule, row.selection_probability) for row in queue[:12]} == {
        ("random", 3 / 40), ("d-optimal", 1.0)
    }  # fmt: skip
    assert {(row.selection_rule, row.selection_probability, row.priority) for row in queue[12:]} == {("all", None, 0.0)}
    assert (choice.num_random, choice.num_open, choice.num_looked_at, choice.num_unreadable) == (3, 40, 40, 0)


def test_chance_needs_no_features(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection)
        choice = choose(connection, BO, project, "random", None, 10, seed=2)
        assert {(rule, probability) for _, rule, probability in choice.items} == {("random", 10 / 40)}
        with pytest.raises(ConfigError, match="--reward"):
            choose(connection, BO, project, "gap", None, 10)


def test_the_same_seed_chooses_the_same(store: Store) -> None:
    chosen = []
    for seed in (5, 5, 6):
        with store.write() as connection:
            project = project_with(connection, 30) if not chosen else projects.get(connection, "helpful")
            places = {row.id: place for place, row in enumerate(rows_of(connection, project))}
            choice = choose(connection, BO, project, "gap", features_of(connection), 10, seed=seed)
            chosen.append([places[id] for id, _, _ in choice.items])
            connection.execute(update(schema.items).values(priority=0.0, selection_rule="all"))
    assert chosen[0] == chosen[1] != chosen[2]


def test_only_what_is_open_unjudged_and_not_begun_is_chosen(any_store: Store) -> None:
    with any_store.write() as connection:
        project = project_with(connection, 8)
        done, judged, leased, expired, skipped, gold, withdrawn, free = rows_of(connection, project)
        connection.execute(update(schema.items).where(schema.items.c.id == done.id).values(state="done"))
        judge(connection, project, judged, {"outcome": "tie"})
        assign(connection, project, leased, "leased", 600)
        assign(connection, project, expired, "leased", -600)
        assign(connection, project, skipped, "skipped", 600)
        items.add_gold(connection, BO, project, gold.id, {"outcome": "tie"})
        items.withdraw(connection, BO, project, withdrawn.id)
        choice = choose(connection, BO, project, "random", None, 8)
        assert {id for id, _, _ in choice.items} == {expired.id, skipped.id, free.id}
        with pytest.raises(ConflictError, match="no item to choose from"):
            choose(connection, BO, project, "random", None, 8)


def test_a_second_batch_comes_before_the_first_and_does_not_ask_the_same_again(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection, 4)
        one, other, third, fourth = rows_of(connection, project)
        axes = {one.id: 0, other.id: 0, third.id: 1, fourth.id: 2}
        features: dict[str, np.ndarray] = {}
        for row in (one, other, third, fourth):
            features[row.answer_ids[1]] = np.zeros(3)
            features[row.answer_ids[0]] = np.eye(3)[axes[row.id]] * (10 - axes[row.id])
        features[one.answer_ids[0]] *= 1.01
        first = choose(connection, BO, project, "d-optimal", features, 1, random_frac=0.0, num_clusters=1)
        second = choose(connection, BO, project, "d-optimal", features, 1, random_frac=0.0, num_clusters=1)
        assert [id for id, _, _ in first.items] == [one.id]
        assert [id for id, _, _ in second.items] == [third.id]  # `other` is longer, but waits behind `one`
        assert (first.num_waiting, second.num_waiting) == (0, 1)
        table = schema.items
        queue = connection.execute(select(table.c.id).order_by(table.c.priority.desc(), table.c.id)).scalars().all()
        assert queue[:2] == [third.id, one.id]


def test_verdicts_teach_the_head_unless_they_were_taken_back(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection, 30)
        features = features_of(connection)
        rows = rows_of(connection, project)
        first, second, third, fourth, fifth, sixth = rows[:6]
        judge(connection, project, first, {"outcome": "first", "strength": 4})
        corrected = judge(connection, project, second, {"outcome": "first", "strength": 4})
        judge(connection, project, second, {"outcome": "tie"}, supersedes=corrected)
        judge(connection, project, third, {"outcome": "cannot_judge"})
        judge(connection, project, fourth, {"outcome": "tie"}, is_gold=True)
        judge(connection, project, fifth, {"outcome": "tie"}, round=1)
        judge(connection, project, sixth, {"outcome": "tie"}, person=DEE)
        connection.execute(update(schema.people).where(schema.people.c.id == DEE.id).values(withdrawn_ms=1))
        choice = choose(connection, BO, project, "uncertainty", features, 5)
        assert choice.num_verdicts == 2


def test_uncertainty_follows_the_verdicts(store: Store) -> None:
    """Raters prefer whatever has more of the first feature; pairs that do not differ in it are in doubt."""
    with store.write() as connection:
        project = project_with(connection, 60)
        rows = rows_of(connection, project)
        features: dict[str, np.ndarray] = {}
        for place, row in enumerate(rows):
            gap = 0.0 if place in (50, 55) else 1.0 + place % 5
            features[row.answer_ids[0]] = np.array([gap, 0.3 * (-1) ** place, 1.0])
            features[row.answer_ids[1]] = np.array([0.0, 0.0, 1.0])
        for row in rows[:40]:
            judge(connection, project, row, {"outcome": "first", "strength": 4})
        choice = choose(connection, BO, project, "uncertainty", features, 2, random_frac=0.0, num_clusters=1)
        assert {id for id, _, _ in choice.items} == {rows[50].id, rows[55].id}


@pytest.mark.parametrize(
    ("kind", "num_answers", "value"),
    [
        ("ranking", 4, {"ranks": [0, 1, 1, 2]}),
        ("thumbs", 1, {"good": True}),
        ("rating", 1, {"scores": {"helpful": 3}}),
    ],
)
@pytest.mark.parametrize("rule", ["uncertainty", "gap", "d-optimal"])
def test_every_kind_of_project_can_be_chosen_for(store: Store, kind: str, num_answers: int, value: dict, rule) -> None:
    with store.write() as connection:
        project = project_with(connection, 20, kind, num_answers)
        for row in rows_of(connection, project)[:5]:
            judge(connection, project, row, value)
        choice = choose(connection, BO, project, rule, features_of(connection), 8)
        assert len({id for id, _, _ in choice.items}) == 8
        assert choice.num_verdicts == 5


def test_a_look_at_some_of_many_lowers_the_probabilities(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection, 40)
        seen = look(connection, BO, project, look_at=10, seed=3)
        assert (len(seen.items), seen.num_open) == (10, 40)
        assert seen == look(connection, BO, project, look_at=10, seed=3)
        needed = {id for prompt in seen.prompts for id in prompt.texts}
        features: Features = {id: state for id, state in features_of(connection).items() if id in needed}
        choice = choose(connection, BO, project, "gap", features, 8, looked_at=seen.items)
        assert {id for id, _, _ in choice.items} < set(seen.items)
        assert {(rule, probability) for _, rule, probability in choice.items} == {
            ("random", 2 / 40), ("gap", 10 / 40)
        }  # fmt: skip


def test_a_look_names_the_answers_to_read(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection, 12)
        rows = rows_of(connection, project)
        judge(connection, project, rows[0], {"outcome": "tie"})
        seen = look(connection, BO, project)
        assert len(seen.items) == 11
        assert {id for prompt in seen.prompts for id in prompt.texts} == {id for row in rows for id in row.answer_ids}
        assert {prompt.messages[0].content for prompt in seen.prompts} == {f"Question {n}?" for n in range(12)}
        with pytest.raises(ConfigError):
            look(connection, BO, project, look_at=0)


def test_what_a_model_cannot_read_is_not_chosen_and_is_told(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection, 10)
        features = features_of(connection)
        unreadable = rows_of(connection, project)[0]
        del features[unreadable.answer_ids[0]]
        choice = choose(connection, BO, project, "gap", features, 10)
        assert (len(choice.items), choice.num_unreadable) == (9, 1)
        assert unreadable.id not in {id for id, _, _ in choice.items}
        with pytest.raises(ConflictError, match="know no item whole, of 1 looked at"):
            choose(connection, BO, project, "gap", {}, 1)


def test_raters_do_not_choose(store: Store) -> None:
    with store.write() as connection:
        project = project_with(connection, 3)
        for act in (look, lambda *whom: choose(*whom, "random", None, 1)):
            with pytest.raises(NotAllowedError):
                act(connection, CY, project)
        choose(connection, ADA, project, "random", None, 1)
        acts = connection.execute(select(schema.audit_log.c.action)).scalars().all()
        assert acts[-1] == "project.chosen"
