"""The queue: who gets what, once; leases that expire; skips; gold items and repeats that look like any other task."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from labelling import MINUTE, START, VERDICTS, crowd, given, item, make, question, rows, say, take
from record import ADA, BO, CY, DEE
from sqlalchemy import func, select, update

from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError
from tutelage.feedback import items, projects, queue, queue_sql, submit
from tutelage.feedback.projects import Project
from tutelage.store import schema
from tutelage.store.database import Store
from tutelage.store.people import Person


def work(store: Store, person: Person, project: Project, now_ms: int = START) -> Iterator[queue.Task]:
    """Every task that the person gets, submitted one after the other."""
    while task := take(store, person, project, now_ms):
        say(store, person, task, now_ms=now_ms)
        yield task


def test_a_task_shows_what_to_judge_by_and_not_who_wrote_it(any_store: Store):
    project = make(any_store, 1, reasons=["true", "clear"], guideline="Be *fair*.", models=["model-0", "model-1"])
    task = given(any_store, CY, project)
    assert (task.kind, task.question, task.reasons) == ("comparison", "Which answer is better?", ("true", "clear"))
    assert task.messages[-1].content == "question 0?"
    assert sorted(text for _, text in task.answers) == ["answer 0 to 0", "answer 1 to 0"]
    assert (task.guideline_version, task.guideline) == (1, "Be *fair*.")
    assert task.expires_ms == START + 900_000
    assert "model-" not in repr(task)


def test_a_live_lease_is_given_again_with_its_draft_and_in_the_same_order(any_store: Store):
    project = make(any_store)
    first = given(any_store, CY, project)
    with any_store.write() as connection:
        queue.save_draft(connection, CY, first.assignment_id, {"winner": 1, "critique": "half a sen"})
    again = given(any_store, CY, project, START + 14 * MINUTE)
    assert again.draft == {"winner": 1, "critique": "half a sen"}
    assert (again.assignment_id, again.answers) == (first.assignment_id, first.answers)


def test_items_come_by_priority_then_in_the_order_they_were_added(any_store: Store):
    project = make(any_store, 3)
    with any_store.write() as connection:
        items.add_items(connection, BO, project, [item(10, priority=2.5), item(11, priority=7), item(12, priority=2.5)])
    assert [question(task) for task in work(any_store, CY, project)] == [11, 10, 12, 0, 1, 2]


def test_nobody_gets_an_item_twice_nor_one_that_is_complete(any_store: Store):
    project = make(any_store, 4, overlap=2)
    assert [question(task) for task in work(any_store, CY, project)] == [0, 1, 2, 3]
    assert [question(task) for task in work(any_store, DEE, project)] == [0, 1, 2, 3]
    assert take(any_store, CY, project) is None
    assert take(any_store, ADA, project) is None, "two labels were wanted"
    assert set(rows(any_store, select(schema.items.c.state, schema.items.c.num_done))) == {("done", 2)}


def test_nobody_judges_what_they_wrote(any_store: Store):
    project = make(any_store, 0)
    by_dee = [items.NewAnswer("mine", author_id=DEE.id), items.NewAnswer("a model's")]
    with any_store.write() as connection:
        items.add_items(
            connection, BO, project, [item(0, author_id=CY.id), items.NewItem(item(1).messages, by_dee), item(2)]
        )
        # The prompt of item 0 is known to be cy's, whoever adds other answers to it.
        items.add_items(connection, BO, project, [items.NewItem(item(0).messages, [*by_dee])])
    assert [question(task) for task in work(any_store, CY, project)] == [1, 2]
    assert [question(task) for task in work(any_store, DEE, project)] == [0]
    assert [question(task) for task in work(any_store, ADA, project)] == [0]


def test_the_places_of_an_item_are_its_labels_and_its_live_leases(any_store: Store):
    project, (first, second, third) = make(any_store, 1, overlap=2), crowd(any_store, 3)
    assert take(any_store, first, project) is not None
    assert take(any_store, second, project) is not None
    assert take(any_store, third, project) is None
    late = START + 15 * MINUTE
    assert take(any_store, third, project, late - 1) is None
    assert take(any_store, third, project, late) is not None, "both leases have expired"
    assert take(any_store, first, project, late) is not None, "the second place, again with the same lease"
    assert take(any_store, second, project, late) is None
    assert len(rows(any_store, schema.assignments.select())) == 3


def test_an_expired_lease_comes_back_with_its_draft_and_the_new_guidelines(any_store: Store):
    project = make(any_store, 2, guideline="one")
    task = given(any_store, CY, project)
    with any_store.write() as connection:
        queue.save_draft(connection, CY, task.assignment_id, [1])
        projects.add_guideline(connection, BO, project, "two")
    again = given(any_store, CY, project, START + 16 * MINUTE)
    assert (again.assignment_id, again.draft, again.guideline_version) == (task.assignment_id, [1], 2)
    assert again.expires_ms == START + 31 * MINUTE


def test_an_item_taken_by_others_meanwhile_does_not_come_back_but_its_verdict_is_kept(any_store: Store):
    project = make(any_store, 2)
    task, late = given(any_store, CY, project), START + 16 * MINUTE
    theirs = given(any_store, DEE, project, late)
    assert theirs.item_id == task.item_id
    assert question(given(any_store, CY, project, late)) == 1
    say(any_store, CY, task, now_ms=late)
    say(any_store, DEE, theirs, now_ms=late)
    assert rows(any_store, select(schema.items.c.num_done).where(schema.items.c.id == task.item_id)) == [(2,)]


def test_a_lease_is_renewed_while_it_has_a_place(any_store: Store):
    project, late = make(any_store, 1), START + 16 * MINUTE
    task = given(any_store, CY, project)
    with any_store.write() as connection:
        assert queue.renew(connection, CY, task.assignment_id, now_ms=START + MINUTE) == START + 16 * MINUTE
        assert queue.renew(connection, CY, task.assignment_id, now_ms=late) == late + 15 * MINUTE
    later = late + 15 * MINUTE
    assert take(any_store, DEE, project, later) is not None
    with any_store.write() as connection, pytest.raises(ConflictError, match="its time is over"):
        queue.renew(connection, CY, task.assignment_id, now_ms=later)


def test_a_skip_needs_a_reason_and_gives_the_item_to_others(any_store: Store):
    project = make(any_store, 1)
    task = given(any_store, CY, project)
    with any_store.write() as connection:
        with pytest.raises(DataError, match="field 'reason': say in a few words why you skip it"):
            queue.skip(connection, CY, task.assignment_id, "  ")
        queue.skip(connection, CY, task.assignment_id, "I know nothing of chess", now_ms=START)
        queue.skip(connection, CY, task.assignment_id, "said twice", now_ms=START)
    assert rows(any_store, select(schema.assignments.c.skip_reason)) == [("I know nothing of chess",)]
    assert take(any_store, CY, project) is None
    assert take(any_store, DEE, project) is not None
    with pytest.raises(ConflictError, match="is skipped"):
        say(any_store, CY, task)


def test_another_persons_task_is_not_found(any_store: Store):
    task = given(any_store, CY, make(any_store))
    for act in (
        lambda connection: queue.renew(connection, DEE, task.assignment_id),
        lambda connection: queue.save_draft(connection, BO, task.assignment_id, 1),
        lambda connection: queue.skip(connection, ADA, task.assignment_id, "not mine"),
        lambda connection: queue.task_of(connection, DEE, task.assignment_id),
        lambda connection: submit.submit(connection, DEE, task.assignment_id, "k", VERDICTS["comparison"]),
    ):
        with any_store.write() as connection, pytest.raises(NotFoundError):
            act(connection)


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_a_project_that_is_not_open_hands_out_nothing_and_takes_what_was_begun(store: Store, state: str):
    project = make(store)
    task = given(store, CY, project)
    with store.write() as connection:
        project = projects.set_state(connection, BO, project, state)
    assert take(store, CY, project) is None
    assert say(store, CY, task)


def test_who_was_deactivated_gets_nothing(store: Store):
    with pytest.raises(NotAllowedError):
        take(store, Person(CY.id, CY.name, "rater", active=False), make(store))


def test_withdrawn_items_are_not_handed_out(store: Store):
    project = make(store, 2)
    task = given(store, CY, project)
    with store.write() as connection:
        items.withdraw(connection, BO, project, task.item_id)
    assert question(given(store, CY, project)) == 1
    assert take(store, DEE, project) is None


def test_both_orders_are_shown_and_kept_with_the_lease(store: Store):
    project = make(store, 60)
    shown = Counter(task.answers[0][1].split(" to ")[0] for task in work(store, CY, project))
    assert 15 < shown["answer 0"] < 45
    for displayed, answer_ids in rows(store, select(schema.labels.c.displayed, schema.labels.c.answer_ids)):
        assert sorted(displayed) == sorted(answer_ids)


def test_gold_items_are_mixed_in_and_look_like_others(store: Store):
    project = make(store, 60, gold_frac=0.3)
    with store.write() as connection:
        for number in range(100, 140):
            items.add_gold(connection, BO, project, item(number), {"outcome": "first", "strength": 4})
    tasks = list(work(store, CY, project))
    gold = [task for task in tasks if question(task) >= 100]
    assert 12 <= len(gold) <= 40  # expected: 60 · .3 / .7 = 26
    assert len({task.item_id for task in tasks}) == len(tasks)
    assert {name for name in queue.Task.__slots__ if "gold" in name or "round" in name} == set()
    states = rows(store, select(schema.items.c.state, schema.items.c.num_done).where(schema.items.c.is_gold))
    assert set(states) == {("open", 0)}, "a gold item is never complete"
    assert len(rows(store, schema.labels.select().where(schema.labels.c.is_gold))) == len(gold)


def test_the_mix_is_a_function_of_project_person_and_count(store: Store):
    project = make(store, 30, gold_frac=0.4)
    with store.write() as connection:
        for number in range(100, 130):
            items.add_gold(connection, BO, project, item(number), {"outcome": "tie"})
    expected = [random.Random(f"{project.id} {CY.id} {number}").random() < 0.4 for number in range(12)]
    seen = [question(task) >= 100 for task, _ in zip(work(store, CY, project), range(12), strict=False)]
    assert seen == expected


def test_repeats_come_long_after_and_do_not_count(store: Store):
    project = make(store, 80, repeat_frac=0.25)
    tasks = list(work(store, CY, project))
    first: dict[str, int] = {}
    gaps = []
    for number, task in enumerate(tasks):
        if task.item_id in first:
            gaps.append(number - first[task.item_id])
        first.setdefault(task.item_id, number)
    assert 5 <= len(gaps) <= 30
    assert min(gaps) > queue.REPEAT_AFTER
    assert max(Counter(task.item_id for task in tasks).values()) == 2
    assert set(rows(store, select(schema.items.c.num_done, schema.items.c.state))) == {(1, "done")}
    labels = rows(store, select(schema.labels.c.round, func.count()).group_by(schema.labels.c.round))
    assert dict(map(tuple, labels)) == {0: 80, 1: len(gaps)}


def test_who_is_far_ahead_still_gets_what_comes_first(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queue, "LOOKED_AT", 2)
    project = make(store, 12, overlap=2)
    with store.write() as connection:
        connection.execute(update(schema.items).where(schema.items.c.id > "0").values(priority=1.0))
    assert [question(given_and_said(store, project)) for _ in range(5)] == [0, 1, 2, 3, 4]
    with store.write() as connection:
        items.add_items(connection, BO, project, [item(50, priority=3), item(51, priority=-1)])
    assert [question(given_and_said(store, project)) for _ in range(9)] == [50, *range(5, 12), 51]
    assert take(store, CY, project) is None


def given_and_said(store: Store, project: Project) -> queue.Task:
    task = given(store, CY, project)
    say(store, CY, task)
    return task


def test_a_race_gives_nobody_an_item_twice_and_no_item_too_many_places(any_store: Store):
    """16 raters, 30 items, 3 labels each: at every moment no more places are taken than there are."""
    num_items, overlap, raters = 30, 3, crowd(any_store, 16)
    project = make(any_store, num_items, overlap=overlap)
    problems: list[str] = []
    watching = threading.Event()
    threads = [threading.Thread(target=_label_all, args=(any_store, rater, project, problems)) for rater in raters]
    watcher = threading.Thread(target=_watch, args=(any_store, overlap, watching, problems))
    for thread in (*threads, watcher):
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    watching.set()
    watcher.join(timeout=60)
    assert problems == []
    assert set(rows(any_store, select(schema.items.c.state, schema.items.c.num_done))) == {("done", overlap)}
    pairs = rows(any_store, select(schema.labels.c.item_id, schema.labels.c.person_id))
    assert len(pairs) == len(set(pairs)) == num_items * overlap
    assert len(rows(any_store, schema.assignments.select())) == num_items * overlap


def _label_all(store: Store, rater: Person, project: Project, problems: list[str]) -> None:
    try:
        task = take(store, rater, project)
        for _ in range(1000):
            if task is None:
                return
            with store.write() as connection:
                _, task = submit.submit_next(
                    connection, rater, task.assignment_id, task.assignment_id, VERDICTS["comparison"], now_ms=START
                )
    except Exception as error:
        problems.append(f"{rater.name}: {error!r}")


def _watch(store: Store, overlap: int, stop: threading.Event, problems: list[str]) -> None:
    table = schema.assignments
    query = select(func.count()).where(table.c.state != "skipped").group_by(table.c.item_id)
    while not stop.is_set():
        with store.read() as connection:
            most = max(connection.execute(query).scalars(), default=0)
        if most > overlap:
            problems.append(f"{most} places of {overlap} are taken")
        time.sleep(0.002)


def test_a_person_who_asks_in_two_windows_at_once_gets_one_task(any_store: Store):
    project, found = make(any_store, 20), list[str]()
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(timeout=60)
        found.append(given(any_store, CY, project).assignment_id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_postgresql_looks_up_whether_one_had_an_item_rather_than_reads_all_that_one_had(postgres_store: Store) -> None:
    """As an anti-join it reads all tasks that the person ever had: 50 ms after 5,000 of them."""
    make(postgres_store, 3)
    statement = queue_sql.NEXT_OF_ALL.compile(postgres_store.engine, compile_kwargs={"render_postcompile": True})
    keys = dict.fromkeys(statement.params, "x") | statement.params | {"person": "x", "project": "x", "now": 0}
    with postgres_store.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", keys).scalars().all()
    joined = [line for line in plan if "Anti Join" in line]
    assert len(joined) <= 1  # with the authors of items, who are few
    assert any("assignments mine" in line for line in plan)
