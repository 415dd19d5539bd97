"""`tutelage people …` as a user types it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from record import ADA, BO, CY

from tutelage.cli import main
from tutelage.store import accounts, invitations, people, sessions
from tutelage.store.database import Store
from tutelage.store.secret import secret
from tutelage.workspace import server

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(store: Store, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a verb; gives its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["people", *words, "--workspace", str(store.workspace)])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


def test_people_and_open_invitations_are_listed(say: Say) -> None:
    say("invite", "reviewer", "--note", "[red]from the clinic")
    code, out, _ = say("list")
    assert code == 0
    assert "ada" in out
    assert "no password yet" in out
    assert "[red]from the clinic" in out
    told = json.loads(say("list", "--json")[1])
    assert [each["name"] for each in told["people"]] == ["ada", "bo", "cy", "dee"]
    assert "hash" not in json.dumps(told)
    assert [each["role"] for each in told["invitations"]] == ["reviewer"]
    assert json.loads(say("list", "--json", "--by", "cy")[1])["people"][0]["name"] == "cy"


def test_an_invitation_that_was_printed_can_be_accepted_or_taken_back(say: Say, store: Store) -> None:
    token = say("invite")[1].splitlines()[0]
    assert accounts.accept(store, token, "eve", "a long password")[0].role == "rater"
    say("invite", "--note", "wrong")
    with store.read() as connection:
        made = [each for each in invitations.listing(connection, ADA) if each.is_open]
    assert say("invite", "--revoke", made[0].id)[0] == 0
    assert say("invite", "--revoke", made[0].id)[0] == 2
    code, _, error = say("invite", "admin", "--by", "cy")
    assert code == 2
    assert "cy has the role rater; this needs the role admin" in error


def test_roles_and_accounts_change(say: Say, store: Store) -> None:
    assert say("role", "cy", "reviewer")[1] == "cy is reviewer now\n"
    assert "last admin" in say("role", "ada", "rater")[2]
    assert say("deactivate", "cy")[1] == "the account of cy is out of use\n"
    with store.read() as connection:
        assert not people.person_by_id(connection, CY.id).active
    assert say("deactivate", "cy", "--undo")[1] == "the account of cy is in use again\n"
    assert "nobody here is called 'zoe'" in say("role", "zoe", "rater")[2]


def test_a_password_is_set_from_a_pipe(say: Say, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))
    assert say("password", "bo")[1] == "bo signs in with it now\n"
    assert accounts.sign_in(store, "bo", "a long password")[0] == BO
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert "5 characters, and a password has 10 to 1000" in say("password")[2]


def test_a_password_is_asked_for_twice_at_a_terminal(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    typed = iter(["a long password", "a lone password"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert "the two were not the same; nothing was changed" in say("password")[2]


def test_a_token_is_shown_once_listed_and_revoked(say: Say, store: Store) -> None:
    text = say("token", "laptop", "--days", "3", "--by", "cy")[1].splitlines()[0]
    with store.read() as connection:
        caller = sessions.find_token(connection, secret(connection), text)
    assert caller is not None
    assert caller.person == CY
    listed = say("token", "--by", "cy")[1]
    assert "laptop" in listed
    assert text not in listed
    token_id = json.loads(say("token", "--by", "cy", "--json")[1])[0]["id"]
    assert say("token", "--by", "dee", "--revoke", token_id)[0] == 2
    assert say("token", "--by", "cy", "--revoke", token_id)[0] == 0
    with store.read() as connection:
        assert sessions.find_token(connection, secret(connection), text) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "give --allow-remote too"),
        (["--port", "70000"], "outside 0 to 65535"),
        (["--workers", "0"], "outside 1 to 64"),
        (["--host", "not.a.host.invalid", "--allow-remote"], "cannot listen at not.a.host.invalid"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    store: Store, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["server", *options, "--workspace", str(store.workspace)])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(store: Store) -> None:
    import socket

    from tutelage.errors import ConfigError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="choose another"):
            server._free_port("127.0.0.1", taken.getsockname()[1])
    assert server._free_port("127.0.0.1", 0) > 0


def test_an_owner_without_a_password_gets_an_invitation_for_a_day(store: Store) -> None:
    welcome = server._first_invitation(store)
    assert welcome is not None
    assert accounts.accept(store, welcome[1], "", "a long password")[0] == ADA
    assert server._first_invitation(store) is None
