"""One running API for the folder."""

from tests.memories.fixtures import api, caller, database_url, fickle, own_settings, remember, settings, user

__all__ = ["api", "caller", "database_url", "fickle", "own_settings", "remember", "settings", "user"]
