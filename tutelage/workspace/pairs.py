"""The verbs `pairs …`: write, read, edit and review question/answer pairs at the terminal.

Leaves out: the rules (`tutelage.store.pairs`), the text to edit (`tutelage.workspace.pair_form`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cyclopts import App

from tutelage.errors import ConfigError, TutelageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from sqlalchemy import Connection

    from tutelage.store.people import Person
    from tutelage.store.similar import Seen
    from tutelage.types import Message

WORKSPACE = Path("workspace")
State = Literal["draft", "submitted", "returned", "accepted", "rejected"]
EDITS = "edits"
"""Folder of the workspace for texts that are being edited."""
T = TypeVar("T")


def register(app: App) -> None:
    """Add the group to `app`."""
    group = App(name="pairs", help="Question/answer pairs: write, read, edit, review, tag.")
    for verb in (show, add, edit, submit, accept, reject, withdraw, tag, describe, history, diff):
        group.command(verb)
    group.command(list_pairs, name="list")
    group.command(send_back, name="send-back")
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
        Go on behind the pair with this id, the last of the page before.
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
        found = pairs.listing(
            connection, person, state=state, tag=tag, author=author, text=text, after=after, limit=limit
        )
        return found, pairs.count_by_state(connection, person)

    found, counts = _read(workspace, by, read)
    if json:
        return _print_json(found)
    from tutelage.workspace.pair_tables import pair_table

    _print(pair_table(found))
    there = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    print(f"there are {there}" if there else "there are no pairs yet; `tutelage pairs add` writes one")
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

    found = _read(workspace, by, lambda c, person: pairs.get(c, person, pairs.find_id(c, person, pair)))
    if json:
        return _print_json([found])
    from tutelage.workspace.pair_tables import pair_page

    _print(pair_page(found))
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
        pair_id, seen = _write(workspace, by, lambda connection, person: write(connection, person, turns))
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
        _print(lines)
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

    _read(workspace, by, lambda connection, person: None)  # who writes is known before anything is typed
    path = file or pair_form.file_for(workspace / EDITS, f"new-{token_hex(4)}", pair_form.form_of(pair_form.EMPTY))
    before = pair_form.read_file(path)
    if file is None:
        pair_form.open_editor(path)
        if pair_form.read_file(path) == before:
            path.unlink()
            raise ConfigError("nothing was written, so there is no new pair")
    with _kept(path, "add"):
        turns = _without_empty_answer(pair_form.read_form(pair_form.read_file(path)))
        return _write(workspace, by, lambda connection, person: write(connection, person, turns))


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

    now = _read(workspace, by, lambda c, person: pairs.get(c, person, pairs.find_id(c, person, pair)))
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
        number = _write(
            workspace, by,
            lambda c, person: pairs.edit(c, person, now.id, turns, note=note, base_revision=made_from[1]),
        )  # fmt: skip
    print(f"{now.id} is at revision {number}" + (", as it was" if number == now.revision else ""))
    return 0


def submit(
    pairs: tuple[str, ...], /, *, comment: str = "", by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Hand drafts or returned pairs in for review.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        A word to the reviewers.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "submitted", lambda c, p, id: store.submit(c, p, id, comment=comment))


def accept(
    pairs: tuple[str, ...],
    /,
    *,
    comment: str = "",
    own: bool = False,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Accept submitted pairs: for reviewers, and not what they wrote themselves.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        A word to the author.
    own
        Also pairs that you wrote or edited last; only where nobody else could review them.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(
        workspace, by, pairs, "accepted",
        lambda c, p, id: store.accept(c, p, id, comment=comment, allow_own=own),
    )  # fmt: skip


def send_back(
    pairs: tuple[str, ...], /, *, comment: str, by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Ask the authors of pairs to work on them again.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        What is to be done.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "sent back", lambda c, p, id: store.send_back(c, p, id, comment=comment))


def reject(
    pairs: tuple[str, ...], /, *, comment: str, by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Turn pairs down.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        Why.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "rejected", lambda c, p, id: store.reject(c, p, id, comment=comment))


def withdraw(
    pairs: tuple[str, ...], /, *, comment: str = "", by: str | None = None, workspace: Path = WORKSPACE
) -> int:  # fmt: skip
    """Take pairs out of every list and every later snapshot; the record keeps them. There is no way back.

    Parameters
    ----------
    pairs
        Their ids, or the beginnings of them.
    comment
        Why.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs as store

    return _each(workspace, by, pairs, "withdrawn", lambda c, p, id: store.withdraw(c, p, id, comment=comment))


def tag(
    pair: str,
    tags: tuple[str, ...] = (),
    /,
    *,
    remove: tuple[str, ...] = (),
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Put tags on a pair, or take some off: `tutelage pairs tag ID short animals --remove draft`.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    tags
        Tags to put on it.
    remove
        A tag to take off; may be given several times.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    def change(connection: Connection, person: Person) -> Sequence[str]:
        pair_id = pairs.find_id(connection, person, pair)
        pairs.tag(connection, person, pair_id, *tags)
        pairs.untag(connection, person, pair_id, *remove)
        return pairs.get(connection, person, pair_id).tags

    from tutelage.workspace.pair_tables import plain

    _print(plain("tags: " + (", ".join(_write(workspace, by, change)) or "none")))
    return 0


def describe(
    pair: str,
    /,
    *,
    source: str | None = None,
    licence: str | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Say where a pair comes from, and under which licence it may be used.

    Parameters
    ----------
    pair
        Its id, or the beginning of it.
    source
        Where it comes from.
    licence
        Its licence, e.g. CC-BY-4.0.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record.
    """
    from tutelage.store import pairs

    def change(connection: Connection, person: Person) -> str:
        pair_id = pairs.find_id(connection, person, pair)
        pairs.describe(connection, person, pair_id, source=source, licence=licence)
        return pair_id

    if source is None and licence is None:
        raise ConfigError("give --source, --licence or both")
    print(f"described {_write(workspace, by, change)}")
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

    found = _read(workspace, by, lambda c, person: pairs.history(c, person, pairs.find_id(c, person, pair)))
    if json:
        return _print_json([found])
    from tutelage.workspace.pair_tables import history_table

    _print(history_table(found))
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

    changes = _read(workspace, by, read)
    if json:
        for each in changes:
            print(json_text(each._asdict(), ensure_ascii=False))
        return 0
    from tutelage.workspace.pair_tables import changes_page

    _print(changes_page(changes))
    return 0


# What the verbs share -------------------------------------------------------------------------------------------------


def _read(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store, store.read() as connection:
        return work(connection, acting(connection, by))


def _write(workspace: Path, by: str | None, work: Callable[[Connection, Person], T]) -> T:
    from tutelage.store.database import open_store
    from tutelage.store.people import acting

    with open_store(workspace) as store:
        return store.run(lambda connection: work(connection, acting(connection, by)))


def _each(
    workspace: Path,
    by: str | None,
    pairs: Sequence[str],
    done: str,
    change: Callable[[Connection, Person, str], None],
) -> int:
    """Do it to every one of the pairs, or to none."""
    from tutelage.store.pairs import find_id

    def work(connection: Connection, person: Person) -> list[str]:
        ids = [find_id(connection, person, each) for each in pairs]
        for pair_id in dict.fromkeys(ids):
            change(connection, person, pair_id)
        return ids

    if not pairs:
        raise ConfigError("no pair is named; `tutelage pairs list` shows their ids")
    for pair_id in _write(workspace, by, work):
        print(f"{done} {pair_id}")
    return 0


def _print(what: RenderableType) -> None:
    from rich.console import Console

    Console().print(what)


def _print_json(found: Sequence[Any]) -> int:
    from dataclasses import asdict

    for each in found:
        print(json_text(asdict(each), ensure_ascii=False))
    return 0
