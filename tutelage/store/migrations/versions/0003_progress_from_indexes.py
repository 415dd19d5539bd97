"""A project's progress is counted from indexes, whatever the number of its labels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

IN_FORCE = "superseded_ms IS NULL AND withdrawn_ms IS NULL"


def upgrade() -> None:
    raters = f"(assignment_id IS NOT NULL OR source <> '') AND {IN_FORCE}"
    decisions = f"assignment_id IS NULL AND source = '' AND {IN_FORCE}"
    make_index("ix_labels_raters", "labels", ["project_id", "person_id", "guideline_version"], raters)
    make_index("ix_labels_decisions", "labels", ["project_id", "item_id"], decisions)
    make_index("ix_assignments_skipped", "assignments", ["project_id", "person_id"], "state = 'skipped'")


def make_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
