"""The database: one address, one transaction at a time, and errors that say what to do."""

from __future__ import annotations

import pytest
from record import ADA, PEOPLE

from tutelage.store.database import Store
from tutelage.store.people import acting, add_person, everyone


def test_a_workspace_has_its_people_on_either_database(any_store: Store) -> None:
    with any_store.read() as connection:
        assert tuple(everyone(connection)) == PEOPLE
        assert acting(connection) == ADA


def test_a_write_that_raises_leaves_nothing(any_store: Store) -> None:
    with pytest.raises(RuntimeError), any_store.write() as connection:
        add_person(connection, "eve", "rater")
        raise RuntimeError("stop")
    with any_store.read() as connection:
        assert len(everyone(connection)) == len(PEOPLE)
