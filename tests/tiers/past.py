"""A store with a past: traces of weeks gone by, and what of them lies where. Alike in every run, ids included."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
from pgvector import HalfVector
from pgvector.psycopg import register_vector_async
from tests.tiers.rows import fetch

from reverie.cold.service import ColdService
from reverie.core.config import Settings
from reverie.core.database import Connection, Database
from reverie.core.ids import milliseconds
from reverie.embedding.codes import signs_of
from reverie.memories.model import Model
from reverie.objects.store import open_objects
from reverie.tiers import moving, repository
from reverie.tiers.moving import Move, Part, Source
from reverie.tiers.partitions import BODY, EMBEDDING, ensure_partitions
from reverie.tiers.runs import Outcome, Step, TierRuns
from reverie.tiers.steps import steps_of

SPACE, OTHER_SPACE = UUID(int=1 << 100 | 1), UUID(int=1 << 100 | 2)
MONDAY = datetime(2024, 1, 15, tzinfo=UTC)
"""The first of the weeks that are filled: they lie in two months."""

WEEK = timedelta(weeks=1)
NOW = MONDAY + timedelta(days=800)

WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "frost", "grove", "heron"),
    *("inlet", "jetty", "kelp", "lagoon", "marsh", "nectar", "otter", "pebble"),
)


def user_of(name: str) -> UUID:
    """The id of a user of these tests."""
    return UUID(bytes=hashlib.sha256(name.encode()).digest()[:16])


def trace_id(moment: datetime, number: int) -> UUID:
    """A uuid v7 of a moment that is the same in every run."""
    return UUID(int=milliseconds(moment) << 80 | 0x7 << 76 | 0b10 << 62 | number)


@dataclass(slots=True)
class Past:
    """A store, and what was put into it."""

    owner: Connection
    database: Database
    settings: Settings
    model: Model
    cold: ColdService
    traces: list[tuple[str, UUID]] = field(default_factory=list)

    @classmethod
    async def of(cls, owner: Connection, settings: Settings) -> "Past":
        """An empty store with two spaces and weeks of the past."""
        await register_vector_async(owner)
        database = Database(settings)
        model = await repository.active_model(owner)
        assert model is not None
        for space, name in ((SPACE, "one"), (OTHER_SPACE, "two")):
            await owner.execute(
                "INSERT INTO space (id, name, created_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (space, name, MONDAY),
            )
        await ensure_partitions(owner, MONDAY, MONDAY + 5 * WEEK - timedelta(seconds=1))
        return cls(owner, database, settings, model, ColdService(database, open_objects(settings)))

    async def remember(
        self,
        user: str,
        moment: datetime,
        count: int,
        *,
        space: UUID = SPACE,
        heads: Sequence[int] = (0, 1, 2),
        content: str | None = None,
    ) -> list[UUID]:
        """Traces of a moment; the first of every ten has two further pieces, the last has no vectors."""
        first = len(self.traces)
        ids = [trace_id(moment, first + n) for n in range(count)]
        self.traces += [(user, one) for one in ids]
        user_id = user_of(user)
        await self.owner.execute(
            "INSERT INTO memory_user (space_id, user_id, external_id, version, traces, created_at, updated_at)"
            " VALUES (%s, %s, %s, 7, %s, %s, %s) ON CONFLICT (user_id) DO UPDATE"
            " SET traces = memory_user.traces + excluded.traces",
            (space, user_id, user, count, moment, moment),
        )
        texts = [
            content or f"{user} saw {_words(first + n)} in week {moment:%V}, for the {n}th time." for n in range(count)
        ]
        vectors = [n % 10 != 9 for n in range(count)]
        await self.owner.execute(
            "INSERT INTO memory_trace (space_id, user_id, id, kind, conversation_id, language, length, created_at,"
            " salience, salience_given, digest, vectors) SELECT %s, %s, g.id, 'note', 'talk ' || mod(g.n, 3),"
            " 'english', length(g.text), %s, 0.5, false, 'd', g.vectors"
            " FROM unnest(%s::uuid[], %s::text[], %s::boolean[]) WITH ORDINALITY AS g (id, text, vectors, n)",
            (space, user_id, moment, ids, texts, vectors),
        )
        await self.owner.execute(
            "INSERT INTO memory_body (space_id, user_id, trace_id, happened_at, words, kind, content, lexemes)"
            " SELECT %s, %s, g.id, %s, length(w.lexemes), 2, g.text,"
            "        w.lexemes || array_to_tsvector(ARRAY[reverie_user_lexeme(%s)])"
            " FROM unnest(%s::uuid[], %s::text[]) AS g (id, text),"
            "      LATERAL (SELECT reverie_lexemes('english', g.text, %s) AS lexemes OFFSET 0) w",
            (space, user_id, moment, user_id, ids, texts, moment),
        )
        rows: list[tuple[Any, ...]] = []
        for n, one in enumerate(ids):
            if not vectors[n]:
                continue
            rows += [(one, head, 0, None, None) for head in heads]
            if n % 10 == 0:
                rows += [(one, 0, piece, 5 * piece, 5 * piece + 5) for piece in (1, 2)]
        await self._embed(space, user_id, moment, rows, first)
        await self.owner.execute(
            "UPDATE memory_user u SET words = (SELECT sum(words) FROM memory_body b WHERE b.user_id = u.user_id)"
            " WHERE user_id = %s",
            (user_id,),
        )
        return ids

    async def _embed(
        self, space: UUID, user_id: UUID, moment: datetime, rows: Sequence[tuple[Any, ...]], seed: int
    ) -> None:
        if not rows:
            return
        drawn = np.random.default_rng(seed).standard_normal((len(rows), self.model.dim)).astype(np.float32)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        await self.owner.execute(
            "INSERT INTO memory_embedding (space_id, user_id, trace_id, happened_at, piece, head, model_id, kind,"
            " begins, ends, vec, bits) SELECT %s, %s, r.id, %s, r.piece, r.head, %s, 2, r.begins, r.ends, r.vec,"
            " binary_quantize(r.vec) FROM unnest(%s::uuid[], %s::smallint[], %s::int[], %s::int[], %s::int[],"
            " %s::halfvec[]) AS r (id, head, piece, begins, ends, vec)",
            (space, user_id, moment, self.model.id, *(list(column) for column in zip(*rows, strict=True)),
             [HalfVector(one) for one in drawn]),
        )  # fmt: skip

    async def fill(self, traces: int = 20) -> None:
        """Three users of two spaces in five weeks."""
        for week in range(5):
            moment = MONDAY + week * WEEK + timedelta(days=2)
            await self.remember("ann", moment, traces)
            await self.remember("bob", moment + timedelta(hours=1), traces)
            await self.remember("eve", moment + timedelta(hours=2), traces // 2, space=OTHER_SPACE)

    async def make_warm(self, weeks: int = 5) -> None:
        """The oldest weeks become one warm partition."""
        parts = []
        for parent in (BODY, EMBEDDING):
            rows = await fetch(
                self.owner,
                "SELECT table_name, lower, upper, tier FROM memory_partition WHERE parent = %s AND tier = 'hot'"
                " ORDER BY lower LIMIT %s",
                parent,
                weeks,
            )
            parts.append(Part(parent, tuple(Source(*row) for row in rows)))
        await moving.move(self.database, Move(parts=tuple(parts), tier="warm"))

    def steps(self, *names: str) -> list[Step]:
        """Some steps of a run, or all."""
        return [step for step in steps_of(self.settings, self.cold) if not names or step.name in names]

    async def run(self, *names: str, as_of: datetime = NOW) -> Outcome:
        """A run of some steps."""
        return await TierRuns(self.settings, self.database, self.steps(*names)).run(as_of)

    async def make_cold(self) -> Outcome:
        """Everything warm becomes cold."""
        outcome = await self.run("unfinished", "cold")
        assert outcome.errors == {}, outcome
        return outcome

    # --- What is there

    async def places(self) -> dict[UUID, str]:
        """Where each trace is: in a tier, ``thawed``, or ``kept`` where the range is cold and it is not.

        ``nowhere`` and ``twice`` should not be.
        """
        rows = await fetch(self.owner, _PLACES)
        filed = await self.filed()
        found = {}
        for one, bodies, tier, digest, thawed, visible in rows:
            if (bodies and digest and visible and not thawed) or bodies > 1:
                place = "twice"
            elif bodies:
                place = "thawed" if digest and thawed else "kept" if tier == "cold" else tier
            else:
                place = "cold" if digest and visible and not thawed and one in filed else "nowhere"
            found[one] = place
        return found

    async def filed(self) -> dict[UUID, str]:
        """The traces in files that are read, with their texts; without those that are to leave."""
        rows = await fetch(self.owner, "SELECT id, path FROM cold_segment WHERE state = 'visible'")
        gone = {(row[0], row[1]) for row in await fetch(self.owner, "SELECT segment_id, trace_id FROM cold_removal")}
        found: dict[UUID, str] = {}
        for segment, path in rows:
            table = pq.read_table(self.file(path), partitioning=None)
            for one, piece, text in zip(
                table["trace_id"].to_pylist(), table["piece"].to_pylist(), table["content"].to_pylist(), strict=True
            ):
                if piece == 0 and (segment, one) not in gone:
                    assert one not in found
                    found[one] = text
        return found

    def file(self, path: str) -> Path:
        """Where an object lies."""
        return self.settings.reverie_home / "objects" / path

    def objects(self) -> set[str]:
        """Every object that there is."""
        root = self.settings.reverie_home / "objects"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    async def checksums(self) -> dict[str, str]:
        """What is stored, in the order of identities and without clocks, files included."""
        made = {}
        for name, query in _CHECKED.items():
            rows = await fetch(self.owner, query)
            made[name] = f"{len(rows)} {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"
        rows = []
        for (path,) in await fetch(self.owner, "SELECT path FROM cold_segment WHERE state = 'visible'"):
            table = pq.read_table(self.file(path), partitioning=None)
            rows += [tuple(row.values()) for row in table.to_pylist()]
        gone = {row[0] for row in await fetch(self.owner, "SELECT trace_id FROM cold_removal")}
        rows = sorted((row for row in rows if row[1] not in gone), key=lambda row: row[:3])
        made["files"] = f"{len(rows)} {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"
        return made


def _words(number: int) -> str:
    drawn = np.random.default_rng(number).integers(len(WORDS), size=4)
    return " ".join(WORDS[at] for at in drawn)


def vector_like(model: Model, seed: int) -> tuple[HalfVector, str]:
    """A vector and its bits, in words."""
    drawn = np.random.default_rng(seed).standard_normal((1, model.dim)).astype(np.float32)
    bits = "".join(map(str, np.unpackbits(signs_of(drawn), axis=1, count=model.dim)[0].tolist()))
    return HalfVector(drawn[0]), bits


_PLACES = """
SELECT t.id, count(b.trace_id), min(p.tier), count(d.trace_id) > 0, bool_or(d.thawed_until IS NOT NULL),
       bool_or(s.state = 'visible')
FROM memory_trace t
LEFT JOIN memory_body b ON b.user_id = t.user_id AND b.trace_id = t.id
LEFT JOIN memory_partition p ON p.parent = 'memory_body' AND p.lower <= t.id AND t.id < p.upper
LEFT JOIN memory_digest d ON d.user_id = t.user_id AND d.trace_id = t.id
LEFT JOIN cold_segment s ON s.id = d.segment_id
WHERE t.deleted_at IS NULL
GROUP BY t.id
"""

_CHECKED = {
    "traces": "SELECT user_id, id, kind, conversation_id, length, salience FROM memory_trace ORDER BY user_id, id",
    "bodies": "SELECT user_id, trace_id, kind, words, content, lexemes::text FROM memory_body"
    " ORDER BY user_id, trace_id",
    "vectors": "SELECT user_id, trace_id, head, model_id, piece, kind, begins, ends, vec::text, codes, bits::text"
    " FROM memory_embedding ORDER BY user_id, trace_id, head, model_id, piece",
    "digests": "SELECT d.user_id, d.trace_id, d.thawed_until, d.sentence, d.minhash, s.state, s.month"
    " FROM memory_digest d LEFT JOIN cold_segment s ON s.id = d.segment_id ORDER BY d.user_id, d.trace_id",
    "segments": "SELECT space_id, month, model_id, state, sum(traces), sum(rows) FROM cold_segment"
    " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2",
    "partitions": "SELECT parent, lower, upper, tier FROM memory_partition ORDER BY parent, lower",
    "users": "SELECT user_id, traces, words FROM memory_user ORDER BY user_id",
    "changes": "SELECT user_id, trace_id FROM tier_change",
    "garbage": "SELECT count(*) FROM cold_garbage",
}
