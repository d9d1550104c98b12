"""A PostgreSQL of somebody else's, beside the store."""

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

_numbers = itertools.count()


@pytest.fixture
def source(postgres: "SharedPostgres") -> Iterator[str]:
    """The URL of an empty database, which a test may drop."""
    name = f"source_{os.getpid()}_{next(_numbers)}"
    yield postgres.create(name)
    postgres.drop(name)
