"""How far a project is: totals, agreement with intervals, and each rater's line, which a rater sees only of themselves.

Leaves out: how it is computed (`tutelage.feedback.progress`).
"""

from __future__ import annotations

from fastapi import APIRouter

from tutelage.api.caller import Rater, Record
from tutelage.api.wire import NamePath
from tutelage.api.wire_progress import ProgressTold, plain
from tutelage.feedback import progress, projects

router = APIRouter(prefix="/api/projects", tags=["progress"])


@router.get("/{project}/progress")
def get_progress(project: NamePath, person: Rater, store: Record) -> ProgressTold:
    """Totals, agreement, gold accuracy and time; by rater for reviewers, one's own for a rater."""
    with store.read() as connection:
        return ProgressTold(**plain(progress.progress(connection, person, projects.get(connection, project))))
