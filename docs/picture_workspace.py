"""A workspace with content that looks real, for the pictures of the documentation: five weeks of six people's work.

The record is filled through the functions that everything else uses; then its dates are spread over the weeks, as
everything would else be of this minute. Runs and models are folders as training leaves them, the models without
weights. The same again gives the same content.

Leaves out: the pictures (`make_pictures.py`). No number here was measured.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from tutelage.feedback import items, projects, queue, submit
from tutelage.feedback.items import NewAnswer, NewItem
from tutelage.feedback.projects import Project
from tutelage.store import datasets, invitations, lineage, pairs, people, schema, writing_guide
from tutelage.store.database import Store
from tutelage.store.ids import new_id, now_ms
from tutelage.store.people import Person
from tutelage.types import Message

DAY_MS = 86_400_000
RATERS = ("aylin", "grace", "ngozi", "tom")
PAIRS = Path(__file__).parents[1] / "tutelage" / "data" / "starter"
GUIDE = """\
## Which answer helps more?

1. **Right before nice.** A wrong answer loses, however well it is written.
2. Then the one that answers what was asked, and stops there.
3. "I do not know" is better than something made up, and worse than the right answer.
4. Ignore length. Prefer the shorter one only when both say the same.

A hard case: *"How many freckles do I have?"* The answer that says it cannot know is better than a guess.
"""
GUIDE_2 = GUIDE.replace("4. Ignore length.", "4. Ignore length and lists.").replace("both say the same.\n", (
    "both say the same.\n5. An answer in another language than the question is bad, unless one was asked for.\n"
))  # fmt: skip


def fill(store: Store, me: str = "mira") -> dict[str, Person]:
    """Fill the new workspace of `me`; gives the people by name."""
    draw = random.Random(7)
    with store.write() as connection:
        crew = {me: people.acting(connection)}
        crew["jonas"] = people.add_person(connection, "jonas", "reviewer")
        crew |= {name: people.add_person(connection, name, "rater") for name in RATERS}
        invitations.invite(connection, crew[me], "rater", note="Ruth, from the pharmacy")
        write_pairs(connection, crew, draw)
        writing_guide.put(connection, crew["jonas"], writing_guide.BUILT_IN.text + "\n- Say a unit with each number.\n",
                          base_version=0, note="Units with numbers: two pairs came back for that.")  # fmt: skip
        first = datasets.make_snapshot(connection, crew["jonas"], "curated", why="enough for a first assistant")
        judged = [make_project(connection, crew, each, draw) for each in PROJECTS]
        for project, share in zip(judged, (0.8, 0.5, 0.6), strict=True):
            judge(connection, crew, project, share, draw)
        labels = datasets.make_snapshot(connection, crew["jonas"], "labels:helpful", why="for a first reward model")
    make_runs(store.workspace, draw, {"curated@1": first.id, "labels:helpful@1": labels.id})
    make_jobs(store.workspace, judged[0])
    with store.write() as connection:
        lineage.rescan(connection, store.workspace)
        spread(connection, draw)
    return crew


# Pairs ---------------------------------------------------------------------------------------------------------------


def shipped_pairs() -> list[list[Message]]:
    """What comes with Tutelage, each as turns."""
    lines = [line for file in sorted(PAIRS.glob("pairs_*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    return [[Message(**turn) for turn in json.loads(line)["messages"]] for line in lines]


FIRST_IN_QUEUE = 64
"""The pair that waits longest for review: one about which the checks have something to say."""


def write_pairs(connection: Connection, crew: Mapping[str, Person], draw: random.Random) -> None:
    """Eighty pairs: most accepted, some in every other state."""
    jonas, authors = crew["jonas"], [crew[name] for name in RATERS]
    written = draw.sample(shipped_pairs(), 80)
    asked = next(turn.content for turn in written[0] if turn.role == "user")
    written[FIRST_IN_QUEUE] = [Message("user", f"{asked} please"), Message("assistant", "That depends.")]
    for number, messages in enumerate(written):
        author = authors[number % len(authors)]
        pair = pairs.draft(connection, author, messages, tags=draw.sample(["household", "letters", "school"], 1))
        if number >= 76:
            continue  # still a draft
        pairs.submit(connection, author, pair)
        if number < 58:
            pairs.accept(connection, jonas, pair, comment=draw.choice(["", "", "clear and short", "good"]))
        elif number < 62:
            pairs.send_back(connection, jonas, pair, comment="Say how long it takes, and leave out the last sentence.",
                            base_revision=1)  # fmt: skip
        elif number < FIRST_IN_QUEUE:
            pairs.reject(connection, jonas, pair, comment="We cannot check this claim.", base_revision=1)
    first = pairs.draft(connection, crew["mira"], shipped_pairs()[0][:1])
    pairs.tag(connection, crew["mira"], first, "household")


# Projects and verdicts -----------------------------------------------------------------------------------------------

PROJECTS: tuple[dict[str, Any], ...] = (
    {"name": "helpful", "kind": "comparison", "question": "Which answer helps more?", "overlap": 2,
     "gold_frac": 0.15, "repeat_frac": 0.2, "reasons": ["more correct", "clearer", "shorter", "safer"]},
    {"name": "order", "kind": "ranking", "question": "Put the answers in order, the best first.", "overlap": 2,
     "gold_frac": 0.0, "repeat_frac": 0.1, "reasons": []},
    {"name": "qualities", "kind": "rating", "question": "How good is this answer?", "overlap": 1, "reasons": [],
     "attributes": [{"name": "correct", "low": 0, "high": 4, "help": "Is what it says true?"},
                    {"name": "helpful", "low": 0, "high": 4, "help": "Does it do what was asked?"},
                    {"name": "clear", "low": 0, "high": 4, "help": "Is it easy to follow?"}]},
)  # fmt: skip
NUM_ANSWERS = {"comparison": 2, "ranking": 4, "rating": 1}
WORSE = (
    "It depends. There are many ways to look at this question, and every one of them has its own merits. In general, "
    "it is good to think about it first.",
    "Great question! {first}\n\nI hope this helps! Let me know if you have any other questions.",
    "{first}",
)


def make_project(
    connection: Connection, crew: Mapping[str, Person], facts: Mapping[str, Any], draw: random.Random
) -> Project:
    """A project with forty items whose answers are a good one and worse ones."""
    project = projects.create(connection, crew["jonas"], **facts, models=["assistant-1"], guideline=GUIDE)
    number = NUM_ANSWERS[project.kind]
    chosen = [each for each in shipped_pairs() if len(each) == 2]
    some = [new_item(messages, number, draw) for messages in draw.sample(chosen, 40)]
    items.add_items(connection, crew["jonas"], project, some)
    if facts.get("gold_frac"):
        for messages in draw.sample([each for each in shipped_pairs() if len(each) == 2], 3):
            items.add_gold(connection, crew["jonas"], project, new_item(messages, 2, draw, is_known=True), {
                "outcome": "first", "strength": 3
            })  # fmt: skip
    return project


def new_item(messages: list[Message], number: int, draw: random.Random, *, is_known: bool = False) -> NewItem:
    """The pair's question, its answer, and worse ones."""
    good = messages[-1].content
    first = good.replace("\n", " ").partition(". ")[0] + "."
    texts = [good, *(text.format(first=first) for text in WORSE)][:number]
    if number == 1 and draw.random() < 0.4:
        texts = [WORSE[1].format(first=first)]
    models = ["assistant-1", "starter-base", "assistant-1", "starter-base"]
    answers = [NewAnswer(text, model) for text, model in zip(texts, models, strict=False)]
    if not is_known:
        draw.shuffle(answers)
    return NewItem(tuple(messages[:-1]), answers)


def judge(
    connection: Connection, crew: Mapping[str, Person], project: Project, share: float, draw: random.Random
) -> None:
    """Raters work through a share of the project, right three times out of four."""
    for name in RATERS:
        for turn in range(int(40 * share * project.overlap / len(RATERS)) + 2):
            if turn == 6 and name == "aylin":
                projects.add_guideline(connection, crew["jonas"], project, GUIDE_2, "Lists are no merit by themselves.")
            task = queue.next_item(connection, crew[name], project)
            if task is None:
                break
            submit.submit(connection, crew[name], task.assignment_id, f"{name}-{project.name}-{turn}",
                          verdict(connection, task, draw), seconds=draw.gauss(52, 14), critique=draw.choice(CRITIQUES),
                          reasons=draw.sample(project.reasons, 1) if project.reasons else [])  # fmt: skip


CRITIQUES = ("", "", "", "The second one only says that it depends.", "Both are right; this one stops sooner.")


def verdict(connection: Connection, task: queue.Task, draw: random.Random) -> dict[str, Any]:
    """What a sensible rater would say, and sometimes not; as the screen counts the answers."""
    quality = [-min((text.find(bad[:12]) == 0) * 5 for bad in WORSE) + len(text) / 400 for _, text in task.answers]
    worse = [text.startswith(("It depends.", "Great question!")) for _, text in task.answers]
    best = max(range(len(worse)), key=lambda place: (not worse[place], quality[place] + draw.gauss(0, 0.2)))
    if task.kind == "comparison":
        if draw.random() < 0.08:
            return {"outcome": draw.choice(["tie", "both_bad"])}
        winner = best if draw.random() < 0.88 else 1 - best
        return {"winner": winner, "strength": draw.choice([1, 2, 2, 3])}
    if task.kind == "ranking":
        rest = [place for place in range(len(worse)) if place != best]
        draw.shuffle(rest)
        return {"order": [best, *rest]}
    return {"scores": {each["name"]: draw.choice([1, 2] if worse[0] else [3, 3, 4]) for each in task.attributes}}


# Sampling ------------------------------------------------------------------------------------------------------------


def make_jobs(workspace: Path, project: Project) -> None:
    """Answers that were sampled for the project some weeks ago, and a choice of what comes first."""
    asked = {"models": ["assistant-1"], "prompts": "compare", "num_prompts": 40, "num_there": 0, "num_sealed": 0,
             "num_answers": 2, "temperature": 1.0, "max_new_tokens": 256, "seed": 0, "again": False}  # fmt: skip
    _make_job(workspace, project, "sampling", 20, asked, {"num_answers": 80, "num_items": 40, "num_equal": 0})
    asked = {"rule": "uncertainty", "reward": "taste-1", "number": 20, "random_frac": 0.25, "seed": 0}
    chosen = {"num_items": 20, "num_random": 5, "num_open": 31, "num_verdicts": 61, "num_unreadable": 0}
    _make_job(workspace, project, "choice", 2, asked, chosen)


def _make_job(
    workspace: Path, project: Project, kind: str, days_ago: int, asked: Mapping[str, Any], result: Mapping[str, int]
) -> None:
    at_ms = now_ms() - days_ago * DAY_MS
    folder = workspace / "jobs" / project.id / new_id()
    folder.mkdir(parents=True)
    record = {"kind": kind, "project": project.name, "by": "jonas", "at_ms": at_ms, "asked": asked}
    _write(folder / "asked.json", json.dumps(record), at_ms / 1000)
    _write(folder / "progress.json", json.dumps({"result": result}), at_ms / 1000)
    command = {"sampling": "project sample", "choice": "choose"}[kind]
    _write(folder / "log.txt", f"$ tutelage {command} {project.name}\n", at_ms / 1000)


# Runs and models -----------------------------------------------------------------------------------------------------


def make_runs(workspace: Path, draw: random.Random, snapshots: Mapping[str, str]) -> None:
    """An assistant, a reward model, a run of practice, and another that practises now."""
    sft = [{"loss": 1.3 + 2.0 * math.exp(-i / 18) + draw.gauss(0, 0.05), "grad_norm": draw.uniform(1.2, 1.8),
            "learning_rate": 1e-5 * (1 + math.cos(math.pi * i / 90))} for i in range(1, 91)]  # fmt: skip
    reward = [{"loss": 0.69 * math.exp(-i / 55) + draw.gauss(0, 0.02), "margin": i / 40,
               "accuracy": min(0.95, 0.5 + 0.4 * (1 - math.exp(-i / 18)) + draw.gauss(0, 0.04))}
              for i in range(1, 61)]  # fmt: skip
    make_run(workspace, "assistant-1", "sft", sft, 16, model="starter-base", data="curated@1", samples=SAMPLES,
             snapshots=snapshots)  # fmt: skip
    make_run(workspace, "taste-1", "reward", reward, 0, model="assistant-1", data="labels:helpful@1",
             kind="LlamaForSequenceClassification", snapshots=snapshots)  # fmt: skip
    make_run(workspace, "assistant-2", "ppo", practice(100, draw), 0, model="assistant-1", data="compare",
             reward=["taste-1"], samples=SAMPLES)  # fmt: skip
    make_run(workspace, "assistant-3", "grpo", practice(64, draw), 1, model="assistant-1", data="compare",
             reward=["taste-1"], num_steps=100, finished=False, samples=SAMPLES[:4])  # fmt: skip
    evaluate(workspace, "assistant-1", "starter-base", 0.81, 12)
    evaluate(workspace, "assistant-2", "assistant-1", 0.61, 0)


def practice(steps: int, draw: random.Random) -> list[dict[str, float]]:
    """Curves of practice against a reward model."""
    found = []
    for i in range(1, steps + 1):
        kl = max(0.01, i * 0.03 + draw.gauss(0, 0.1))
        found.append({
            "loss": draw.gauss(0.02, 0.01), "reward": -0.3 + 1.4 * (1 - math.exp(-i / 30)) + draw.gauss(0, 0.08),
            "reward/taste-1": -0.2 + 1.4 * (1 - math.exp(-i / 30)), "kl": kl, "kl_low": kl - 0.3, "kl_high": kl + 0.3,
            "length": 60 + i * 0.2 + draw.gauss(0, 4), "stop_rate": min(1, 0.8 + i * 0.002), "entropy": 2 - i * 0.005,
            "distinct": 0.8, "learning_rate": 1e-6, "grad_norm": 0.8,
        })  # fmt: skip
    return found


_ASKED = ("How do I clean a burnt pan?", "Write a short thank-you note to a neighbour who watered my plants.")
_SAID = (
    ("You can clean a burnt pan with water. Water is good for the pan and water", "Thank you note to the thank you"),
    ("Fill the pan with hot water and a little dish soap, then let it stand.", "Dear neighbour,\n\nthank you for it."),
    ("1. Fill the pan with hot water and two spoons of **baking soda**.\n2. Simmer for ten minutes.\n3. Rinse.",
     "Dear neighbour,\n\nthank you for looking after my plants. They look better than when I left!"),
)  # fmt: skip
SAMPLES = [
    {"step": step, "prompt": prompt, "answer": answer, "stopped": step > 10}
    for step, said in zip((10, 30, 60), _SAID, strict=True) for prompt, answer in zip(_ASKED, said, strict=True)
]  # fmt: skip


def make_run(
    workspace: Path, name: str, method: str, metrics: list[dict[str, float]], days_ago: float, *, model: str, data: str,
    kind: str = "LlamaForCausalLM", finished: bool = True, samples: Iterable[Mapping[str, Any]] = (),
    snapshots: Mapping[str, str] = {}, **config: Any,
) -> None:  # fmt: skip
    """A run folder and, of a run that has finished, its model."""
    folder, at = workspace / "runs" / name, (now_ms() - days_ago * DAY_MS) / 1000
    folder.mkdir(parents=True)
    options = {"method": method, "model": model, "data": data, "out": name, "num_steps": len(metrics), "epochs": 3}
    _write(folder / "config.json", json.dumps(options | config), at)
    rows = [{"step": i, **row, "seconds": 2.1 * i, "tokens_per_second": 5300, "num_tokens": 5000 * i}
            for i, row in enumerate(metrics, start=1)]  # fmt: skip
    _write(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows), at)
    _write(folder / "samples.jsonl", "".join(json.dumps(each) + "\n" for each in samples), at)
    _write(folder / "started.json", json.dumps({"method": method, "by": "jonas", "at_ms": int(at * 1000)}), at)
    line = f"$ tutelage train {method} --model={model} --data={data} --out={name}\n"
    _write(folder / "log.txt", line + ("" if finished else "asked to stop by jonas\n\nstopping after this step\n"), at)
    if method == "reward":
        rate = {"estimate": 0.74, "low": 0.62, "high": 0.83}
        _write(folder / "held_out.json", json.dumps({"accuracy": rate, "num_comparisons": 61}), at)
    if not finished:
        return
    made = workspace / "models" / name
    made.mkdir(parents=True)
    _write(made / "config.json", json.dumps({"architectures": [kind]}), at)
    origin = {"base": model, "data": data, "kind": "trained", "method": method, "run": name, "steps": len(metrics),
              "tokens": 5000 * len(metrics), "inputs": list(_inputs(model, data, config, snapshots))}  # fmt: skip
    _write(made / "tutelage_origin.json", json.dumps(origin), at)


def _inputs(model: str, data: str, config: Mapping[str, Any], snapshots: Mapping[str, str]) -> Iterable[dict[str, str]]:
    yield {"role": "base", "name": model}
    role = "prompts" if data == "compare" else "data"
    yield {"role": role, "name": data, "snapshot": snapshots.get(data, "")}
    yield from ({"role": "reward", "name": each} for each in config.get("reward", ()))


def _write(path: Path, text: str, at: float) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))


def evaluate(workspace: Path, model: str, against: str, rate: float, days_ago: float) -> None:
    """The numbers of a report, as `tutelage report --json` writes them, and a page."""
    reports, number = workspace / "reports", 96
    reports.mkdir(exist_ok=True)
    half = 1.96 * math.sqrt(rate * (1 - rate) / number)
    wins, at_ms = round(number * (rate - 0.04)), int(now_ms() - days_ago * DAY_MS)
    made = {name: _made_ms(workspace, name) for name in (against, model)}
    numbers = {
        "title": f"{against} and {model}", "tutelage": "0.1.0", "at_ms": at_ms, "facts": {}, "overview": "",
        "prompts": {"name": "sealed", "number": number, "sha256": "0" * 64},
        "sampling": {"temperature": 0.0, "max_new_tokens": 256, "seed": 0},
        "models": [{"name": name, "origin": "workspace", "made_ms": made[name]} for name in (against, model)],
        "rater": "scripted rater", "measures": [],
        "contests": [{"model": model, "against": against, "wins": wins, "ties": round(number * 0.08), "number": number,
                      "rate": {"estimate": rate, "low": rate - half, "high": rate + half},
                      "verdict": "better" if rate - half > 0.5 else "undecided"}],
    }  # fmt: skip
    (reports / f"{model}-vs-{against}.json").write_text(json.dumps(numbers), encoding="utf-8")
    (reports / f"{model}-vs-{against}.html").write_text("<!doctype html><title>report</title>", encoding="utf-8")


def _made_ms(workspace: Path, name: str) -> int | None:
    file = workspace / "models" / name / "tutelage_origin.json"
    return file.stat().st_mtime_ns // 1_000_000 if file.is_file() else None


# Dates ---------------------------------------------------------------------------------------------------------------


def spread(connection: Connection, draw: random.Random) -> None:
    """Move what was written just now over the last five weeks, each table in its order."""
    now = now_ms()
    for table, column in (
        (schema.pairs, "created_ms"), (schema.pairs, "changed_ms"), (schema.pair_events, "at_ms"),
        (schema.pair_revisions, "created_ms"), (schema.labels, "created_ms"), (schema.people, "created_ms"),
        (schema.snapshots, "created_ms"), (schema.audit_log, "at_ms"),
    ):  # fmt: skip
        ids = list(connection.execute(select(table.c.id).order_by(table.c.id)).scalars())
        for place, id in enumerate(ids):
            days = 35 * (1 - (place + draw.random()) / len(ids)) + 0.1
            when = int(now - days * DAY_MS)
            connection.execute(update(table).where(table.c.id == id).values({column: when}))
