"""Judging: the projects one can work in, the work itself, one's own labels, and for reviewers looking after a project.

Leaves out: what the pages show of tasks and labels, which their scripts ask of the API.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from tutelage.errors import NotFoundError
from tutelage.feedback import projects
from tutelage.feedback.projects import QUESTIONS
from tutelage.studio.pages import View, Viewer, page

router = APIRouter()
KINDS = {
    "comparison": ("Compare", "which of two is better"),
    "ranking": ("Rank", "2 to 9 answers in order"),
    "thumbs": ("Thumbs", "one answer: good or bad"),
    "rating": ("Rate", "one answer, in numbers"),
}
"""Each kind of project in plain words."""
Name = Annotated[str, Path(max_length=200)]


@router.get("/judge")
def judge(viewer: Viewer) -> HTMLResponse:
    """The projects, and what waits in them."""
    return page(viewer, "judge.html", kinds=KINDS, questions=QUESTIONS)


@router.get("/judge/{name}")
def judge_project(viewer: Viewer, name: Name) -> HTMLResponse:
    """The work itself."""
    return _of_project(viewer, name, "judge_task.html")


@router.get("/judge/{name}/mine")
def judge_mine(viewer: Viewer, name: Name) -> HTMLResponse:
    """One's own labels of a project."""
    return _of_project(viewer, name, "judge_mine.html")


@router.get("/judge/{name}/decide")
def judge_decide(viewer: Viewer, name: Name) -> HTMLResponse:
    """What raters disagree on, and how far the project is; for reviewers."""
    return _of_project(viewer, name, "judge_decide.html" if viewer.person.role != "rater" else "judge_reviewers.html")


@router.get("/judge/{name}/project")
def judge_care(viewer: Viewer, name: Name) -> HTMLResponse:
    """What looking after a project takes: answers to judge, what comes first, guidelines; for reviewers."""
    return _of_project(
        viewer, name, "judge_project.html" if viewer.person.role != "rater" else "judge_project_raters.html"
    )  # fmt: skip


def _of_project(viewer: View, name: str, template: str) -> HTMLResponse:
    try:
        with viewer.store.read() as connection:
            project = projects.get(connection, name)
    except NotFoundError:
        return page(viewer, "judge_missing.html", status=404, name=name)
    title, _ = KINDS[project.kind]
    status = 403 if template in ("judge_reviewers.html", "judge_project_raters.html") else 200
    return page(
        viewer, template, status=status, project=project.name, kind=project.kind, title=title,
        question=project.question, reviews=viewer.person.role != "rater",
    )  # fmt: skip
