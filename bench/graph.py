"""How soon the graph of a large user is answered: around what is everywhere, around what is rare, the whole, and paths.

One user remembers so many turns in conversations, which have `next` edges by themselves. The rest of the graph is drawn
in the database: entities of which some are mentioned very often and most hardly ever, one by two fifths of all turns,
turns that are alike, and what is stated of entities. What is measured is one GET on a connection that is kept open.
"""

import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import orjson
import psycopg
import typer

from bench import options
from bench.client import Wire
from bench.report import Bar, CannotMeasure, Report, new_report, percentile, print_table
from bench.service import Service, named, service_at
from bench.store import vacuum
from bench.text import sentences
from reverie.core.ids import user_uuid

MOST_MS: Final = 100.0
SHARE: Final = 50
"""Traces for each entity."""

BATCH: Final = 1000
IN_CONVERSATION: Final = 40

UNENCODED: Final = 0.3
"""A salience at which a trace gets no vectors: none are needed here."""

ENTITIES: Final = """
UPDATE memory_trace SET kind = 'entity', identity = uuid_send(id) WHERE user_id = %(user)s AND meta ? 'entity'
"""

SALIENCES: Final = """
UPDATE memory_trace SET salience = round(random()::numeric, 3) WHERE user_id = %(user)s
"""

EDGES: Final = """
WITH turn AS MATERIALIZED (
    SELECT space_id, user_id, id, row_number() OVER (ORDER BY id) AS n FROM memory_trace
    WHERE user_id = %(user)s AND kind <> 'entity'
),
entity AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY id) AS n FROM memory_trace WHERE user_id = %(user)s AND kind = 'entity'
),
many AS MATERIALIZED (SELECT (SELECT count(*) FROM turn) AS turns, (SELECT count(*) FROM entity) AS entities),
drawn AS MATERIALIZED (
    -- The cube of chance: the first entities are mentioned often, most hardly ever; the very first by two fifths.
    SELECT t.n, 1 + floor(m.entities * random() ^ 3)::bigint AS other, 'mentions' AS type, 1.0 AS weight
    FROM turn t, many m, generate_series(1, 3)
    UNION ALL
    SELECT t.n, 1, 'mentions', 1.0 FROM turn t WHERE random() < 0.4
),
alike AS MATERIALIZED (
    SELECT t.*, t.n - 1 - floor(1000 * random())::bigint AS other, 0.7 + 0.3 * random() AS weight FROM turn t
)
INSERT INTO memory_edge (space_id, user_id, src, dst, type, weight, ts)
SELECT t.space_id, t.user_id, t.id, e.id, d.type, d.weight, now()
FROM drawn d JOIN turn t USING (n) JOIN entity e ON e.n = d.other
UNION ALL
SELECT a.space_id, a.user_id, a.id, o.id, 'similar', a.weight, now()
FROM alike a JOIN turn o ON o.n = a.other
UNION ALL
SELECT (SELECT space_id FROM turn LIMIT 1), %(user)s, a.id, b.id,
       (ARRAY['lives_in', 'likes', 'knows', 'works_with'])[1 + a.n %% 4], 1.0, now()
FROM many m
CROSS JOIN LATERAL (
    SELECT 1 + floor(m.entities * random() ^ 2)::bigint AS one, 1 + floor(m.entities * random())::bigint AS other
    FROM generate_series(1, m.turns / 5) OFFSET 0
) s
JOIN entity a ON a.n = s.one JOIN entity b ON b.n = s.other AND b.n <> a.n
ON CONFLICT DO NOTHING
"""

DEGREES: Final = """
SELECT t.id::text, count(e.src) FROM memory_trace t
LEFT JOIN memory_edge e ON e.user_id = t.user_id AND e.dst = t.id AND e.type = 'mentions'
WHERE t.user_id = %(user)s AND t.kind = 'entity'
GROUP BY t.id ORDER BY 2 DESC, 1
"""

TURNS: Final = (
    "SELECT id::text FROM memory_trace WHERE user_id = %(user)s AND kind <> 'entity' ORDER BY md5(id::text) LIMIT 200"
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A user whose graph is drawn: entities by how often they are mentioned, some turns, and how large it all is."""

    user: str
    entities: list[str]
    turns: list[str]
    traces: int
    edges: int
    most: int


@dataclass(frozen=True, slots=True)
class Case:
    """One sort of question: the paths and queries that are asked in turn."""

    name: str
    paths: Sequence[str]


def graph(
    traces: Annotated[int, typer.Option(min=1000, help="Turns of the user.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="Questions of each sort.")] = 60,
    seed: int = 1,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
    quick: options.Quick = False,
) -> None:
    """Measure how soon the graph of a large user is answered."""
    traces, rounds = (2000, 5) if quick else (traces, rounds)
    report = new_report("graph", {"traces": traces, "rounds": rounds, "seed": seed})
    with service_at(named(url, key, database_url)) as service:
        report.ask_versions(service.database_url)
        wire = Wire(service.url, {"Authorization": f"Bearer {service.key}"})
        try:
            drawn = load(service, wire, traces, seed)
            vacuum(service.database_url)
            for case in cases(drawn, rounds, seed):
                measure(report, wire, case)
        finally:
            wire.close()
    show(report, drawn)
    options.finish(report, json, check)


def load(service: Service, wire: Wire, traces: int, seed: int) -> Drawn:
    """Remembers the turns and draws the graph between them."""
    user = f"graph {uuid.uuid4()}"
    said = sentences(seed)
    with options.progress() as begin:
        advance = begin("remember", traces + traces // SHARE)
        for start in range(0, traces + traces // SHARE, BATCH):
            count = min(BATCH, traces + traces // SHARE - start)
            body = {"user_id": user, "traces": [_trace(start + n, traces, next(said)) for n in range(count)]}
            answer = wire.post("/memory/remember", orjson.dumps(body))
            if answer.status != HTTPStatus.CREATED:
                raise CannotMeasure(f"/memory/remember answered {answer.status}: {answer.text}")
            advance(count)
        begin("draw", 0)
        return _drawn(service, user, seed)


def _trace(number: int, traces: int, said: str) -> dict[str, Any]:
    if number >= traces:
        return {"content": f"Name {number}", "kind": "note", "salience": UNENCODED, "meta": {"entity": True}}
    conversation = str(number // IN_CONVERSATION)
    return {"content": said, "role": "user", "conversation_id": conversation, "salience": UNENCODED}


def _drawn(service: Service, user: str, seed: int) -> Drawn:
    with psycopg.connect(service.database_url, autocommit=True) as owner:
        row = owner.execute("SELECT space_id FROM memory_user WHERE external_id = %s", (user,)).fetchone()
        if row is None:
            raise CannotMeasure("The service has not remembered what was to be measured.")
        named_user = {"user": user_uuid(row[0], user)}
        owner.execute("SELECT setseed(%s)", (1 / (1 + seed),))
        # Of what was just loaded it has no statistics, and would try each row with each.
        owner.execute("SET enable_nestloop = off")
        for statement in (ENTITIES, SALIENCES, EDGES):
            owner.execute(statement, named_user)
        counted = owner.execute(
            "SELECT (SELECT count(*) FROM memory_trace WHERE user_id = %(user)s),"
            " (SELECT count(*) FROM memory_edge WHERE user_id = %(user)s)",
            named_user,
        ).fetchone()
        assert counted is not None
        degrees = owner.execute(DEGREES, named_user).fetchall()
        turns = [row[0] for row in owner.execute(TURNS, named_user).fetchall()]
        return Drawn(user, [row[0] for row in degrees], turns, counted[0], counted[1], degrees[0][1])


def cases(drawn: Drawn, rounds: int, seed: int) -> list[Case]:
    """The sorts of question; each asks about other nodes in turn where there are others."""
    rng = random.Random(seed)
    often, rare = drawn.entities[:20], rng.sample(drawn.entities[len(drawn.entities) // 2 :], 20)
    everywhere = drawn.entities[:1]

    def around(nodes: Sequence[str], **given: Any) -> list[str]:
        return [_path("/memory/graph", drawn, around=nodes[n % len(nodes)], **given) for n in range(rounds)]

    def between(ones: Sequence[str], others: Sequence[str], **given: Any) -> list[str]:
        ends = ((ones[n % len(ones)], others[(7 * n + 1) % len(others)]) for n in range(rounds))
        return [
            _path("/memory/graph/path", drawn, **{"from": one, "to": other}, **given)
            for one, other in ends
            if one != other
        ]

    found = [Case(f"the whole, limit {n}", [_path("/memory/graph", drawn, limit=n)] * rounds) for n in (100, 500)]
    for name, nodes in (("everywhere", everywhere), ("often", often), ("rare", rare), ("a turn", drawn.turns)):
        found += [Case(f"{name}, {hops} hops", around(nodes, hops=hops)) for hops in (1, 2, 3)]
    found += [
        Case("everywhere, 3 hops, limit 500", around(everywhere, hops=3, limit=500)),
        Case("often, 3 hops, limit 500", around(often, hops=3, limit=500)),
        Case("often, 2 hops, entities, 500", around(often, hops=2, limit=500, kinds="entity")),
        Case("everywhere, what is stated", around(everywhere, hops=2, types="lives_in,likes,knows")),
        Case("path, often to often", between(often, often[::-1])),
        Case("path, rare to rare", between(rare, rare[::-1])),
        Case("path, rare to rare, 6 hops", between(rare, rare[::-1], hops=6)),
        Case("path, turn to turn, 6 hops", between(drawn.turns, drawn.turns[::-1], hops=6)),
    ]
    return found


def _path(path: str, drawn: Drawn, **given: Any) -> str:
    return f"{path}?{urlencode({'user_id': drawn.user, **given})}"


def measure(report: Report, wire: Wire, case: Case) -> None:
    """Asks everything once, and then again in turn and notes what each took."""
    taken, sizes = [], []
    for path in [*dict.fromkeys(case.paths), *case.paths]:
        began = time.perf_counter()
        answer = wire.get(path)
        taken.append(1000 * (time.perf_counter() - began))
        if answer.status != HTTPStatus.OK:
            raise CannotMeasure(f"{path} was answered with {answer.status}: {answer.text}")
        sizes.append(len(answer.content))
    warm = taken[len(dict.fromkeys(case.paths)) :]
    p95 = percentile(warm, 95)
    report.rows.append(
        {"case": case.name, "p50_ms": percentile(warm, 50), "p95_ms": p95, "first_p95_ms": percentile(taken, 95),
         "kib": sum(sizes) / len(sizes) / 1024}
    )  # fmt: skip
    report.bars.append(Bar(f"{case.name}, p95", p95, "at most", MOST_MS, " ms"))


def show(report: Report, drawn: Drawn) -> None:
    """Prints what was found."""
    print_table(
        ["", "p50 ms", "p95 ms", "KiB"],
        [[row["case"], f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}", f"{row['kib']:.0f}"] for row in report.rows],
        f"The graph of one user: {drawn.traces:,} traces, {drawn.edges:,} edges, {drawn.most:,} mentions of one entity",
    )
    report.print_bars()


if __name__ == "__main__":
    options.run(graph)
