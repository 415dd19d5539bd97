"""`tutelage pairs …` as a user types it: writing, reviewing, an editor that loses nothing, hostile text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record import BO, CY, DEE

from tutelage.cli import main
from tutelage.errors import ConflictError, DataError, NotFoundError
from tutelage.store import pairs
from tutelage.store.database import Store
from tutelage.types import Message
from tutelage.workspace.pair_form import form_of, read_form, revision_of

Command = Callable[..., str]
TURNS = [Message("user", "How tall is a giraffe?"), Message("assistant", "Five metres.")]


@pytest.fixture
def cli(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a verb of the group; gives what it printed, or with `fails` the one line of its mistake."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str, fails: bool = False) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["pairs", *words, "--workspace", str(store.workspace)])
        shown = capsys.readouterr()
        assert stop.value.code == (2 if fails else 0), shown.err
        return shown.err.strip() if fails else shown.out

    return run


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the editor a program that does this Python to `text`."""
    script = tmp_path / "editor.py"

    def set_to(work: str) -> None:
        script.write_text(
            "import sys, pathlib\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text(encoding='utf-8')\n"
            f"{work}\npath.write_text(text, encoding='utf-8')\n",
            encoding="utf-8",
        )

    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    return set_to


def pair_of(store: Store, person: Any = CY, **more: Any) -> str:
    with store.write() as connection:
        pair_id = pairs.draft(connection, person, TURNS, **more)
        pairs.submit(connection, person, pair_id)
        return pair_id


def edits(store: Store) -> list[Path]:
    folder = store.workspace / "edits"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_from_the_keyboard_to_accepted(cli: Command) -> None:
    said = cli("add", "--question", "How tall?", "--answer", "Five metres.", "--tag", "a", "--submit", "--by", "cy")
    pair_id = said.split()[1]
    assert said == f"submitted {pair_id}\n"
    listed = cli("list", "--state", "submitted")
    assert pair_id in listed
    assert "of all pairs: 1 submitted" in listed
    assert cli("send-back", pair_id, "--comment", "which animal?", "--by", "bo") == f"sent back {pair_id}\n"
    assert cli("tag", pair_id[:30], "b", "--remove", "a", "--by", "cy") == "tags: b\n"
    assert cli("describe", pair_id, "--licence", "CC0", "--by", "cy") == f"described {pair_id}\n"
    cli("submit", pair_id, "--by", "cy")
    assert cli("accept", pair_id, "--by", "bo") == f"accepted {pair_id}\n"
    shown = json.loads(cli("show", pair_id, "--json", "--by", "dee"))
    assert (shown["state"], shown["tags"], shown["licence"], shown["author"]) == ("accepted", ["b"], "CC0", "cy")
    history = cli("history", pair_id)
    assert [line.split()[3] for line in history.splitlines()[1:]] == [
        "drafted", "submitted", "returned", "submitted", "accepted"
    ]  # fmt: skip
    assert "which animal?" in history


def test_near_pairs_are_told_and_others_only_counted(cli: Command, store: Store) -> None:
    first = pair_of(store)
    asked = ("--question", "How tall is a giraffe?", "--answer", "6 m")
    assert f"100% like {first}: How tall is a giraffe?" in cli("add", *asked, "--by", "bo")
    assert "and like 2 pairs that you may not read" in cli("add", *asked, "--by", "dee")


def test_all_or_none_of_several(cli: Command, store: Store) -> None:
    mine, other = pair_of(store, BO), pair_of(store)
    assert "bo wrote this or edited it last; ask ada" in cli("accept", other, mine, "--by", "bo", fails=True)
    with store.read() as connection:
        assert pairs.get(connection, BO, other).state == "submitted"
    assert cli("accept", fails=True)
    assert cli("accept", other, mine) == f"accepted {other}\naccepted {mine}\n"


def test_a_decision_is_taken_back(cli: Command, store: Store) -> None:
    pair_id = pair_of(store)
    cli("reject", pair_id, "--comment", "no", "--by", "bo")
    assert "somebody else made that decision" in cli("reopen", pair_id, fails=True)
    assert cli("reopen", pair_id, "--by", "bo") == f"reopened {pair_id}\n"
    assert "of all pairs: 1 submitted" in cli("list")


def test_what_others_wrote_is_not_there(cli: Command, store: Store) -> None:
    pair_id = pair_of(store)
    for verb in (("show",), ("history",), ("diff",), ("submit",), ("tag",), ("reject", "--comment", "x")):
        said = cli(verb[0], pair_id[:31], *verb[1:], "--by", "dee", fails=True)
        assert f"no pair {pair_id[:31]}" in said
    assert pair_id not in cli("list", "--by", "dee")
    assert "there are no pairs yet" in cli("list", "--by", "dee")


def test_pages_of_a_list(cli: Command, store: Store) -> None:
    ids = sorted((pair_of(store) for _ in range(3)), reverse=True)
    first = cli("list", "--limit", "2")
    assert f"the next page: --after {ids[1]}" in first
    lines = cli("list", "--limit", "2", "--after", ids[1], "--json").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids[2:]
    assert cli("list", "--after", ids[1][:31], "--json").splitlines() == lines
    assert "no pair foo" in cli("list", "--after", "foo", fails=True)


def test_hostile_text_reaches_no_terminal(cli: Command, store: Store) -> None:
    with store.write() as connection:
        turns = [Message("user", "[red]\x1b[2Jhi\u202e"), Message("assistant", "x")]
        pair_id = pairs.draft(connection, BO, turns, source="[b]\x1b]0;title\x07")
        pairs.edit(connection, BO, pair_id, [*turns[:1], Message("assistant", "\x1b[1m[y]")], base_revision=1)
    for verb in ("show", "diff"):
        said = cli(verb, pair_id)
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "[red]⟨U+001B⟩[2Jhi⟨U+202E⟩" in said
    assert "\x1b" not in cli("list") + cli("history", pair_id)


# The editor


def test_an_edit_in_the_editor(cli: Command, store: Store, editor: Callable[[str], None]) -> None:
    pair_id = pair_of(store)
    editor("text = text.replace('Five', 'About five')")
    assert cli("edit", pair_id, "--note", "honest", "--by", "bo") == f"{pair_id} is at revision 2\n"
    assert edits(store) == []
    assert "[-Five -]{+About five +}metres." in cli("diff", pair_id)
    editor("pass")
    assert cli("edit", pair_id, "--by", "bo") == f"{pair_id} is at revision 2, as it was\n"


def test_nothing_is_lost_when_somebody_was_quicker(cli: Command, store: Store, editor: Callable[[str], None]) -> None:
    pair_id = pair_of(store)
    database = store.workspace
    editor(
        "text = text.replace('Five', 'Six')\n"
        "from tutelage.store.database import open_store\nfrom tutelage.store import pairs, people\n"
        "from tutelage.types import Message\n"
        f"with open_store(pathlib.Path({str(database)!r})) as store, store.write() as connection:\n"
        "    turns = [Message('user', 'How tall?'), Message('assistant', 'Seven.')]\n"
        f"    pairs.edit(connection, people.person_named(connection, 'ada'), {pair_id!r}, turns, base_revision=1)"
    )
    said = cli("edit", pair_id, "--by", "bo", fails=True)
    (kept,) = edits(store)
    assert "is at revision 2, and this was made from revision 1" in said
    assert said.endswith(f"What you wrote is kept; save it by: tutelage pairs edit {pair_id} --file {kept}")
    assert "Six metres." in kept.read_text(encoding="utf-8")
    assert kept.stat().st_mode & 0o077 == 0
    # Read what the other wrote, say so in the first line, and save.
    kept.write_text(kept.read_text(encoding="utf-8").replace("revision 1", "revision 2"), encoding="utf-8")
    assert cli("edit", pair_id, "--file", str(kept), "--by", "bo") == f"{pair_id} is at revision 3\n"
    assert edits(store) == []


def test_an_attempt_that_broke_a_rule_goes_on_where_it_was(
    cli: Command, store: Store, editor: Callable[[str], None]
) -> None:
    pair_id = pair_of(store)
    editor("text = text.replace('Five metres.', '').replace('giraffe', 'zebra')")
    assert "the assistant's answer is empty" in cli("edit", pair_id, "--by", "bo", fails=True)
    editor("assert 'zebra' in text\ntext += 'Two metres.'")
    assert cli("edit", pair_id, "--by", "bo") == f"{pair_id} is at revision 2\n"
    assert edits(store) == []


def test_an_editor_that_fails(cli: Command, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pair_id = pair_of(store)
    monkeypatch.setenv("EDITOR", "no-such-editor-here")
    assert "does not start" in cli("edit", pair_id, "--by", "bo", fails=True)
    monkeypatch.setenv("EDITOR", "false")
    assert "ended with 1; nothing was saved" in cli("edit", pair_id, "--by", "bo", fails=True)
    (kept,) = edits(store)
    assert "Five metres." in kept.read_text(encoding="utf-8")


def test_a_new_pair_in_the_editor(cli: Command, store: Store, editor: Callable[[str], None], tmp_path: Path) -> None:
    editor("text = text.replace('=== user ===\\n', '=== user ===\\nWhy?\\n')")
    pair_id = cli("add", "--by", "cy").split()[1]
    with store.read() as connection:
        assert pairs.get(connection, CY, pair_id).messages == (Message("user", "Why?"),)
    assert edits(store) == []
    editor("pass")
    assert "nothing was written" in cli("add", fails=True)
    assert "nothing was written" in cli("add", "--question", " ", "--answer", "", fails=True)
    assert edits(store) == []
    own = tmp_path / "mine.txt"
    own.write_text("=== user ===\nWho?\n=== assistant ===\nNobody.\n", encoding="utf-8")
    cli("add", "--file", str(own))
    assert own.is_file()  # the person's own file stays
    own.write_text("Who?", encoding="utf-8")
    said = cli("add", "--file", str(own), fails=True)
    assert "no heading such as === user === stands alone on its line; write one above each turn" in said
    assert said.endswith(f"save it by: tutelage pairs add --file {own}")


@pytest.mark.parametrize(
    "content",
    [
        "plain",
        "=== user ===",
        "a\n=== assistant ===\nb",
        "\\=== user ===",
        "# title\n\n- a\n  - b",
        "  indented\n\n\nend",
    ],
)
def test_the_form_gives_back_what_was_put_in(content: str) -> None:
    turns = [Message("system", "Be kind."), Message("user", content), Message("assistant", "Yes.")]
    text = form_of(turns, "abc", 3)
    assert read_form(text) == turns
    assert revision_of(text) == ("abc", 3)


def test_a_heading_that_is_no_role() -> None:
    with pytest.raises(DataError, match="line 2: 'narrator' is no role; there are system, user, assistant"):
        read_form("x\n=== narrator ===\nHello")
    assert revision_of(form_of(TURNS)) is None


def test_ids_may_be_cut_short(store: Store) -> None:
    first = pair_of(store, DEE)
    with store.read() as connection:
        assert pairs.find_id(connection, BO, first[:20]) == first
        with pytest.raises(NotFoundError):
            pairs.find_id(connection, CY, first[:20])
    pair_of(store, DEE)
    with store.read() as connection, pytest.raises(ConflictError, match="several pairs have ids that begin with 0"):
        pairs.find_id(connection, BO, "0")
