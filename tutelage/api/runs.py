"""Training runs: started, watched, stopped, resumed. A run is a process of its own; the server may come and go.

Leaves out: what may be asked for (`tutelage.runs.rules`), and live streams (`tutelage.api.run_events`).
"""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from tutelage.api.caller import Record, Reviewer
from tutelage.api.wire import Limit, Page
from tutelage.api.wire_runs import (
    AfterRun,
    AfterStep,
    Command,
    CurvesTold,
    Lines,
    LogTold,
    NewRun,
    RunListed,
    RunName,
    RunTold,
    RunWhole,
    SamplesTold,
    Spark,
    Stopped,
)
from tutelage.runs import launch, look, rules
from tutelage.runs.curves import read_curves, read_samples
from tutelage.runs.files import read_json

router = APIRouter(prefix="/api/runs", tags=["runs"])


@router.get("")
def list_runs(person: Reviewer, store: Record, after: AfterRun = "", limit: Limit = 50) -> Page[RunListed]:
    """Training runs, the newest first: how each stands, and its course in small."""
    del person
    names = look.names(store.workspace)
    start = names.index(after) + 1 if after in names else 0
    chosen = names[start : start + limit]
    found = []
    for name in chosen:
        metric, values = look.spark(store.workspace, name)
        told = RunTold.of(look.see(store.workspace, name))
        found.append(RunListed(run=told, spark=Spark(metric=metric, values=values)))
    return Page(records=found, next=chosen[-1] if start + limit < len(names) else None)


@router.post("", status_code=201)
def start_run(body: NewRun, person: Reviewer, store: Record) -> RunTold:
    """Start a run as a process of its own."""
    name = launch.start(store, person, body.method, body.options)
    return RunTold.of(look.see(store.workspace, name))


@router.post("/check")
def check_run(body: NewRun, person: Reviewer, store: Record) -> Command:
    """Whether a run could be started so, and the same as a line for the terminal; starts nothing."""
    del person
    with store.read() as connection:
        asked = rules.check(connection, store.workspace, body.method, body.options)
    return Command(command=launch.command_of(asked, store.workspace))


@router.get("/{run}")
def get_run(run: RunName, person: Reviewer, store: Record) -> RunWhole:
    """One run: how it stands, its options, and the line that goes on with it at the terminal."""
    del person
    sight = look.see(store.workspace, run)
    config = read_json(look.find(store.workspace, run).folder / "config.json")
    line = launch.resume_command(sight.method, run, store.workspace)
    return RunWhole(run=RunTold.of(sight), config=config, resume_command=line)


@router.get("/{run}/metrics")
def get_metrics(run: RunName, person: Reviewer, store: Record, after: AfterStep = 0) -> CurvesTold:
    """Every metric as a curve of at most 1,000 points, from a step on."""
    del person
    found = read_curves(look.find(store.workspace, run).folder / "metrics.jsonl", after)
    return CurvesTold(**asdict(found))


@router.get("/{run}/samples")
def get_samples(run: RunName, person: Reviewer, store: Record) -> SamplesTold:
    """What the model answered to the same prompts at different steps, and warnings."""
    del person
    return SamplesTold(**asdict(read_samples(look.find(store.workspace, run).folder / "samples.jsonl")))


@router.get("/{run}/log")
def get_log(run: RunName, person: Reviewer, store: Record, lines: Lines = 200) -> LogTold:
    """The end of what the process said."""
    del person
    return LogTold(lines=look.log_tail(store.workspace, run, lines))


@router.post("/{run}/stop")
def stop_run(run: RunName, person: Reviewer, store: Record) -> Stopped:
    """End a run after its step, with a checkpoint; asked again, at once."""
    return Stopped(at_once=not launch.stop(store, person, run))


@router.post("/{run}/resume")
def resume_run(run: RunName, person: Reviewer, store: Record) -> RunTold:
    """Go on with a run that was interrupted or failed, from its newest checkpoint."""
    launch.resume(store, person, run)
    return RunTold.of(look.see(store.workspace, run))
