"""Accounts: invitations are used once, guessing is slowed, sessions and tokens end, and no secret is stored."""

from __future__ import annotations

from typing import Any

import pytest
from argon2 import PasswordHasher
from record import ADA, BO, CY, DEE
from sqlalchemy import select, update

from tutelage.errors import (
    ConflictError,
    DataError,
    NotAllowedError,
    NotFoundError,
    SignInError,
    TooManyError,
    TutelageError,
)
from tutelage.store import accounts, audit, idempotency, invitations, passwords, people, schema, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.store.secret import SECRET, hashed, secret

PASSWORD = "correct horse"
REAL_HASHER = passwords._hasher


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm at its smallest, so that tests are quick; one test looks at the real settings."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._nobodys.cache_clear()


def with_password(store: Store, person: Person, password: str = PASSWORD) -> None:
    with store.write() as connection:
        accounts.set_password(connection, ADA, person, password)


def everything(store: Store) -> str:
    """Every value of every row, as one text."""
    with store.read() as connection:
        rows = [list(connection.execute(select(table))) for table in schema.metadata.sorted_tables]
    return repr(rows)


# --- the secret -------------------------------------------------------------------------------------------------------


def test_the_secret_is_drawn_once_and_differs_between_workspaces(any_store: Store) -> None:
    with any_store.write() as connection:
        connection.execute(schema.settings.delete().where(schema.settings.c.name == SECRET))
        first = secret(connection)
        assert len(first) == 32
        assert secret(connection) == first
        connection.execute(schema.settings.delete().where(schema.settings.c.name == SECRET))
        assert secret(connection) != first


def test_a_token_is_stored_as_its_keyed_hash() -> None:
    assert hashed(b"key", "tut_abc") != hashed(b"other", "tut_abc")
    assert len(hashed(b"key", "tut_abc")) == 64


def test_no_password_and_no_token_is_stored(store: Store) -> None:
    with store.write() as connection:
        _, invitation = invitations.invite(connection, ADA, "rater")
        _, token = sessions.add_token(connection, CY, "script")
    with_password(store, CY)
    _, opened = accounts.sign_in(store, "cy", PASSWORD)
    kept = everything(store)
    for text in (invitation, token, PASSWORD, opened.token, opened.csrf):
        assert text not in kept


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [9, 1001])
def test_a_password_has_limits(length: int) -> None:
    with pytest.raises(DataError, match=f"{length} characters, and a password has 10 to 1000"):
        passwords.hash_password("x" * length)


def test_half_a_character_is_no_password() -> None:
    with pytest.raises(DataError, match="half a character"):
        passwords.hash_password("x" * 10 + "\ud800")


def test_passwords_are_hashed_with_argon2id_at_published_settings() -> None:
    assert REAL_HASHER.hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_hash_of_older_settings_is_renewed_at_sign_in(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with_password(store, CY)
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    accounts.sign_in(store, "cy", PASSWORD)
    with store.read() as connection:
        kept = connection.execute(select(schema.people.c.password_hash).where(schema.people.c.id == CY.id)).scalar_one()
    assert "t=2" in kept
    accounts.sign_in(store, "cy", PASSWORD)


def test_nobody_has_a_password_before_setting_one(store: Store) -> None:
    for name in ("ada", "bo", "cy"):
        with pytest.raises(SignInError):
            accounts.sign_in(store, name, "")
    with pytest.raises(SignInError):
        accounts.sign_in(store, "cy", "the password of nobody")


def test_an_unknown_name_costs_the_work_of_a_known_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []
    real = passwords.is_right
    monkeypatch.setattr(passwords, "is_right", lambda *given: checked.append(given[0]) or real(*given))
    with_password(store, CY)
    messages = []
    for name in ("cy", "nobody"):
        with pytest.raises(SignInError) as caught:
            accounts.sign_in(store, name, "a wrong password")
        messages.append(str(caught.value))
    assert len(checked) == 2
    assert messages[0] == messages[1]
    assert real(None, PASSWORD) is False


def test_guessing_is_slowed_after_five_failures_of_a_name(any_store: Store) -> None:
    with_password(any_store, CY)
    for _ in range(passwords.MAX_FAILURES):
        with pytest.raises(SignInError):
            accounts.sign_in(any_store, "cy", "a wrong password")
    with pytest.raises(TooManyError, match="5 failed attempts to sign in as 'cy' in 15 minutes, and the limit is 5"):
        accounts.sign_in(any_store, "cy", PASSWORD)
    with_password(any_store, DEE)
    accounts.sign_in(any_store, "dee", PASSWORD)  # others are not slowed
    with any_store.write() as connection:
        earlier = schema.sign_in_failures.c.at_ms - 16 * 60_000
        connection.execute(update(schema.sign_in_failures).values(at_ms=earlier))
    accounts.sign_in(any_store, "cy", PASSWORD)


def test_an_admin_can_let_somebody_in_again(store: Store) -> None:
    for _ in range(passwords.MAX_FAILURES):
        with pytest.raises(SignInError):
            accounts.sign_in(store, "cy", "a wrong password")
    with_password(store, CY)
    assert accounts.sign_in(store, "cy", PASSWORD)[0] == CY


def test_only_a_few_passwords_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "HASH_WAIT_SECONDS", 0.01)
    for _ in range(passwords.HASHES_AT_ONCE):
        passwords._hashing.acquire()
    try:
        with pytest.raises(TooManyError, match="try again in a minute"):
            passwords.is_right(None, PASSWORD)
    finally:
        passwords._hashing.release(passwords.HASHES_AT_ONCE)


# --- invitations ------------------------------------------------------------------------------------------------------


def test_an_invitation_makes_one_person_once(any_store: Store) -> None:
    with any_store.write() as connection:
        made, token = invitations.invite(connection, ADA, "reviewer", note="from the clinic")
        assert made.is_open
    person, opened = accounts.accept(any_store, token, " Eve ", PASSWORD)
    assert (person.name, person.role) == ("Eve", "reviewer")
    with any_store.read() as connection:
        caller = sessions.find_session(connection, secret(connection), opened.token)
        assert caller is not None
        assert caller.person == person
    with pytest.raises(NotFoundError, match="was used"):
        accounts.accept(any_store, token, "Mallory", PASSWORD)
    assert accounts.sign_in(any_store, "Eve", PASSWORD)[0] == person


def test_an_invitation_runs_out_and_can_be_revoked(store: Store) -> None:
    with store.write() as connection:
        _, old = invitations.invite(connection, ADA, "rater")
        connection.execute(update(schema.invitations).values(expires_ms=1))
        made, revoked = invitations.invite(connection, ADA, "rater")
        invitations.revoke(connection, ADA, made.id)
    for token in (old, revoked, "inv_guess", ""):
        with pytest.raises(NotFoundError, match="ask for a new one"):
            accounts.accept(store, token, "eve", PASSWORD)


def test_only_admins_invite(store: Store) -> None:
    with store.write() as connection:
        for person in (BO, CY):
            with pytest.raises(NotAllowedError):
                invitations.invite(connection, person, "rater")
            with pytest.raises(NotAllowedError):
                invitations.invite_to_set_password(connection, person, ADA)


def test_a_taken_or_odd_name_leaves_the_invitation_open(store: Store) -> None:
    with store.write() as connection:
        _, token = invitations.invite(connection, ADA, "rater")
    for name, error in (("cy", ConflictError), ("", DataError), ("a\nb", DataError), ("x" * 201, DataError)):
        with pytest.raises(error):
            accounts.accept(store, token, name, PASSWORD)
    assert accounts.accept(store, token, "eve", PASSWORD)[0].name == "eve"


def test_the_owner_sets_a_first_password_by_invitation(store: Store) -> None:
    with store.write() as connection:
        assert not accounts.has_password(connection, ADA)
        _, first = invitations.invite_to_set_password(connection, ADA, ADA)
        _, second = invitations.invite_to_set_password(connection, ADA, ADA)
    with pytest.raises(NotFoundError):
        accounts.accept(store, first, "", PASSWORD)  # a newer one took its place
    with pytest.raises(DataError, match="this invitation is for 'ada'"):
        accounts.accept(store, second, "eve", PASSWORD)
    assert accounts.accept(store, second, "", PASSWORD)[0] == ADA
    assert accounts.sign_in(store, "ada", PASSWORD)[0] == ADA


# --- sessions and tokens ----------------------------------------------------------------------------------------------


def test_every_sign_in_makes_a_new_session(store: Store) -> None:
    with_password(store, CY)
    first, second = accounts.sign_in(store, "cy", PASSWORD)[1], accounts.sign_in(store, "cy", PASSWORD)[1]
    assert len({first.token, second.token, first.csrf, second.csrf, first.session_id, second.session_id}) == 6


def test_a_session_ends_when_it_runs_out_is_ended_or_its_person_is_out_of_use(any_store: Store) -> None:
    with_password(any_store, CY)
    tokens = [accounts.sign_in(any_store, "cy", PASSWORD)[1] for _ in range(3)]

    def found() -> list[bool]:
        with any_store.read() as connection:
            key = secret(connection)
            return [sessions.find_session(connection, key, each.token) is not None for each in tokens]

    assert found() == [True, True, True]
    with any_store.write() as connection:
        sessions.end_session(connection, tokens[0].session_id)
        mine = schema.sessions.c.id == tokens[1].session_id
        connection.execute(update(schema.sessions).where(mine).values(expires_ms=1))
    assert found() == [False, False, True]
    with any_store.write() as connection:
        accounts.deactivate(connection, ADA, CY)
    assert found() == [False, False, False]
    with pytest.raises(SignInError):
        accounts.sign_in(any_store, "cy", PASSWORD)


def test_the_csrf_token_belongs_to_one_session(store: Store) -> None:
    with_password(store, CY)
    first, second = accounts.sign_in(store, "cy", PASSWORD)[1], accounts.sign_in(store, "cy", PASSWORD)[1]
    with store.read() as connection:
        key = secret(connection)
        caller = sessions.find_session(connection, key, first.token)
    assert caller is not None
    assert sessions.csrf_fits(key, caller, first.csrf)
    assert not sessions.csrf_fits(key, caller, second.csrf)
    assert not sessions.csrf_fits(key, caller, "")


def test_changing_the_password_ends_the_other_sessions(store: Store) -> None:
    with_password(store, CY)
    here, there = accounts.sign_in(store, "cy", PASSWORD)[1], accounts.sign_in(store, "cy", PASSWORD)[1]
    with pytest.raises(DataError, match="old password is wrong"):
        accounts.change_password(store, CY, "not it at all", "another password")
    accounts.change_password(store, CY, PASSWORD, "another password", session_id=here.session_id)
    with store.read() as connection:
        key = secret(connection)
        assert sessions.find_session(connection, key, here.token) is not None
        assert sessions.find_session(connection, key, there.token) is None
    accounts.sign_in(store, "cy", "another password")


def test_an_api_token_is_shown_once_runs_out_and_can_be_revoked(any_store: Store) -> None:
    with any_store.write() as connection:
        made, text = sessions.add_token(connection, CY, "laptop")
        short, soon = sessions.add_token(connection, CY, "today", days=1)
        connection.execute(update(schema.api_tokens).where(schema.api_tokens.c.id == short.id).values(expires_ms=1))
        key = secret(connection)
        caller = sessions.find_token(connection, key, text)
        assert text.startswith("tut_")
        assert caller is not None
        assert (caller.person, caller.token_stale) == (CY, True)
        assert sessions.find_token(connection, key, soon) is None
        sessions.note_use(connection, made.id)
        caller = sessions.find_token(connection, key, text)
        assert caller is not None
        assert not caller.token_stale
        with pytest.raises(NotFoundError):
            sessions.revoke_token(connection, DEE, made.id)
        sessions.revoke_token(connection, CY, made.id)
        assert sessions.find_token(connection, key, text) is None
        assert [each.name for each in sessions.tokens_of(connection, CY)] == ["laptop", "today"]


def test_a_session_is_no_api_token_and_the_other_way_round(store: Store) -> None:
    with_password(store, CY)
    opened = accounts.sign_in(store, "cy", PASSWORD)[1]
    with store.write() as connection:
        _, text = sessions.add_token(connection, CY, "laptop")
        key = secret(connection)
        assert sessions.find_token(connection, key, opened.token) is None
        assert sessions.find_session(connection, key, text) is None


# --- roles ------------------------------------------------------------------------------------------------------------


def test_the_last_admin_stays_one(any_store: Store) -> None:
    with any_store.write() as connection:
        with pytest.raises(ConflictError, match="ada is the last admin"):
            accounts.change_role(connection, ADA, ADA, "rater")
        other = accounts.change_role(connection, ADA, BO, "admin")
        accounts.change_role(connection, other, ADA, "rater")
        assert people.person_by_id(connection, ADA.id).role == "rater"
        with pytest.raises(ConflictError, match="bo is the last admin"):
            accounts.change_role(connection, other, other, "reviewer")
        with pytest.raises(NotAllowedError, match="their own account"):
            accounts.deactivate(connection, other, other)


def test_only_admins_change_accounts(store: Store) -> None:
    acts = (
        lambda connection, by: accounts.change_role(connection, by, CY, "admin"),
        lambda connection, by: accounts.deactivate(connection, by, DEE),
        lambda connection, by: accounts.set_password(connection, by, ADA, PASSWORD),
    )
    with store.write() as connection:
        for act in acts:
            for person in (BO, CY):
                with pytest.raises(NotAllowedError):
                    act(connection, person)


def test_a_rater_sees_only_themselves(store: Store) -> None:
    with store.read() as connection:
        assert accounts.page(connection, CY) == [CY]
        assert accounts.page(connection, BO) == [ADA, BO, CY, DEE]
        assert accounts.page(connection, BO, after=BO.id, limit=1) == [CY]


# --- the log, and requests said twice ---------------------------------------------------------------------------------


def test_the_log_says_who_did_what_and_only_to_admins(store: Store) -> None:
    with store.write() as connection:
        made, _ = invitations.invite(connection, ADA, "rater")
        accounts.change_role(connection, ADA, CY, "reviewer")
        newest, older = audit.listing(connection, ADA)
        assert (older.action, older.subject, older.person_id) == ("people.invited", made.id, ADA.id)
        assert (newest.action, newest.detail) == ("people.role", {"role": "reviewer"})
        assert audit.listing(connection, ADA, after=newest.id) == [older]
        assert audit.listing(connection, ADA, action="people.role") == [newest]
        with pytest.raises(NotAllowedError):
            audit.listing(connection, BO)


def test_a_request_said_twice_is_done_once(any_store: Store) -> None:
    done: list[int] = []

    def work() -> dict[str, int]:
        done.append(1)
        return {"number": len(done)}

    for _ in range(2):
        with any_store.write() as connection:
            assert idempotency.once(connection, CY, "k", {"a": 1}, work) == {"number": 1}
    with any_store.write() as connection, pytest.raises(ConflictError, match="the key 'k' was used"):
        idempotency.once(connection, CY, "k", {"a": 2}, work)
    with any_store.write() as connection:
        assert idempotency.once(connection, DEE, "k", {"a": 2}, work) == {"number": 2}
        assert idempotency.once(connection, CY, None, {"a": 1}, work) == {"number": 3}


def test_a_request_that_failed_may_be_said_again(any_store: Store) -> None:
    def fail() -> None:
        raise TutelageError("no")

    with pytest.raises(TutelageError), any_store.write() as connection:
        idempotency.once(connection, CY, "k", {}, fail)
    with any_store.write() as connection:
        assert idempotency.once(connection, CY, "k", {}, lambda: "now") == "now"
        connection.execute(update(schema.idempotency).values(created_ms=1))
        idempotency.forget_old(connection)
        assert idempotency.once(connection, CY, "k", {}, lambda: "later") == "later"
