"""Each version of a project's guidelines says what is new in it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("guidelines", sa.Column("note", sa.Text(), nullable=False, server_default=""))
