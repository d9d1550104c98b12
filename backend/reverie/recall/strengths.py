"""What is known of users beside their traces: recalls, half-lives, and what their nights have made.

Of each user a sheet is brought once a minute, beside the arms: what it says changes slowly, and looked up for each
candidate in each recall it would cost the arms a fifth of their time.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import numpy as np
import psycopg
import structlog
from psycopg_pool import PoolTimeout

from reverie.core.database import Reads
from reverie.core.queries import Queries
from reverie.core.telemetry import reason
from reverie.memories.model import Model
from reverie.memories.strength import HALF_LIVES, effective
from reverie.recall import night
from reverie.recall.cache import Cache
from reverie.recall.night import Night, Told
from reverie.recall.traits import Column, Traits
from reverie.recall.types import Arm, Key

MOST_RECALLED: Final = 5000
"""Traces of a user whose recalls count, those that were recalled most often."""

MOST_BYTES: Final = 48 * 1024 * 1024
"""What all sheets of a process may take."""

SHEET_BYTES: Final = 1000
TRACE_BYTES: Final = 250
"""What a sheet takes, and each trace on it."""

_SQL = Queries("reverie.recall")
_RECALLED = struct.Struct(">16sid")
"""A trace as the query packs it: its id, how often it was recalled, and when last, in seconds of the Unix epoch."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known of a user: the half-lives of its kinds (those that fade, in days), of its traces how often and when
    last they were recalled, by id, and what its nights have made."""

    lives: Mapping[str, float] = field(default_factory=lambda: HALF_LIVES)
    recalls: Mapping[bytes, tuple[int, float]] = field(default_factory=dict)
    night: Night | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return SHEET_BYTES + TRACE_BYTES * len(self.recalls) + (0 if self.night is None else self.night.size)


Sheets = Mapping[bytes, Sheet]
"""By the 16 bytes of the user's id."""

_PLAIN: Final = Sheet()

_DAY: Final = 86_400
_NEVER: Final = (0, 0.0)


@dataclass(frozen=True, slots=True)
class Strengths:
    """How much traces matter at a moment, in seconds of the Unix epoch."""

    sheets: Sheets
    moment: float

    def of(self, keys: Sequence[Key], traits: Traits, own: Column | None = None) -> Column:
        """The effective salience of candidates. ``own``: what it is made of, in place of what each has."""
        sheets = [self.sheets.get(user, _PLAIN) for user in traits.users]
        lives = np.array([[sheet.lives.get(kind, math.inf) for kind in traits.kinds] for sheet in sheets])
        half_lives = np.where(traits.pinned, math.inf, lives[traits.user, traits.kind]) if len(keys) else np.empty(0)
        recalls, last = np.zeros(len(keys)), traits.last
        if any(sheet.recalls for sheet in sheets):
            whose = zip(traits.user.tolist(), keys, strict=True)
            known = [sheets[user].recalls.get(key[16:], _NEVER) for user, key in whose]
            counts, moments = np.array(known, dtype=np.float64).reshape(-1, 2).T
            # As of a moment before it nothing is known of a recall.
            over = moments <= self.moment
            recalls, last = np.where(over, counts, 0.0), np.where(over, np.maximum(last, moments), last)
        salience = traits.salience if own is None else own
        return effective(salience, half_lives, (self.moment - last) / _DAY, recalls)


class Desk:
    """The sheets of the users who asked last."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._nights = _SQL.text("nights", model=model.id, column=model.column, type=model.type, most=night.MOST)
        self._kept: Cache[Sheet] = Cache(MOST_BYTES, largest=MOST_BYTES)

    def kept(self, user_ids: Sequence[UUID]) -> Sheets | None:
        """The sheets of some users, if all are there."""
        found = {}
        for user_id in user_ids:
            kept = self._kept.take(user_id.bytes)
            if kept is None:
                return None
            found[user_id.bytes] = kept.answer
        return found

    async def bring(self, reads: Reads, space_id: UUID, user_ids: Sequence[UUID], seconds: float) -> Sheets:
        """The sheets of some users. Where they cannot be read, salience counts as it is, and nights say nothing."""
        try:
            async with reads.reading(space_id, seconds=seconds) as session:
                sheets = await session.send(_SQL["sheets"], (MOST_RECALLED, list(user_ids)))
                nights = await session.send(self._nights, (list(user_ids),))
            rows, made = await sheets.fetchall(), await nights.fetchall()
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            log.warning("recalls not read", error=type(error).__name__, reason=reason(error))
            return {}
        found = {user_id.bytes: _PLAIN for user_id in user_ids}
        told = {user: night.read(packed, self._model) for user, *packed in made}
        found |= {user: read(half_lives, packed, told.get(user)) for user, half_lives, packed in rows}
        for user, sheet in found.items():
            self._kept.keep(user, sheet, sheet.size, ())
        return found

    def drop(self, user_id: UUID) -> None:
        """Lets go of what is known of a user."""
        self._kept.drop(lambda key, _: key == user_id.bytes)


def read(half_lives: Mapping[str, float] | None, packed: bytes | None, made: Night | None = None) -> Sheet:
    """What the queries brought of a user."""
    recalls = {key: (recalls, last) for key, recalls, last in _RECALLED.iter_unpack(packed or b"")}
    return Sheet({**HALF_LIVES, **(half_lives or {})}, recalls, made)


def nights_of(sheets: Sheets, at: datetime | None) -> dict[bytes, Night]:
    """What nights have made of the users, as of ``at``."""
    nights = {user: sheet.night for user, sheet in sheets.items() if sheet.night is not None}
    return nights if at is None else {user: one.as_of(at.timestamp()) for user, one in nights.items()}


def told(nights: Mapping[bytes, Night], arms: Mapping[str, Arm]) -> Told | None:
    """What the summaries of the users say to a question, by what the arms have made of it."""
    semantic, lexical = arms.get("semantic"), arms.get("lexical")
    if semantic is None or lexical is None or semantic.vector is None or not nights:
        return None
    return night.tell(nights, semantic.vector, lexical.terms)
