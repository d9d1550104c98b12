"""The profile of a user with very much: bounded, paged, and quick."""

import asyncio
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import psycopg
from psycopg.types.json import Jsonb
from tests.conftest import Api, Remember

from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.ids import user_uuid, uuid7s
from reverie.core.kinds import KINDS
from reverie.profile import repository
from reverie.text.predicates import PREDICATES

if TYPE_CHECKING:
    from tests.figures import Figure

TRACE = (
    "COPY memory_trace (space_id, user_id, id, kind, role, speaker, language, length, created_at, occurred_at,"
    " salience, salience_given, digest, vectors) FROM STDIN"
)
BODY = "COPY memory_body (space_id, user_id, trace_id, kind, happened_at, words, content, lexemes) FROM STDIN"
EDGE = "COPY memory_edge (space_id, user_id, src, dst, type, weight, ts, meta) FROM STDIN"


def fill(settings: Settings, space_id: UUID, user: str, number: int) -> None:
    """So many traces of a user whose days are dreamt: a twentieth facts, and one in thirty states something.

    So many do in conversations.
    """
    user_id, now, chance = user_uuid(space_id, user), clock.now(), random.Random(7)  # noqa: S311 - no secret
    # Not of a moment that is over, which may lie in a week without a partition.
    people, ids = uuid7s(now, 200), uuid7s(now + timedelta(seconds=1), number)
    with psycopg.connect(str(settings.database_url)) as owner:
        with owner.cursor().copy(TRACE) as copy:
            for one in people:
                copy.write_row(
                    (space_id, user_id, one, "entity", None, None, "simple", 5, now, None, 0.5, False, b"x", False)
                )
            for n, one in enumerate(ids):
                when = now - timedelta(minutes=number - n)
                kind = "fact" if n % 20 == 0 else "turn"
                copy.write_row(
                    (space_id, user_id, one, kind, "user", "Mara", "english", 30, now, when, 0.5, False, b"x", False)
                )
        with owner.cursor().copy(BODY) as copy:
            for n, one in enumerate(people):
                copy.write_row((space_id, user_id, one, KINDS["entity"], now, 1, f"Person{n}", ""))
            for n, one in enumerate(ids):
                when, kind = now - timedelta(minutes=number - n), "fact" if n % 20 == 0 else "turn"
                text = f"I live in Utrecht and I like Chess, as of today, the {n}th."
                copy.write_row((space_id, user_id, one, KINDS[kind], when, 5, text, ""))
        stated: dict[tuple[UUID, UUID, str], list[str]] = {}
        for n in range(0, number, 30):
            src, dst = chance.sample(people, 2)
            stated.setdefault((src, dst, chance.choice(PREDICATES)), []).append(str(ids[n]))
        with owner.cursor().copy(EDGE) as copy:
            for (src, dst, kind), sources in stated.items():
                copy.write_row((space_id, user_id, src, dst, kind, 1, now, Jsonb({"sources": sources, "by": "dream"})))
            for n in range(50, number, 50):
                meta = {"by": "dream", "about": "mara: live", "valid_from": now.isoformat()}
                copy.write_row((space_id, user_id, ids[n], ids[n - 50], "supersedes", 1, now, Jsonb(meta)))
        owner.execute(
            "INSERT INTO dream_day (space_id, user_id, day, state, dreamt_at) SELECT %s, %s, d::date, 'done', %s"
            " FROM generate_series(%s::date, %s::date, '1 day') d",
            (space_id, user_id, now, (now - timedelta(minutes=number + 1500)).date(), (now + timedelta(days=1)).date()),
        )
        owner.commit()
        owner.autocommit = True
        owner.execute("VACUUM ANALYZE")


async def test_the_profile_of_a_large_user_is_quick_on_every_page(
    settings: Settings, api: Api, caller: httpx.AsyncClient, remember: Remember, long: bool, figure: "Figure"
) -> None:
    number = 100_000 if long else 5_000
    await remember("mara", "The kettle is red.")
    space_id = await api.app.state.keys.ensure_space("default")
    await asyncio.to_thread(fill, settings, space_id, "mara", number)
    took: dict[str, list[float]] = {"first page": [], "a later page": [], "one topic": [], "as of": []}
    cursor: str | None = None
    for _ in range(12):
        first = await _asked(caller, took["first page"])
        assert len(first["items"]) == 50
        later = await _asked(caller, took["a later page"], cursor=cursor or first["next_cursor"])
        cursor = later["next_cursor"]
        assert later["items"][0]["happened_at"] <= first["items"][-1]["happened_at"]
        await _asked(caller, took["one topic"], topic="likes")
        await _asked(caller, took["as of"], as_of=clock.now().isoformat())
    for what, seconds in took.items():
        ordered = sorted(seconds)
        figure(f"{what} at {number} traces, ms (p50, worst of 12)", f"{ordered[6]:.1f}, {ordered[-1]:.1f}")
        assert ordered[6] < (100 if long else 1000), what


async def _asked(caller: httpx.AsyncClient, took: list[float], **query: Any) -> dict[str, Any]:
    began = time.perf_counter()
    answer = await caller.get("/memory/users/mara/profile", params=query)
    took.append(1000 * (time.perf_counter() - began))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_facts_beyond_those_that_are_gone_through_come_on_later_pages(
    caller: httpx.AsyncClient, remember: Remember, settings: Settings, api: Api, monkeypatch: Any
) -> None:
    monkeypatch.setattr(repository, "_FACTS", repository.SQL.text("facts", most=7))
    for n in range(30):
        topic = "keys" if n % 3 == 0 else "lamps"
        await remember("mara", {"content": f"Fact {n}.", "kind": "fact", "meta": {"topic": topic}})
    asked: list[tuple[str | None, int]] = [(None, 30), ("keys", 10)]
    for its, wanted in asked:
        found = list[str]()
        cursor: str | None = None
        for _ in range(40):
            query = {name: value for name, value in (("limit", "4"), ("topic", its), ("cursor", cursor)) if value}
            page = (await caller.get("/memory/users/mara/profile", params=query)).json()
            found += [one["text"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(found) == len(set(found)) == wanted
