"""Everything the API does, there and back through a real server, as the dataclasses that the record has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from made_models import made
from record import ADA, BO, CY, DEE

from tutelage.client import Client, accept_invitation
from tutelage.client.http import Http
from tutelage.client.types import NewItem, Task, build
from tutelage.errors import (
    ConflictError,
    DataError,
    NotAllowedError,
    NotFoundError,
    SignInError,
    StoreError,
    TooManyError,
)
from tutelage.runs import jobs
from tutelage.runs.process import only_starter
from tutelage.store import lineage, pairs, sessions
from tutelage.store.database import Store
from tutelage.store.people import Person
from tutelage.types import Message

As = Callable[[Person], Client]
TURNS = (Message("user", "What is a leap year?"), Message("assistant", "A year of 366 days."))
LONGER = (*TURNS[:1], Message("assistant", "A year with 366 days, one more than others."))


def item(place: int, gold: dict[str, object] | None = None) -> NewItem:
    return NewItem((Message("user", f"Question {place}?"),), ("yes", "no"), ("one", "two"), gold=gold)


def test_a_pair_lives_its_life(acting: As, store: Store) -> None:
    writer, reviewer = acting(CY), acting(BO)
    pair = writer.pairs.draft(TURNS, tags=["years"], licence="CC0", meta={"from": ["a", 1]})
    assert (pair.state, pair.author, pair.messages, pair.tags) == ("draft", "cy", TURNS, ("years",))
    with store.read() as connection:
        assert pair == pairs.get(connection, CY, pair.id)
    assert writer.pairs.submit(pair.id).state == "submitted"
    assert reviewer.pairs.send_back(pair.id, comment="longer, please").state == "returned"
    edited = writer.pairs.edit(pair.id, LONGER, base_revision=1, note="longer")
    assert (edited.revision, edited.messages) == (2, LONGER)
    assert "".join(each.text for each in writer.pairs.diff(pair.id, 1, 2) if each.op != "delete" and each.turn) == (
        LONGER[1].content
    )
    writer.pairs.submit(pair.id)
    assert reviewer.pairs.accept(pair.id, base_revision=2).state == "accepted"
    history = writer.pairs.history(pair.id)
    assert [each.action for each in history.events][:2] == ["drafted", "submitted"]
    assert [each.number for each in history.revisions] == [1, 2]
    assert writer.pairs.counts()["accepted"] == 1
    assert acting(DEE).pairs.get(pair.id).id == pair.id
    assert [near.pair_id for near in writer.pairs.near(TURNS[:1]).pairs] == [pair.id]
    assert reviewer.pairs.tag(pair.id, add=["good"], remove=["years"]).tags == ("good",)
    assert reviewer.pairs.describe(pair.id, source="a book").source == "a book"


def test_snapshots_are_taken_listed_and_downloaded(acting: As, tmp_path: Path) -> None:
    writer, reviewer = acting(CY), acting(BO)
    for turns in (TURNS, LONGER):
        reviewer.pairs.accept(writer.pairs.draft(turns, submit=True).id)
    first = reviewer.datasets.take("curated", why="the first")
    assert (first.label, first.num_records) == ("curated@1", 2)
    assert reviewer.datasets.take("curated") == first
    assert reviewer.datasets.get("curated@1") == first
    assert [each.newest for each in reviewer.datasets.list()] == [first]
    assert list(reviewer.datasets.snapshots("curated")) == [first]
    out = tmp_path / "curated.jsonl"
    assert reviewer.datasets.download("curated@1", out) == out.stat().st_size
    assert [json.loads(line)["messages"][0]["content"] for line in out.read_text().splitlines()] == [
        TURNS[0].content
    ] * 2
    with pytest.raises(FileExistsError):
        reviewer.datasets.download("curated@1", out)
    with pytest.raises(NotFoundError, match="curated@9"):
        reviewer.datasets.download("curated@9", tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()
    uses = reviewer.pairs.uses(next(iter(reviewer.pairs.list())).id)
    assert [each.name for each in uses.held] == ["curated@1"]


def test_a_project_is_worked_through(acting: As) -> None:
    reviewer, rater, other = acting(BO), acting(CY), acting(DEE)
    made = reviewer.projects.create("helpful", "comparison", overlap=2, reasons=["clear"], guideline="Be kind.")
    assert (made.name, made.reasons, made.overlap) == ("helpful", ("clear",), 2)
    added = reviewer.projects.add_items("helpful", [item(place) for place in range(3)])
    assert len(added.ids) == 3
    assert reviewer.projects.add_items("helpful", [item(0)]).num_there == 1
    assert reviewer.projects.count_items("helpful")["open"] == 3
    assert [each.answers[0][2] for each in reviewer.projects.items("helpful", page_size=2)] == ["one"] * 3
    for client in (rater, other):
        task = client.queue.next("helpful")
        while task is not None:
            client.queue.save_draft(task.assignment_id, {"winner": 0})
            assert client.queue.task(task.assignment_id).draft == {"winner": 0}
            assert client.queue.renew(task.assignment_id) >= task.expires_ms
            verdict = {"winner": task.answers[0][0], "strength": 3}
            task = client.queue.submit_next(task.assignment_id, verdict, reasons=["clear"], seconds=4.5).task
    progress = reviewer.projects.progress("helpful")
    assert (progress.num_done, progress.num_wanted) == (6, 6)
    assert sorted(each.name for each in progress.raters) == ["cy", "dee"]
    assert [each.name for each in rater.projects.progress("helpful").raters] == ["cy"]
    mine = list(rater.labels.list("helpful", page_size=2))
    assert len(mine) == 3
    assert all(each.label.is_mine for each in mine)
    assert len(list(reviewer.labels.list(page_size=4))) == 6
    again = rater.labels.correct(mine[0].id, {"outcome": "tie"})
    assert {each.id for each in rater.labels.of_item(str(mine[0].item_id))} > {again}
    decided = reviewer.labels.decide(str(mine[0].item_id), {"outcome": "tie"})
    assert [each.id for each in reviewer.labels.of_item(str(mine[0].item_id)) if each.adjudicates] == [decided]
    assert reviewer.projects.set_state("helpful", "closed").state == "closed"
    assert [each.version for each in rater.projects.guidelines("helpful")] == [1]
    assert reviewer.projects.add_guideline("helpful", "Be kinder.").version == 2
    assert rater.projects.guideline("helpful", 2).text == "Be kinder."
    snapshot = reviewer.datasets.take("labels:helpful")
    assert reviewer.labels.uses(again).held[0].name == snapshot.label


def test_items_are_skipped_made_gold_chosen_and_withdrawn(acting: As) -> None:
    reviewer, rater = acting(BO), acting(CY)
    reviewer.projects.create("safe", "comparison")
    gold = item(9, {"outcome": "first", "strength": 4})
    ids = reviewer.projects.add_items("safe", [*(item(place) for place in range(5)), gold]).ids
    reviewer.projects.make_gold("safe", ids[0], {"outcome": "second", "strength": 1})
    assert reviewer.projects.count_items("safe") == {"open": 4, "done": 0, "withdrawn": 0, "gold": 2}
    assert reviewer.projects.look("safe", look_at=2).num_open == 4
    choice = reviewer.projects.choose("safe", 2, key="once")
    assert reviewer.projects.choose("safe", 2, key="once") == choice
    look = reviewer.projects.look("safe")
    features = {id: [float(place), 1.0] for place, id in enumerate(id for each in look.prompts for id in each.texts)}
    chosen = reviewer.projects.choose("safe", 1, "d-optimal", features=features, looked_at=look.items)
    task = rater.queue.next("safe")
    assert isinstance(task, Task)
    assert task.item_id == chosen.items[0].item_id
    rater.queue.skip(task.assignment_id, "I cannot read it")
    rater.queue.skip(task.assignment_id, "I cannot read it")
    reviewer.projects.withdraw_item("safe", task.item_id)
    following = rater.queue.next("safe")
    assert following is not None
    assert following.item_id != task.item_id


def test_a_thumb_is_given_outside_the_queue(acting: As) -> None:
    rater = acting(CY)
    asked = ("thumbs", TURNS[:1], ["A year of 366 days."], {"good": True})
    label_id = rater.labels.give(*asked, models=["mine"], key="k")
    assert rater.labels.give(*asked, models=["mine"], key="k") == label_id
    assert [each.id for each in rater.labels.list()] == [label_id]


def test_accounts_begin_by_invitation_and_end(acting: As, address: str) -> None:
    admin = acting(ADA)
    invitation, token = admin.people.invite("reviewer", note="from the clinic")
    assert invitation.is_open
    with Client(address, accept_invitation(address, token, "eve", "a long password")) as eve:
        me = eve.people.me()
        assert (me.name, me.role) == ("eve", "reviewer")
        made, text = eve.people.make_token("second", days=1)
        assert [each.name for each in eve.people.tokens()] == ["client", "second"]
        with Client(address, text) as second:
            assert second.people.me() == me
            eve.people.revoke_token(made.id)
            with pytest.raises(SignInError):
                second.people.me()
        assert admin.people.set_role(me.id, "rater").role == "rater"
        with pytest.raises(NotAllowedError):
            eve.people.invite()
        admin.people.set_active(me.id, False)
        with pytest.raises(SignInError):
            eve.people.me()
    with pytest.raises(NotFoundError, match="was used"):
        accept_invitation(address, token, "mallory", "a long password")
    other, _ = admin.people.invite()
    admin.people.revoke_invitation(other.id)
    assert [each.is_open for each in admin.people.invitations()] == [False, False]
    assert [each.name for each in admin.people.list(page_size=2)] == ["ada", "bo", "cy", "dee", "eve"]
    assert "people.accepted" in {each.action for each in admin.people.audit(page_size=3)}
    assert admin.people.get(CY.id) == CY
    _, again = admin.people.invite_to_set_password(CY.id)
    with Client(address, accept_invitation(address, again, "", "a long password")) as client:
        assert client.people.me() == CY


def test_files_come_in_and_go_out(acting: As, tmp_path: Path) -> None:
    reviewer = acting(BO)
    file = tmp_path / "pairs.jsonl"
    lines = [{"messages": [{"role": each.role, "content": each.content} for each in TURNS]}, {"nothing": 1}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = reviewer.files.import_file(file, tag=["imported"])
    assert (made.num_read, made.num_added, made.num_left_out) == (2, 1, 1)
    assert made.left_out[0].line == 2
    assert reviewer.files.import_file(file, tag=["imported"]).num_already == 1
    assert [each.num_added for each in reviewer.files.imports()] == [0, 1]
    assert reviewer.files.get_import(made.import_id).left_out == made.left_out
    out = tmp_path / "out.jsonl"
    assert reviewer.files.export("pairs", out, state=["submitted"]) == out.stat().st_size > 100
    assert json.loads(out.read_text())["tags"] == ["imported"]
    with pytest.raises(NotAllowedError):
        acting(CY).files.import_file(file)
    with pytest.raises(DataError) as caught:
        reviewer.files.import_file(file, strict=True, name="other.jsonl")
    assert (caught.value.file, caught.value.line) == ("other.jsonl", 2)


def test_a_model_tells_where_it_came_from(acting: As, store: Store) -> None:
    folder = store.workspace / "models" / "mine"
    folder.mkdir(parents=True)
    origin = {"method": "sft", "inputs": [{"role": "base", "name": "starter-base"}], "options": {"seed": 1}}
    (folder / "tutelage_origin.json").write_text(json.dumps(origin))
    assert acting(ADA).models.rescan() == (("mine",), ())
    assert [each.name for each in acting(BO).models.list()] == ["mine"]
    made = acting(BO).models.lineage("mine")
    with store.read() as connection:
        assert made == lineage.ancestors(connection, "mine")
    assert made.inputs[0].name == "starter-base"


def test_work_is_taken_out_after_a_look_at_what_that_means(acting: As) -> None:
    pair = acting(CY).pairs.draft(TURNS, submit=True)
    acting(BO).pairs.accept(pair.id)
    acting(BO).datasets.take("curated")
    admin = acting(ADA)
    told = admin.people.remove_work(CY.id)
    assert (told.num_pairs_written, [each.name for each in told.snapshots]) == (1, ["curated@1"])
    assert acting(DEE).pairs.get(pair.id).withdrawn_ms is None
    admin.people.remove_work(CY.id, dry_run=False)
    with pytest.raises(NotFoundError):
        acting(DEE).pairs.get(pair.id)


# --- errors and patience ----------------------------------------------------------------------------------------------


def test_errors_come_back_as_ours(acting: As, address: str) -> None:
    client = acting(CY)
    with pytest.raises(NotFoundError):
        client.pairs.get("f" * 32)
    with pytest.raises(NotAllowedError, match="needs the role reviewer"):
        client.projects.create("x", "thumbs")
    with pytest.raises(DataError) as caught:
        client.pairs.draft([Message("user", "x\0")])
    assert caught.value.field == "messages.0.content"
    pair = client.pairs.draft(TURNS)
    client.pairs.edit(pair.id, LONGER, base_revision=1)
    with pytest.raises(ConflictError, match="revision 2"):
        client.pairs.edit(pair.id, TURNS, base_revision=1)
    with Client(address, "tut_wrong") as stranger, pytest.raises(SignInError):
        stranger.people.me()
    with Client("http://127.0.0.1:1", "x", attempts=1) as nobody, pytest.raises(StoreError, match="cannot reach"):
        nobody.health()
    assert client.health()["status"] == "ok"


def scripted(*answers: int | Exception) -> tuple[Http, list[httpx.Request]]:
    """A client of a server that gives these answers, and what it was asked."""
    waiting, asked = list(answers), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        next_one = waiting.pop(0)
        if isinstance(next_one, Exception):
            raise next_one
        return httpx.Response(next_one, json={"error": f"told {next_one}", "label_id": "x"})

    return Http("http://server", "t", 1, 8, httpx.MockTransport(answer)), asked


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.client.http._wait", lambda _: None)


@pytest.mark.usefixtures("_no_waiting")
def test_a_request_is_sent_again_with_the_same_key() -> None:
    http, asked = scripted(httpx.ConnectError("no"), httpx.ReadError("lost"), 503, 502, 200)
    assert http.send("POST", dict[str, str], "/x", {"a": 1})["label_id"] == "x"
    assert len(asked) == 5
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert len({request.content for request in asked}) == 1


@pytest.mark.usefixtures("_no_waiting")
def test_a_request_that_would_be_done_twice_is_sent_again_only_if_it_never_arrived() -> None:
    http, asked = scripted(httpx.ConnectError("no"), httpx.ReadError("lost"), 200)
    with pytest.raises(StoreError, match="lost"):
        http.send("POST", dict[str, str], "/x", again=False)
    assert len(asked) == 2


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize(
    ("status", "error"),
    [(400, StoreError), (401, SignInError), (403, NotAllowedError), (404, NotFoundError), (409, ConflictError),
     (413, StoreError), (422, DataError), (429, TooManyError), (500, StoreError)],
)  # fmt: skip
def test_a_mistake_is_not_sent_again(status: int, error: type[Exception]) -> None:
    http, asked = scripted(status)
    with pytest.raises(error, match=f"told {status}"):
        http.get(dict[str, str], "/x")
    assert len(asked) == 1


def test_a_newer_servers_fields_are_passed_over() -> None:
    told = {"id": "1", "name": "cy", "role": "rater", "active": True, "colour": "green"}
    assert build(Person, told) == Person("1", "cy", "rater")


def test_the_example_of_the_page_on_the_api_runs(
    acting: As, address: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.write() as connection:
        token = sessions.add_token(connection, BO, "docs")[1]
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    exec(example.replace("http://127.0.0.1:8300", address).replace("tut_…", token), {})
    assert capsys.readouterr().out == "1\n"
    assert len(list(acting(BO).labels.list("helpful"))) == 1


def test_what_waits_ones_own_labels_and_who_wrote_the_answers(acting: As, tmp_path: Path) -> None:
    reviewer, rater = acting(BO), acting(CY)
    reviewer.projects.create("helpful", "comparison", overlap=2)
    file = tmp_path / "items.jsonl"
    lines = [
        {"prompt": f"Question {place}?", "answers": [{"text": "yes", "model": "one"}, {"text": "no", "model": "two"}]}
        for place in range(3)
    ]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    assert len(reviewer.projects.add_items_of_file("helpful", file).ids) == 3
    assert (rater.projects.work("helpful").num_waiting, rater.projects.work("helpful").num_given) == (3, 0)
    given = []
    for winner, client in ((0, rater), (0, rater), (1, acting(DEE))):
        task = client.queue.next("helpful")
        assert task is not None
        texts = [text for _, text in task.answers]
        place = texts.index("yes") if winner == 0 else texts.index("no")
        given.append(client.queue.submit(task.assignment_id, {"winner": place, "strength": 2}))
    mine = list(rater.labels.mine("helpful", page_size=1))
    assert [each.id for each in mine] == [given[1], given[0]]
    assert mine[0] == rater.labels.get(given[1])
    models = rater.labels.reveal(given[1])
    assert [models[id] for id, text in mine[0].task.answers if text == "yes"] == ["one"]
    (disputed,) = reviewer.projects.disagreements("helpful")
    assert {each.label.person for each in disputed.opinions} == {"cy", "dee"}


def test_sampling_is_asked_for_looked_at_and_stopped(
    acting: As, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "spawn", lambda *_: 1)
    made(store.workspace, "sft", "sft")
    client = acting(BO)
    client.projects.create("helpful", "comparison")
    (tmp_path / "mine.txt").write_text("What is tea?\nWhat is rain?\n")
    kept = client.sampling.keep_prompts(tmp_path / "mine.txt")
    assert (kept.name, kept.num_prompts) == ("mine.jsonl", 2)
    form = client.sampling.form("helpful")
    assert ([each.name for each in form.writers if not each.is_starter], form.num_answers) == (["sft"], 2)
    assert {each.name for each in form.prompts} == {"compare", "mine.jsonl"}
    job = client.sampling.start("helpful", ["sft"], kept.name, max_new_tokens=9, seed=3)
    assert (job.kind, job.asked["num_prompts"], job.asked["seed"], job.by) == ("sampling", 2, 3, "bo")
    assert client.sampling.wait("helpful", job.id).state == "failed"  # there is no process behind it
    assert client.sampling.log("helpful", job.id)[0].startswith("$ tutelage project sample helpful --model=sft")
    with pytest.raises(ConflictError, match="does not run"):
        client.sampling.stop("helpful", job.id)
    with only_starter(jobs.JobFiles(store.workspace, client.projects.get("helpful"), job.id).lock, ""):
        with pytest.raises(StoreError, match="still running"):
            client.sampling.wait("helpful", job.id, seconds=0.05, every_seconds=0.01)
        with pytest.raises(ConflictError, match="is running"):
            client.sampling.resume("helpful", job.id)
    assert client.sampling.resume("helpful", job.id).id == job.id
    chosen = client.sampling.choose("helpful", "gap", "sft", 5, seed=1)
    assert [each.id for each in client.sampling.jobs("helpful")] == [chosen.id, job.id]
    with pytest.raises(DataError, match="no model 'nothing'") as caught:
        client.sampling.start("helpful", ["nothing"], typed=["What?"])
    assert caught.value.field == "models"
    with pytest.raises(NotAllowedError):
        acting(CY).sampling.form("helpful")
