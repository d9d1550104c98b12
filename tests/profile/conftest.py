"""A running API, and the dream over its store."""

from tests.dream.conftest import owner as owner
from tests.dream.conftest import runtime as runtime
