"""A pair's life: who may do what in which state, nothing overwritten, and pages that an index answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from record import ADA, BO, CY, DEE
from sqlalchemy import Connection, insert, text, update

from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError, TutelageError
from tutelage.store import pair_views, pairs, schema
from tutelage.store.database import Store
from tutelage.store.ids import new_id
from tutelage.store.pair_rules import MAX_CHARACTERS, MAX_TURNS
from tutelage.store.pair_views import listing_query
from tutelage.store.people import Person
from tutelage.types import Message


def talk(question: str = "How tall is a giraffe?", answer: str | None = "About five metres.") -> list[Message]:
    turns = [Message("user", question)]
    return turns if answer is None else [*turns, Message("assistant", answer)]


def submitted(connection: Connection, person: Person = CY, question: str = "How tall is a giraffe?") -> str:
    pair_id = pairs.draft(connection, person, talk(question))
    pairs.submit(connection, person, pair_id)
    return pair_id


def test_from_draft_to_accepted_with_who_did_what(any_store: Store) -> None:
    with any_store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk(answer=None), licence="CC0", tags=["animals", "animals"])
        with pytest.raises(DataError, match="ends with the user") as told:
            pairs.submit(connection, CY, pair_id)
        assert told.value.field == "messages[0].content"
        assert pairs.edit(connection, CY, pair_id, talk(), base_revision=1, note="the answer") == 2
        pairs.submit(connection, CY, pair_id)
        pairs.send_back(connection, BO, pair_id, comment="which giraffe?")
        assert pairs.edit(connection, CY, pair_id, talk(answer="A grown bull: 5.5 m."), base_revision=2) == 3
        pairs.submit(connection, CY, pair_id)
        pairs.accept(connection, BO, pair_id, base_revision=3)
    with any_store.read() as connection:
        pair = pairs.get(connection, DEE, pair_id)
        told_all = pairs.history(connection, CY, pair_id)
    assert (pair.state, pair.revision, pair.author, pair.editor) == ("accepted", 3, "cy", "cy")
    assert (pair.licence, pair.tags, pair.messages[1].content) == ("CC0", ("animals",), "A grown bull: 5.5 m.")
    assert [(each.number, each.editor, each.note) for each in told_all.revisions] == [
        (1, "cy", ""), (2, "cy", "the answer"), (3, "cy", "")
    ]  # fmt: skip
    assert [(each.person, each.action, each.revision) for each in told_all.events] == [
        ("cy", "drafted", 1), ("cy", "edited", 2), ("cy", "submitted", 2), ("bo", "returned", 2), ("cy", "edited", 3),
        ("cy", "submitted", 3), ("bo", "accepted", 3),
    ]  # fmt: skip
    assert [each.comment for each in told_all.events if each.action == "returned"] == ["which giraffe?"]


def test_an_edit_on_an_old_revision_overwrites_nothing(any_store: Store) -> None:
    with any_store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk())
        pairs.edit(connection, CY, pair_id, talk(answer="Five."), base_revision=1)
        with pytest.raises(ConflictError, match="is at revision 2, and this was made from revision 1"):
            pairs.edit(connection, CY, pair_id, talk(answer="Six."), base_revision=1)
        assert pairs.edit(connection, CY, pair_id, talk(answer="Five."), base_revision=2) == 2  # nothing to write
        written = pairs.history(connection, CY, pair_id).revisions
    assert [each.messages[1].content for each in written] == ["About five metres.", "Five."]


def test_of_two_edits_at_once_one_wins(any_store: Store) -> None:
    with any_store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk())
    barrier, told = threading.Barrier(2), list[str]()

    def edit(answer: str) -> None:
        barrier.wait()
        try:
            told.append(f"revision {any_store.run(lambda connection: on_the_first(connection, answer))}")
        except ConflictError:
            told.append("conflict")

    def on_the_first(connection: Connection, answer: str) -> int:
        return pairs.edit(connection, CY, pair_id, talk(answer=answer), base_revision=1)

    threads = [threading.Thread(target=edit, args=(answer,)) for answer in ("Five.", "Six.")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["conflict", "revision 2"]
    with any_store.read() as connection:
        assert len(pairs.history(connection, CY, pair_id).revisions) == 2


def test_a_change_made_since_the_row_was_read_is_a_conflict(store: Store) -> None:
    with store.write() as connection:
        pair_id = submitted(connection)
        row = pairs.visible(connection, BO, pair_id)
        connection.execute(update(schema.pairs).values(state="accepted"))
        with pytest.raises(ConflictError, match="somebody else has changed pair"):
            pairs._change(connection, row, state="rejected")


def test_nobody_accepts_their_own_words(store: Store) -> None:
    with store.write() as connection:
        mine = submitted(connection, BO)
        with pytest.raises(NotAllowedError, match="bo wrote this or edited it last; ask ada to accept it"):
            pairs.accept(connection, BO, mine, allow_own=True)
        pairs.edit(connection, ADA, mine, talk(answer="5 m"), base_revision=1)
        with pytest.raises(NotAllowedError, match="nobody else can review it; accept it with --own"):
            pairs.accept(connection, ADA, mine)
        pairs.accept(connection, ADA, mine, allow_own=True)
        with pytest.raises(NotAllowedError, match="cy has the role rater; this needs the role reviewer"):
            pairs.accept(connection, CY, mine)


def test_the_lone_owner_of_a_workspace_can_accept(store: Store) -> None:
    with store.write() as connection:
        connection.execute(update(schema.people).where(schema.people.c.id == BO.id).values(active=False))
        mine = submitted(connection, ADA)
        with pytest.raises(NotAllowedError, match="--own"):
            pairs.accept(connection, ADA, mine)
        pairs.accept(connection, ADA, mine, allow_own=True)
        assert pairs.get(connection, ADA, mine).state == "accepted"


def test_what_an_edit_does_in_each_state(store: Store) -> None:
    with store.write() as connection:
        pair_id = submitted(connection)
        with pytest.raises(NotAllowedError, match="is submitted; a reviewer can edit it"):
            pairs.edit(connection, CY, pair_id, talk("Why?"), base_revision=1)
        pairs.edit(connection, BO, pair_id, talk("Who?"), base_revision=1)
        assert pairs.get(connection, CY, pair_id).state == "submitted"
        pairs.accept(connection, ADA, pair_id)
        pairs.edit(connection, BO, pair_id, talk("When?"), base_revision=2)
        assert pairs.get(connection, CY, pair_id).state == "submitted"
        with pytest.raises(DataError, match="ends with the user"):  # what is in review stays whole
            pairs.edit(connection, BO, pair_id, talk("When?", None), base_revision=3)
        pairs.reject(connection, ADA, pair_id, comment="no such animal")
        pairs.edit(connection, BO, pair_id, talk("Where?"), base_revision=3)
        assert pairs.get(connection, CY, pair_id).state == "submitted"


def test_states_are_not_skipped_and_comments_are_given(store: Store) -> None:
    with store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk())
        with pytest.raises(ConflictError, match="is draft; only a pair that is submitted can be accepted"):
            pairs.accept(connection, BO, pair_id)
        pairs.submit(connection, CY, pair_id)
        with pytest.raises(ConflictError, match="is submitted; only a pair that is draft or returned can be submitted"):
            pairs.submit(connection, CY, pair_id)
        for blank in ("", "  \n"):
            with pytest.raises(DataError, match="field 'comment'"):
                pairs.send_back(connection, BO, pair_id, comment=blank)
            with pytest.raises(DataError, match="field 'comment'"):
                pairs.reject(connection, BO, pair_id, comment=blank)
        with pytest.raises(ConflictError, match="made from revision 7"):
            pairs.accept(connection, BO, pair_id, base_revision=7)


def test_a_withdrawn_pair_is_gone_from_lists_and_stays_in_the_record(store: Store) -> None:
    with store.write() as connection:
        pair_id = submitted(connection)
        pairs.accept(connection, BO, pair_id)
        with pytest.raises(NotAllowedError):
            pairs.withdraw(connection, DEE, pair_id)
        pairs.withdraw(connection, CY, pair_id, comment="not mine to give")
        assert pairs.listing(connection, BO) == []
        with pytest.raises(NotFoundError):
            pairs.get(connection, DEE, pair_id)
        assert pairs.history(connection, CY, pair_id).events[-1].comment == "not mine to give"
        for change in (pairs.withdraw, pairs.submit, pairs.accept):
            with pytest.raises(ConflictError, match="was withdrawn"):
                change(connection, BO, pair_id)
        with pytest.raises(ConflictError, match="was withdrawn"):
            pairs.edit(connection, CY, pair_id, talk("Why?"), base_revision=1)


def test_another_raters_pair_does_not_exist(store: Store) -> None:
    def asked(connection: Connection, person: Person, pair_id: str) -> list[str]:
        told = []
        for ask in (
            lambda: pairs.get(connection, person, pair_id),
            lambda: pairs.history(connection, person, pair_id),
            lambda: pairs.diff(connection, person, pair_id, 1, 1),
            lambda: pairs.edit(connection, person, pair_id, talk("Why?"), base_revision=1),
            lambda: pairs.submit(connection, person, pair_id),
            lambda: pairs.accept(connection, person, pair_id),
            lambda: pairs.reject(connection, person, pair_id, comment="no"),
            lambda: pairs.withdraw(connection, person, pair_id),
            lambda: pairs.tag(connection, person, pair_id, "x"),
            lambda: pairs.untag(connection, person, pair_id, "x"),
            lambda: pairs.describe(connection, person, pair_id, source="x"),
        ):
            with pytest.raises(TutelageError) as error:
                ask()
            told.append(f"{type(error.value).__name__} {error.value}".replace(pair_id, "ID"))
        return told

    with store.write() as connection:
        others, none = asked(connection, DEE, submitted(connection)), asked(connection, DEE, new_id())
    assert others == none
    assert {line.split()[0] for line in others} == {"NotFoundError"}


def test_an_accepted_pair_of_another_may_be_read_and_not_touched(store: Store) -> None:
    with store.write() as connection:
        pair_id = submitted(connection)
        pairs.accept(connection, BO, pair_id)
        assert pairs.get(connection, DEE, pair_id).author == "cy"
        for change in (
            lambda: pairs.edit(connection, DEE, pair_id, talk("Why?"), base_revision=1),
            lambda: pairs.tag(connection, DEE, pair_id, "x"),
            lambda: pairs.describe(connection, DEE, pair_id, source="x"),
            lambda: pairs.withdraw(connection, DEE, pair_id),
        ):
            with pytest.raises(NotAllowedError):
                change()


def test_someone_who_left_may_do_nothing(store: Store) -> None:
    with store.write() as connection, pytest.raises(NotAllowedError):
        pairs.draft(connection, Person(CY.id, "cy", "rater", active=False), talk())


@pytest.mark.parametrize(
    ("messages", "field", "problem"),
    [
        ([], "messages", "the list of messages is empty"),
        ([Message("narrator", "x")], "messages[0].role", "unknown role 'narrator'"),  # type: ignore[arg-type]
        ([*talk(), Message("assistant", "x")], "messages[2].content", "both the assistant's"),
        ([Message("assistant", "x")], "messages[0].content", "starts with the user"),
        ([*talk(), Message("system", "x")], "messages[2].content", "only at the start"),
        (talk(answer="a\0b"), "messages[1].content", "NUL"),
        (talk(answer="a\ud800b"), "messages[1].content", "half a character"),
        (talk() * (MAX_TURNS // 2 + 1), "messages", "202 turns, and a pair has at most 200; split it"),
        (talk(answer="x" * MAX_CHARACTERS), "messages[1].content", "more than 200,000 characters"),
    ],
)
def test_what_cannot_be_kept_names_the_field(store: Store, messages: Any, field: str, problem: str) -> None:
    with store.write() as connection, pytest.raises(DataError, match=problem) as told:
        pairs.draft(connection, CY, messages)
    assert told.value.field == field


@pytest.mark.parametrize(("turn", "problem"), [(0, "the question is empty"), (1, "the assistant's answer is empty")])
def test_an_empty_turn_is_for_drafts(store: Store, turn: int, problem: str) -> None:
    messages = talk()
    messages[turn] = Message(messages[turn].role, " \n")
    with store.write() as connection:
        pair_id = pairs.draft(connection, CY, messages)
        with pytest.raises(DataError, match=problem) as told:
            pairs.submit(connection, CY, pair_id)
    assert told.value.field == f"messages[{turn}].content"


def test_tags_source_and_licence(any_store: Store) -> None:
    with any_store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk(), tags=["b"])
        pairs.tag(connection, CY, pair_id, " long   neck ", "b")
        pairs.untag(connection, BO, pair_id, "b")
        pairs.describe(connection, CY, pair_id, licence="CC BY 4.0")
        pair = pairs.get(connection, CY, pair_id)
        assert (pair.tags, pair.source, pair.licence) == (("long neck",), "written here", "CC BY 4.0")
        with pytest.raises(NotFoundError, match="has no tag 'b'"):
            pairs.untag(connection, CY, pair_id, "b")
        for bad in ("", " ", "x" * 101, "a\x1bb"):
            with pytest.raises(DataError, match="field 'tag'"):
                pairs.tag(connection, CY, pair_id, bad)
        with pytest.raises(DataError, match="52 tags, and a pair has at most 50"):
            pairs.tag(connection, CY, pair_id, *map(str, range(51)))
        with pytest.raises(DataError, match="field 'licence'"):
            pairs.describe(connection, CY, pair_id, licence="x" * 101)


def test_diff_by_words_within_turns(store: Store) -> None:
    with store.write() as connection:
        pair_id = pairs.draft(connection, CY, talk(answer="It is about five metres tall."))
        after = [Message("system", "Be short."), *talk(answer="It is five metres tall, at most.")]
        pairs.edit(connection, CY, pair_id, after, base_revision=1)
        changes = pairs.diff(connection, CY, pair_id, 1, 2)
        with pytest.raises(NotFoundError, match="has no revision 3"):
            pairs.diff(connection, CY, pair_id, 1, 3)
    assert [tuple(each) for each in changes] == [
        (0, "insert", "Be short.", "system"),
        (1, "equal", "How tall is a giraffe?", "user"),
        (2, "equal", "It is ", "assistant"),
        (2, "delete", "about ", "assistant"),
        (2, "equal", "five metres ", "assistant"),
        (2, "delete", "tall.", "assistant"),
        (2, "insert", "tall, at most.", "assistant"),
    ]


def test_a_listing_shows_what_one_may_read(any_store: Store) -> None:
    with any_store.write() as connection:
        mine, other, accepted = submitted(connection), submitted(connection, DEE), submitted(connection, DEE, "Why?")
        pairs.accept(connection, BO, accepted)
        pairs.tag(connection, BO, accepted, "short")
        pairs.tag(connection, BO, other, "short")

        def ids(person: Person, **wanted: Any) -> set[str]:
            return {each.id for each in pairs.listing(connection, person, **wanted)}

        assert ids(BO) == ids(ADA) == {mine, other, accepted}
        assert ids(CY) == {mine, accepted}
        assert ids(DEE) == {other, accepted}
        assert ids(CY, state="submitted") == {mine}
        assert ids(CY, state="accepted") == ids(CY, author="dee") == {accepted}
        assert ids(CY, author="dee", state="submitted") == set()
        assert ids(BO, author="dee", state="submitted") == {other}
        assert ids(CY, tag="short") == {accepted}
        assert ids(BO, tag="short") == {other, accepted}
        assert ids(BO, text="GIRAFFE") == {mine, other}
        assert ids(BO, text="100%") == ids(BO, text="h_w") == set()  # no wildcards
        assert pairs.count_by_state(connection, CY) == {
            "draft": 0, "submitted": 1, "returned": 0, "accepted": 1, "rejected": 0
        }  # fmt: skip


def test_pages_by_key_show_each_pair_once(store: Store) -> None:
    with store.write() as connection:
        ids = pairs.add_pairs(connection, CY, [pairs.NewPair(talk(f"Question {n}?")) for n in range(7)])
        ids += pairs.add_pairs(connection, BO, [pairs.NewPair(talk("Why?"))], state="accepted")
        for oldest_first, expected in ((True, sorted(ids)), (False, sorted(ids, reverse=True))):
            seen: list[str] = []
            while page := pairs.listing(
                connection, CY, limit=3, after=seen[-1] if seen else None, oldest_first=oldest_first
            ):
                seen += [each.id for each in page]
            assert seen == expected
        for limit in (0, 501):
            with pytest.raises(DataError, match="no length of a page"):
                pairs.listing(connection, CY, limit=limit)


def test_many_pairs_come_in_order_and_only_reviewers_bring_accepted_ones(store: Store) -> None:
    new = [pairs.NewPair(talk(f"Question {number}?"), source=f"file.jsonl:{number}") for number in range(1100)]
    with store.write() as connection:
        with pytest.raises(NotAllowedError):
            pairs.add_pairs(connection, CY, new, state="accepted")
        ids = pairs.add_pairs(connection, BO, new, state="accepted", import_id="i" * 32)
        assert ids == sorted(ids)
        assert pairs.get(connection, CY, ids[700]).source == "file.jsonl:700"
        with pytest.raises(DataError, match="ends with the user"):
            pairs.add_pairs(connection, BO, [pairs.NewPair(talk(answer=None))])


def test_every_page_is_answered_by_an_index(store: Store) -> None:
    """Of 20,000 pairs none is looked at that is not on the page: no scan of a table and no sorting of one."""
    rows = [
        {
            "id": f"{number:032x}", "state": "accepted" if number % 4 else "submitted", "revision": 1,
            "author_id": (CY, DEE)[number % 2].id, "created_ms": 0, "changed_ms": 0,
        }
        for number in range(20_000)
    ]  # fmt: skip
    with store.write() as connection:
        connection.execute(insert(schema.pairs), rows)
        connection.execute(insert(schema.pair_tags), [{"pair_id": row["id"], "tag": "t"} for row in rows[::7]])
        for person in (CY, BO):
            for wanted in (
                {},
                {"state": "submitted"},
                {"tag": "t"},
                {"author_id": DEE.id},
                {"text": "x"},
                {"tag": "t", "state": "accepted"},
            ):
                asked = dict.fromkeys(("state", "tag", "author_id", "text")) | wanted
                query = listing_query(person, **asked, after=rows[9000]["id"], limit=50, oldest_first=False)  # type: ignore[arg-type]
                plain = query.compile(connection, compile_kwargs={"literal_binds": True})
                plan = [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {plain}"))]
                looked_at = [line for line in plan if " pairs" in line or " pair_tags" in line]
                assert looked_at, plan
                assert all(line.startswith("SEARCH") for line in looked_at), plan
                assert "tag" not in wanted or any("ix_pair_tags_tag_pair_id" in line for line in looked_at), plan
                both_ways = person is CY and wanted.keys() <= {"tag", "text"}  # a union of two pages is put in order
                assert both_ways or not any("TEMP B-TREE" in line for line in plan), plan


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_search_through_very_many_pairs_goes_part_by_part(
    any_store: Store, oldest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_views, "MOST_SEARCHED", 10)
    with any_store.write() as connection:
        for number in range(60):
            person = (CY, DEE)[number % 2]
            new = pairs.NewPair(talk(f"zebra {number}" if number in (3, 4, 40, 41) else f"horse {number}"), tags=["t"])
            [pair_id] = pairs.add_pairs(connection, BO, [new], state=("accepted", "submitted")[number % 3 == 0])
            own = schema.pairs.c.id == pair_id
            connection.execute(schema.pairs.update().where(own).values(author_id=person.id))
    with any_store.read() as connection:
        for person in (BO, CY):
            for asked in ({}, {"state": "accepted"}, {"tag": "t"}, {"author": "cy"}):
                wanted = dict.fromkeys(("state", "tag", "author")) | asked
                everything = pairs.listing(connection, person, limit=100, oldest_first=oldest_first, **asked)
                hits = [each.id for each in everything if "zebra" in each.messages[0].content]
                found, after, num_pages = list[str](), None, 0
                while after is not None or not num_pages:
                    part, after = pairs.page(
                        connection, person, text="ZEBRA", after=after, limit=3, oldest_first=oldest_first, **wanted
                    )  # fmt: skip
                    found, num_pages = found + [each.id for each in part], num_pages + 1
                assert found == hits
                assert num_pages >= len(everything) // 20  # of a rater's two ways the nearer one
                listed = pairs.listing(connection, person, text="zebra", limit=3, oldest_first=oldest_first, **asked)
                assert [each.id for each in listed] == hits[:3]
