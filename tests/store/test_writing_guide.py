"""The guideline for writers: built in at first, then in versions that are kept."""

from __future__ import annotations

import pytest
from record import ADA, BO, CY

from tutelage.errors import ConflictError, DataError, NotAllowedError, NotFoundError
from tutelage.store import writing_guide
from tutelage.store.database import Store


def test_a_guideline_is_built_in_and_every_version_is_kept(any_store: Store) -> None:
    with any_store.write() as connection:
        assert writing_guide.newest(connection) == writing_guide.BUILT_IN
        first = writing_guide.put(connection, BO, "Be short.", base_version=0)
        assert (first.version, first.text, first.created_by) == (1, "Be short.", "bo")
        assert writing_guide.put(connection, ADA, "Be short.", base_version=1).version == 1
        assert writing_guide.put(connection, ADA, "Be short and right.", base_version=1).version == 2
    with any_store.read() as connection:
        assert writing_guide.newest(connection).text == "Be short and right."
        assert writing_guide.version_of(connection, 1).text == "Be short."
        assert writing_guide.version_of(connection, 0).text == writing_guide.BUILT_IN.text
        with pytest.raises(NotFoundError):
            writing_guide.version_of(connection, 3)


def test_versions_are_in_order_past_nine(store: Store) -> None:
    with store.write() as connection:
        for version in range(11):
            writing_guide.put(connection, BO, f"text {version}", base_version=version)
        assert writing_guide.newest(connection).version == 11


def test_who_was_slower_overwrites_nothing(store: Store) -> None:
    with store.write() as connection:
        writing_guide.put(connection, BO, "Be short.", base_version=0)
        with pytest.raises(ConflictError, match="version 1"):
            writing_guide.put(connection, ADA, "Be long.", base_version=0)
        assert writing_guide.newest(connection).text == "Be short."


def test_only_reviewers_write_it_and_not_anything(store: Store) -> None:
    with store.write() as connection:
        with pytest.raises(NotAllowedError):
            writing_guide.put(connection, CY, "Be lazy.", base_version=0)
        for text in (" ", "a\0b", "x" * (writing_guide.MAX_CHARACTERS + 1)):
            with pytest.raises(DataError):
                writing_guide.put(connection, BO, text, base_version=0)
        assert writing_guide.newest(connection).version == 0
