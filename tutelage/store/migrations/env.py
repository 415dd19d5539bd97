"""Where Alembic finds the database: in the connection that `tutelage.store.migrate` hands over, inside its transaction.

For a developer's own `alembic revision --autogenerate` it is the database of TUTELAGE_DATABASE (see pyproject.toml).
"""

from __future__ import annotations

from pathlib import Path

from alembic import context
from sqlalchemy import Connection

from tutelage.store.schema import metadata


def migrate(connection: Connection) -> None:
    """Run the steps. SQLite cannot alter most of a table in place, so there a step rebuilds it (`render_as_batch`)."""
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    from tutelage.store.database import Store, database_url
    from tutelage.store.migrate import create_file

    url = database_url(Path("workspace"))
    if url.get_backend_name() == "sqlite":
        create_file(Path(str(url.database)))
    with Store(Path("workspace"), url) as store, store.rebuild() as connection:
        migrate(connection)
