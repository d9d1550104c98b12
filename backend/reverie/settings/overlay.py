"""Saved settings over those of the environment, field by field. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from reverie.core.config import Settings
from reverie.settings.sealing import Sealing

Section = Literal["language_model", "embedding", "reranker"]
Source = Literal["settings", "environment", "default"]

SECTIONS: Final[Mapping[Section, Mapping[str, str]]] = {
    "language_model": {
        "url": "language_model_url",
        "model": "language_model",
        "max_tokens_per_night": "language_model_max_tokens_per_night",
    },
    "embedding": {
        "model": "embedding_model",
        "dim": "embedding_dim",
        "precision": "embedding_precision",
        "url": "embedding_url",
    },
    "reranker": {"model": "rerank_model", "url": "rerank_url"},
}
"""The fields that can be set, as the API names them, and the settings that they stand for."""

KEYS: Final[Mapping[Section, str]] = {
    "language_model": "language_model_api_key",
    "embedding": "embedding_api_key",
    "reranker": "rerank_api_key",
}
"""The setting of each section's key."""

FIELDS: Final = tuple(name for fields in SECTIONS.values() for name in fields.values())
"""The settings of all sections, as the queries name them."""

URLS: Final[Mapping[Section, str]] = {section: fields["url"] for section, fields in SECTIONS.items()}


@dataclass(frozen=True, slots=True)
class Version:
    """The settings as they were saved once; what is missing in ``values`` comes from the environment.

    ``values`` are by the names of the settings, an empty text for none; ``keys`` by those too, as they are stored.
    """

    version: int = 0
    saved_at: datetime | None = None
    saved_by: UUID | None = None
    saved_by_name: str | None = None
    changed: tuple[str, ...] = ()
    restored: int | None = None
    operation_id: UUID | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, bytes] = field(default_factory=dict)

    def of(self, section: Section) -> dict[str, Any]:
        """What it sets of a section, the stored key included."""
        names = (*SECTIONS[section].values(), KEYS[section])
        return {name: value for name, value in {**self.values, **self.keys}.items() if name in names}

    def with_embedding_of(self, other: "Version") -> "Version":
        """The same with the embedding model of another version."""
        names = {*SECTIONS["embedding"].values(), KEYS["embedding"]}

        def mixed(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
            rest = {name: value for name, value in mine.items() if name not in names}
            return rest | {name: value for name, value in theirs.items() if name in names}

        return replace(self, values=mixed(self.values, other.values), keys=mixed(self.keys, other.keys))


def overlaid(base: Settings, version: Version, sealing: Sealing) -> Settings:
    """The settings of a process: those of a version, and of the environment what that leaves open.

    The key of the environment goes with the URL of the environment and with no other: whoever may save a URL must not
    learn it. A language model of which only the URL or only the name is known is none.
    """
    changes: dict[str, Any] = {}
    for section, name in KEYS.items():
        given = {field: version.values[field] for field in SECTIONS[section].values() if field in version.values}
        changes |= {field: None if value == "" else value for field, value in given.items()}
        if name in version.keys:
            changes[name] = sealing.opened(version.keys[name])
        elif URLS[section] in given:
            changes[name] = None
    found = base.overlaid(changes)
    if (found.language_model_url is None) != (found.language_model is None):
        found = base.overlaid(changes | {"language_model_url": None, "language_model": None})
    return found


def faults(base: Settings, version: Version, sealing: Sealing) -> list[str]:
    """What is wrong with a version beside this environment, in sentences; the service does without these parts."""
    said = [unreadable_key(section) for section in KEYS if section in unreadable(version, sealing)]
    url, model = (
        version.values.get(name, getattr(base, name)) or None for name in ("language_model_url", "language_model")
    )
    if (url is None) != (model is None):
        missing = "language_model.url" if url is None else "language_model.model"
        said.append(f"The language model is not asked: {missing} is neither saved nor set in the environment.")
    return said


def unreadable(version: Version, sealing: Sealing) -> set[Section]:
    """The sections whose keys no secret of this process decrypts."""
    return {
        section for section, name in KEYS.items() if name in version.keys and sealing.opened(version.keys[name]) is None
    }


def unreadable_key(section: Section) -> str:
    """What is said of such a key."""
    return (
        f"The key {section}.api_key cannot be decrypted, so that model is asked without one: give the secret back "
        "behind a comma in REVERIE_SECRET_KEY, or save the key again."
    )


def source_of(base: Settings, version: Version, section: Section, name: str) -> Source:
    """Where the value of a setting in force comes from."""
    stored = version.of(section)
    if name in stored or (name == KEYS[section] and URLS[section] in stored):
        return "settings"
    return "environment" if name in base.model_fields_set and getattr(base, name) is not None else "default"


def changed(before: Version, after: Version) -> tuple[str, ...]:
    """The fields in which two versions differ, as the API names them."""
    found = []
    for section, fields in SECTIONS.items():
        old, new = before.of(section), after.of(section)
        for name, setting in (*fields.items(), ("api_key", KEYS[section])):
            if old.get(setting) != new.get(setting):
                found.append(f"{section}.{name}")
    return tuple(found)
