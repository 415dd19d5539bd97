"""The verbs `pairs …`: write, read and edit question/answer pairs at the terminal.

Leaves out: the rules (`tutelage.store.pairs`), reviewing (`tutelage.workspace.pair_review`), and the text to edit
(`tutelage.workspace.pair_form`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cyclopts import App

from tutelage.errors import ConfigError, TutelageError
from tutelage.workspace import acting, pair_review

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from tutelage.store.people import Person
    from tutelage.store.similar import Seen
    from tutelage.types import Message

WORKSPACE = Path("workspace")
NOTHING = "nothing was written, so there is no new pair"
State = Literal["draft", "submitted", "returned", "accepted", "rejected"]
EDITS = "edits"
"""Folder of the workspace for texts that are being edited."""
T = TypeVar("T")


def register(app: App) -> None:
    """Add the group to `app`."""
    group = App(name="pairs", help="Question/answer pairs: write, read, edit, review, tag.")
    group.command(list_pairs, name="list")
    for verb in (show, add, edit, history, diff):
        group.command(verb)
    review = pair_review
    for change in (review.submit, review.accept, review.reject, review.reopen, review.withdraw):
        group.command(change)
    group.command(review.tag)
    group.command(review.describe)
    group.command(review.send_back, name="send-back")
    app.command(group)


def list_pairs(
    *,
    state: State | None = None,
    tag: str | None = None,
    author: str | None = None,
    text: str | None = None,
    after: str | None = None,
    limit: int = 50,
    json: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """List pairs, the newest first: `tutelage pairs list --state submitted`.

    Parameters
    ----------
    state
        Only pairs in this state.
    tag
        Only pairs with this tag.
    author
        Only this person's pairs.
    text
        Only pairs that begin with something that holds these words, whatever the case.
    after
        Go on behind the pair with this id, the last of the page before, or the beginning of its id.
    limit
        Pairs to show, at most 500.
    json
        Print JSON lines.
    by
        Who reads; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    def read(connection: Connection, person: Person) -> Any:
        begin = pairs.get(connection, person, pairs.find_id(connection, person, after)).id if after else None
        found = pairs.listing(
            connection, person, state=state, tag=tag, author=author, text=text, after=begin, limit=limit
        )
        return found, pairs.count_by_state(connection, person)

    found, counts = acting.read(workspace, by, read)
    if json:
        return acting.print_json(found)
    from tutelage.workspace.pair_tables import pair_table

    acting.show(pair_table(found))
    there = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    print(f"of all pairs: {there}" if there else "there are no pairs yet; `tutelage pairs add` writes one")
    if len(found) == limit:
        print(f"the next page: --after {found[-1].id}")
    return 0


def show(pair: str, /, *, json: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Show a pair.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    json
        Print JSON.
    by
        Who reads; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    found = acting.read(workspace, by, lambda c, person: pairs.get(c, person, pairs.find_id(c, person, pair)))
    if json:
        return acting.print_json([found])
    from tutelage.workspace.pair_tables import pair_page

    acting.show(pair_page(found))
    return 0


def add(
    *,
    question: str | None = None,
    answer: str | None = None,
    system: str | None = None,
    file: Path | None = None,
    tag: tuple[str, ...] = (),
    source: str = "written here",
    licence: str = "",
    submit: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Write a pair: in your editor, or by --question and --answer.

    What is there already and asks nearly the same is listed.

    Parameters
    ----------
    question
        What is asked; without it your editor opens.
    answer
        The answer; a draft may lack it.
    system
        A system message before the question.
    file
        Read the text that your editor saved earlier, instead of opening the editor.
    tag
        A tag; may be given several times.
    source
        Where the pair comes from.
    licence
        The licence under which it may be used.
    submit
        Hand it in for review at once.
    by
        Who writes; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs, similar

    def write(connection: Connection, person: Person, turns: Sequence[Message]) -> tuple[str, Seen]:
        if not any(turn.content.strip() for turn in turns):
            raise ConfigError(NOTHING)
        pair_id = pairs.draft(connection, person, turns, source=source, licence=licence, tags=tag)
        if submit:
            pairs.submit(connection, person, pair_id)
        return pair_id, similar.near_for(connection, person, turns, except_pair=pair_id)

    if question is None:
        if answer is not None or system is not None:
            raise ConfigError("--answer and --system need --question; leave all out to write in your editor")
        pair_id, seen = _from_editor(workspace, by, file, write)
    else:
        turns = _turns(system, question, answer)
        pair_id, seen = acting.write(workspace, by, lambda connection, person: write(connection, person, turns))
    print(f"{'submitted' if submit else 'draft'} {pair_id}")
    return _say_near(seen)


def _turns(system: str | None, question: str, answer: str | None) -> list[Message]:
    from tutelage.types import Message

    turns = [Message("system", system)] if system is not None else []
    turns.append(Message("user", question))
    return turns if answer is None else [*turns, Message("assistant", answer)]


def _say_near(seen: Seen) -> int:
    from tutelage.workspace.pair_tables import near_lines

    if lines := near_lines(seen.pairs, seen.num_hidden):
        acting.show(lines)
    return 0


def _from_editor(
    workspace: Path,
    by: str | None,
    file: Path | None,
    write: Callable[[Connection, Person, Sequence[Message]], T],
) -> T:
    """Let the person write, and save it; the text stays in its file until that has worked."""
    from secrets import token_hex

    from tutelage.workspace import pair_form

    acting.read(workspace, by, lambda connection, person: None)  # who writes is known before anything is typed
    path = file or pair_form.file_for(workspace / EDITS, f"new-{token_hex(4)}", pair_form.form_of(pair_form.EMPTY))
    before = pair_form.read_file(path)
    if file is None:
        pair_form.open_editor(path)
        if pair_form.read_file(path) == before:
            path.unlink()
            raise ConfigError(NOTHING)
    with _kept(path, "add"):
        turns = _without_empty_answer(pair_form.read_form(pair_form.read_file(path)))
        return acting.write(workspace, by, lambda connection, person: write(connection, person, turns))


def _without_empty_answer(turns: list[Message]) -> list[Message]:
    """An answer that was left blank in the form is not there yet."""
    return turns[:-1] if len(turns) > 1 and turns[-1].role == "assistant" and not turns[-1].content else turns


@contextmanager
def _kept(path: Path, verb: str) -> Iterator[None]:
    """Say where the text is when it cannot be saved; remove the file, unless it is the person's own, when it could."""
    try:
        yield
    except TutelageError as error:
        again = f"tutelage pairs {verb} --file {path}"
        raise ConfigError(f"not saved: {error}. What you wrote is kept; save it by: {again}") from error
    if path.parent.name == EDITS:
        path.unlink()


def edit(
    pair: str,
    /,
    *,
    note: str = "",
    file: Path | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Edit a pair in your editor ($VISUAL or $EDITOR): a heading for each turn, its words below.

    What cannot be saved, because somebody was quicker or a rule is broken, stays in its file and is not lost.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    note
        What the change is for.
    file
        Save this text, which your editor left earlier, instead of opening the editor.
    by
        Who edits; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs
    from tutelage.workspace import pair_form

    now = acting.read(workspace, by, lambda c, person: pairs.get(c, person, pairs.find_id(c, person, pair)))
    text = pair_form.form_of(now.messages, now.id, now.revision)
    path = file or pair_form.file_for(workspace / EDITS, f"{now.id}-r{now.revision}", text)
    if file is None:
        pair_form.open_editor(path)
    written = pair_form.read_file(path)
    made_from = pair_form.revision_of(written) or (now.id, now.revision)
    if made_from[0] != now.id:
        raise ConfigError(f"{path} is the text of pair {made_from[0]}, not of {now.id}; give that pair")
    with _kept(path, f"edit {now.id}"):
        turns = now.messages if written == text else tuple(pair_form.read_form(written))
        number = acting.write(
            workspace, by,
            lambda c, person: pairs.edit(c, person, now.id, turns, note=note, base_revision=made_from[1]),
        )  # fmt: skip
    print(f"{now.id} is at revision {number}" + (", as it was" if number == now.revision else ""))
    return 0


def history(pair: str, /, *, json: bool = False, by: str | None = None, workspace: Path = WORKSPACE) -> int:
    """Show all that was done to a pair: who, when, which revision, what was said.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    json
        Print JSON, with the words of every revision.
    by
        Who reads; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    found = acting.read(workspace, by, lambda c, person: pairs.history(c, person, pairs.find_id(c, person, pair)))
    if json:
        return acting.print_json([found])
    from tutelage.workspace.pair_tables import history_table

    acting.show(history_table(found))
    return 0


def diff(
    pair: str,
    old: int | None = None,
    new: int | None = None,
    /,
    *,
    json: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Show what changed in a pair, word by word: the newest revision against the one before, or OLD against NEW.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    old
        Number of a revision.
    new
        Number of a revision; the newest where it is left out.
    json
        Print JSON lines, one a stretch of text.
    by
        Who reads; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    def read(connection: Connection, person: Person) -> Any:
        found = pairs.get(connection, person, pairs.find_id(connection, person, pair))
        last = new or found.revision
        return pairs.diff(connection, person, found.id, old or max(last - 1, 1), last)

    changes = acting.read(workspace, by, read)
    if json:
        for each in changes:
            print(json_text(each._asdict(), ensure_ascii=False))
        return 0
    from tutelage.workspace.pair_tables import changes_page

    acting.show(changes_page(changes))
    return 0
