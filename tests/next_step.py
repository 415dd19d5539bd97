"""A folder of migrations with one step more than there is: how a later Tutelage will find, or leave, a record."""

from __future__ import annotations

import shutil
from pathlib import Path

from tutelage.store import migrate

NEXT = f"{int(migrate.REVISION) + 1:04d}"
STEP = """
import sqlalchemy as sa
from alembic import op
revision = "{next}"
down_revision = "{head}"

def upgrade():
    op.add_column("people", sa.Column("nickname", sa.String(50), nullable=False, server_default="-"))
    with op.batch_alter_table("prompts") as batch:  # rebuilt on SQLite, while answers point at its rows
        batch.alter_column("reference", type_=sa.String(500))
    {more}
"""


def with_next_step(folder: Path, more: str = "pass") -> Path:
    """A folder of migrations that has a step after the newest."""
    shutil.copytree(migrate.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"{NEXT}_next.py").write_text(STEP.format(next=NEXT, head=migrate.REVISION, more=more))
    return folder
