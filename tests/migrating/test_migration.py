"""A table of episodes brought along: whole, killed on the way, and with every fault that tables have."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.conftest import serving
from tests.migrating.episodes import PEOPLE, begin, failures, figure_of, fill, owner, rows, run

from reverie.cli.episodes import Written
from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder
from reverie.migrating.rows import Reading
from reverie.migrating.service import Migration
from reverie.migrating.source import Source
from reverie.runtime import open_runtime

if TYPE_CHECKING:
    from tests.figures import Figure
    from tests.servers import SharedPostgres

TRACES = "SELECT external_id, kind FROM memory_trace WHERE external_id IS NOT NULL"
ENTITIES = "SELECT b.content FROM memory_body b JOIN memory_trace t ON t.id = b.trace_id WHERE t.kind = 'entity'"
EDGES = """
SELECT encode(s.digest, 'hex'), encode(d.digest, 'hex'), e.type, round(e.weight::numeric, 4), e.meta
FROM memory_edge e JOIN memory_trace s ON s.user_id = e.user_id AND s.id = e.src
JOIN memory_trace d ON d.user_id = e.user_id AND d.id = e.dst ORDER BY 1, 2, 3
"""


async def stored(settings: Settings) -> int:
    [(number,)] = await asyncio.to_thread(
        rows, str(settings.database_url), "SELECT count(*) FROM memory_trace WHERE kind <> 'entity'"
    )
    return int(number)


@pytest.mark.timeout(900)
async def test_fifty_thousand_episodes_killed_twice_on_the_way(
    settings: Settings, source: str, long: bool, figure: "Figure", embedder: Embedder
) -> None:
    number = 50_000 if long else 4_000
    made = await asyncio.to_thread(fill, source, number)
    before = 0
    for part in (4, 2):
        process = await begin(settings, source, "--yes")
        deadline = time.monotonic() + 300
        while (there := await stored(settings)) < max(before + 1, number // part):
            assert process.returncode is None, (await process.communicate())[1].decode()
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        process.kill()
        await process.communicate()
        before = there
        assert 0 < await stored(settings) < number
    began = time.monotonic()
    ended = await run(settings, source, "--yes")
    seconds = time.monotonic() - began
    assert ended.code == 0, ended.err
    known, new = figure_of(ended.out, "known already"), figure_of(ended.out, "stored")
    assert known >= before
    assert known + new == number
    assert f"of {number:,}".replace(",", " ") in ended.out
    assert "20  of 20 sampled" in ended.out
    url = str(settings.database_url)
    ids = [one for one, _ in await asyncio.to_thread(rows, url, TRACES)]
    assert len(ids) == len(set(ids)) == number
    types = dict(await asyncio.to_thread(rows, url, "SELECT type, count(*) FROM memory_edge GROUP BY 1"))
    assert types["mentions"] == made.participants
    assert types["follows"] == number - await _days(url)
    assert number < types["same_topic"] <= 3 * number
    assert {name for (name,) in await asyncio.to_thread(rows, url, ENTITIES)} == set(PEOPLE)
    edges = await asyncio.to_thread(rows, url, EDGES)
    again = await run(settings, source, "--yes")
    assert (again.code, figure_of(again.out, "stored"), figure_of(again.out, "known already")) == (0, 0, number)
    assert await asyncio.to_thread(rows, url, EDGES) == edges
    assert await stored(settings) == number
    figure("rows a second, all of them anew but those known", f"{number / seconds:.0f}")
    figure("rows a second, all known", figure_of(again.out, "rows a second"))


async def _days(url: str) -> int:
    [(number,)] = await asyncio.to_thread(
        rows, url, "SELECT count(DISTINCT happened_at::date) FROM memory_trace WHERE kind <> 'entity'"
    )
    return int(number)


async def test_an_episode_is_recalled_with_its_own_date_and_who_took_part(
    settings: Settings, source: str, embedder: Embedder
) -> None:
    await asyncio.to_thread(fill, source, 60, ("ann", "bob"))
    ended = await run(settings, source, "--yes", "--vectors")
    assert ended.code == 0, ended.err
    for wanted in ("content", "occurred_at", "people.name by episode_participants", "episode_topics.topic", "mood"):
        assert wanted in ended.out
    assert "left out embedding bytea" in " ".join(ended.out.split())
    async with serving(settings, embedder) as api:
        caller = await api.caller()
        [(content, moment)] = await asyncio.to_thread(
            rows, source, "SELECT content, occurred_at FROM episodes WHERE id = 8"
        )
        found = (await caller.post("/memory/recall", json={"user_id": "ann", "q": content})).json()["results"][0]
        assert (found["external_id"], found["content"], found["conversation_id"]) == ("8", content, "s0")
        assert found["occurred_at"] == moment.isoformat().replace("+00:00", "Z")
        assert found["meta"]["mood"] in ("calm", "glad")
        assert set(found["meta"]["participants"]) <= set(PEOPLE)
        assert found["meta"]["topics"]
        assert found["scores"].get("semantic") is not None
        other = (await caller.post("/memory/recall", json={"user_id": "bob", "q": content})).json()["results"]
        assert "8" not in [one["external_id"] for one in other]


async def test_who_took_part_stays_linked_after_a_night(settings: Settings, source: str, embedder: Embedder) -> None:
    await asyncio.to_thread(fill, source, 40)
    assert (await run(settings, source, "--yes")).code == 0
    url = str(settings.database_url)
    mentions = "SELECT count(*) FROM memory_edge WHERE type = 'mentions' AND meta ->> 'by' = 'migration'"
    before = await asyncio.to_thread(rows, url, mentions)
    async with open_runtime(settings, embedder) as runtime:
        await runtime.dreams.run()
    assert await asyncio.to_thread(rows, url, mentions) == before


FAULTY = """
CREATE TABLE "Diary" (key int, body text, "when" text, owner text, who text[], about jsonb, note jsonb);
INSERT INTO "Diary" VALUES
    (1, 'The kettle was mended.', '2024-05-01 10:00', 'ann', '{Ada,"Bruno Costa"}', '["kitchen"]', '{"a": 1}'),
    (2, NULL, '2024-05-01 11:00', 'ann', NULL, NULL, NULL),
    (3, 'The boat has a new mast.', '2024-13-45', 'ann', NULL, NULL, NULL),
    (4, 'The exam is over.', NULL, 'ann', NULL, NULL, NULL),
    (5, 'The piano is in tune.', '2024-05-02T08:00:00+02:00', 'ann', NULL, NULL, NULL),
    (5, 'The piano is out of tune.', '2024-05-03', 'ann', NULL, NULL, NULL),
    (NULL, 'Without an id.', '2024-05-03', 'ann', NULL, NULL, NULL),
    (7, '   ', '2024-05-04', 'ann', NULL, NULL, NULL),
    (8, repeat('long ', 250000), '2024-05-04', 'ann', NULL, NULL, NULL),
    (9, 'Whose is this?', '2024-05-04', NULL, NULL, NULL, NULL),
    (10, 'In the year 12000.', '12000-01-01', 'ann', NULL, NULL, NULL),
    (11, 'By the clock.', '1714557600', 'ann', NULL, '{"name": "clocks"}', NULL);
"""
MAPS = (
    "--table", "Diary", "--map", "key=id", "--map", "body=content", "--map", "when=happened_at",
    "--map", "who=participants", "--map", "about=topics", "--user", "owner",
)  # fmt: skip
WHY = {
    "2": "content is null", "3": "'2024-13-45'", "4": "date is null", "5": "earlier row", "7": "blank",
    "8": "at most 1000000 characters", "9": "not whose memory", "10": "'12000-01-01'",
}  # fmt: skip


@pytest.mark.parametrize("dry_run", [True, False], ids=["tried", "done"])
async def test_rows_that_cannot_be_taken_are_listed_and_the_others_are_taken(
    settings: Settings, source: str, dry_run: bool, tmp_path: Path
) -> None:
    with owner(source) as connection:
        connection.execute(FAULTY)
    for _ in range(1 if dry_run else 2):
        ended = await run(settings, source, *MAPS, "--dry-run" if dry_run else "--yes")
        assert ended.code == 3, ended.err
        told = failures(settings.reverie_home)
        [without] = [row for row in told if row.startswith("at (")]
        assert "id is null" in told.pop(without)
        assert told.keys() == WHY.keys()
        for row, why in WHY.items():
            assert why in told[row], told[row]
        assert "9 rows" in ended.err
        assert figure_of(ended.out, "not taken") == 9
    found = await asyncio.to_thread(
        rows, str(settings.database_url),
        "SELECT external_id, occurred_at::text, meta FROM memory_trace WHERE kind = 'note' ORDER BY 1",
    )  # fmt: skip
    if dry_run:
        assert found == []
        return
    assert [one[0] for one in found] == ["1", "11", "5"]
    assert [one[1][:16] for one in found] == ["2024-05-01 10:00", "2024-05-01 10:00", "2024-05-02 06:00"]
    assert found[0][2] == {"participants": ["Ada", "Bruno Costa"], "topics": ["kitchen"], "note": {"a": 1}}
    assert found[1][2] == {"topics": ["clocks"]}


async def test_a_file_of_failures_that_a_killed_run_has_left_empty_is_its_own(settings: Settings, source: str) -> None:
    await asyncio.to_thread(fill, source, 3)
    left = settings.reverie_home / "episodes-failures.jsonl"
    left.write_text("")
    ended = await run(settings, source, "--yes")
    assert ended.code == 0, ended.err
    assert not left.exists()
    left.write_text("Dear diary")
    ended = await run(settings, source, "--yes")
    assert ended.code == 2
    assert "is a file of something else" in ended.err
    # Who is not asked for a backup loses no file either.
    left.write_text('{"row": "1", "reason": "its id is null."}\n')
    assert (await run(settings, source)).code == 2
    assert left.exists()


async def test_a_table_without_a_date_says_so(settings: Settings, source: str) -> None:
    with owner(source) as connection:
        connection.execute("CREATE TABLE episodes (id int PRIMARY KEY, content text, written timestamptz)")
        connection.execute("INSERT INTO episodes VALUES (1, 'The clock is slow.', '2024-05-01')")
    ended = await run(settings, source, "--user", "ann", "--yes")
    assert ended.code == 2
    assert "--map COLUMN=happened_at (a date is in written), or take all rows as of now by --undated" in ended.err
    ended = await run(settings, source, "--user", "ann", "--yes", "--map", "written=happened_at")
    assert ended.code == 0, ended.err
    ended = await run(settings, source, "--user", "ben", "--yes", "--undated")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("dry_run", [True, False], ids=["tried", "done"])
async def test_json_that_cannot_be_kept_is_a_fault_of_its_row(settings: Settings, source: str, dry_run: bool) -> None:
    with owner(source) as connection:
        connection.execute(
            "CREATE TABLE episodes (id int PRIMARY KEY, text text, people json, tags json[], note json, metadata json);"
            r"""INSERT INTO episodes VALUES (1, 'One.', '["Ada"]', ARRAY['"sea"']::json[], '{"a": 1}', '{"b": 2}'),"""
            r"""(2, 'Two.', NULL, NULL, '"\u0000"', NULL), (3, 'Three.', NULL, NULL, NULL, '{"\u0000": 1}'),"""
            r"""(4, 'Four.', '["\u0000"]', NULL, NULL, NULL),"""
            r"""(5, 'Five.', NULL, ARRAY['"\ud800"']::json[], NULL, NULL),"""
            r"""(6, 'Six.', NULL, NULL, '1e400', NULL), (7, 'Seven.', NULL, NULL, NULL, NULL)"""
        )
    ended = await run(settings, source, "--user", "ann", "--undated", "--dry-run" if dry_run else "--yes")
    assert ended.code == 3, ended.err
    told = failures(settings.reverie_home)
    assert told.keys() == {"2", "3", "4", "5", "6"}
    assert "U+0000" in told["2"]
    assert "surrogate" in told["5"]
    assert "the JSON of its note cannot be read" in told["6"]
    found = await asyncio.to_thread(
        rows, str(settings.database_url),
        "SELECT external_id, meta FROM memory_trace WHERE kind = 'note' ORDER BY 1",
    )  # fmt: skip
    one = {"note": {"a": 1}, "b": 2, "participants": ["Ada"], "topics": ["sea"]}
    assert found == ([] if dry_run else [("1", one), ("7", {})])


async def test_a_row_that_was_changed_since_is_told_of(settings: Settings, source: str) -> None:
    await asyncio.to_thread(fill, source, 5)
    assert (await run(settings, source, "--yes")).code == 0
    with owner(source) as connection:
        connection.execute("UPDATE episodes SET content = 'Something else.' WHERE id = 3")
    ended = await run(settings, source, "--yes")
    assert ended.code == 3
    assert "PATCH" in failures(settings.reverie_home)["3"]


NOTES = """
CREATE TABLE notes (id bigint PRIMARY KEY, text text, created_at timestamptz DEFAULT '2024-03-01');
INSERT INTO notes VALUES
    (1, 'The note of the harbour.'), (2, 'The note of the orchard.'), (99, 'The note of the ford.');
"""


async def test_two_tables_with_the_same_ids(settings: Settings, source: str) -> None:
    await asyncio.to_thread(fill, source, 5)
    with owner(source) as connection:
        connection.execute(NOTES)
    url = str(settings.database_url)
    assert (await run(settings, source, "--yes")).code == 0
    with owner(url) as connection:
        connection.execute("UPDATE memory_trace SET source = NULL WHERE external_id = '2'")
    notes = ("--table", "notes", "--user", "ann", "--yes")
    assert (await run(settings, source, *notes)).code == 3
    told = failures(settings.reverie_home)
    assert told.keys() == {"1", "2"}
    assert "which came from episodes: --prefix keeps the two apart, PATCH" in told["1"]
    assert "which came from no table: --prefix" in told["2"]
    for _ in range(2):
        ended = await run(settings, source, *notes, "--prefix", "notes-")
        assert ended.code == 0, ended.err
        assert "3  of 3 sampled" in ended.out
    ids = {one for one, _ in await asyncio.to_thread(rows, url, TRACES)}
    assert ids == {*"01234", "99", "notes-1", "notes-2", "notes-99"}


async def test_what_came_from_elsewhere_counts_as_there(settings: Settings, source: str) -> None:
    await asyncio.to_thread(fill, source, 5)
    assert (await run(settings, source, "--yes")).code == 0
    with owner(str(settings.database_url)) as connection:
        connection.execute("UPDATE memory_trace SET source = NULL WHERE external_id = '2'")
    with owner(source) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = pg_catalog'.encode())
    ended = await run(settings, source, "--table", "public.episodes", "--yes")
    assert ended.code == 0, ended.err
    assert (figure_of(ended.out, "the store has"), figure_of(ended.out, "known already")) == (5, 5)


async def test_traces_that_are_lost_are_missed(settings: Settings, source: str, embedder: Embedder) -> None:
    await asyncio.to_thread(fill, source, 9, ("ann", "bob"))
    assert (await run(settings, source, "--yes")).code == 0
    with owner(source) as connection:
        connection.execute("TRUNCATE episode_participants, episode_topics; DELETE FROM episodes WHERE id < 5")
    read = Source(source, "episodes")
    plan = await read.plan({})
    async with open_runtime(settings, embedder) as runtime:
        principal = await runtime.keys.of_space("default")
        migration = Migration(
            runtime, principal, read, plan, Reading(plan.table, None), Written(settings.reverie_home / "f.jsonl"),
            lambda _: None, print, patience=1,
        )  # fmt: skip
        assert (await migration.run()).known == 4
        assert (await migration.verify()).held == 4
        with owner(str(settings.database_url)) as connection:
            connection.execute("UPDATE memory_trace SET deleted_at = now() WHERE external_id = '7'")
        assert (await migration.verify()).held == 3


async def test_since_undated_and_time_zone(settings: Settings, source: str) -> None:
    with owner(source) as connection:
        connection.execute(
            "CREATE TABLE episodes (id text PRIMARY KEY, text text, date timestamp);"
            "INSERT INTO episodes VALUES ('a', 'An old one.', '2023-01-01'), ('b', 'A new one.', '2024-06-01 12:00'),"
            " ('c', 'One without a date.', NULL), ('d', 'Never.', 'infinity')"
        )
    options = ("--user", "ann", "--yes", "--time-zone", "Europe/Berlin", "--since", "2024-01-01")
    ended = await run(settings, source, *options)
    assert ended.code == 3
    told = failures(settings.reverie_home)
    assert told.keys() == {"c", "d"}
    ended = await run(settings, source, "--user", "ann", "--yes", "--undated", "--time-zone", "Europe/Berlin")
    assert failures(settings.reverie_home).keys() == {"d"}
    found = await asyncio.to_thread(
        rows, str(settings.database_url), "SELECT external_id, occurred_at::text FROM memory_trace ORDER BY 1"
    )
    assert found == [("a", "2022-12-31 23:00:00+00"), ("b", "2024-06-01 10:00:00+00"), ("c", None)]


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date", "moments", "text"])
async def test_since_with_an_offset_of_its_own(settings: Settings, source: str, kind: str) -> None:
    with owner(source) as connection:
        connection.execute("CREATE DOMAIN moments AS timestamp; SET timezone = 'America/New_York'")
        connection.execute(f"CREATE TABLE episodes (id text PRIMARY KEY, text text, date {kind})".encode())
        connection.execute(
            "INSERT INTO episodes VALUES ('a', 'One.', '2024-06-01'), ('b', 'Two.', '2024-06-02 00:00'),"
            " ('c', 'Three.', '2024-06-03 00:00')"
        )
    midnight = ("2024-06-02T04:00+00:00", "2024-06-02T09:30+05:30", "2024-06-02")
    for since, wanted in (*((one, 2) for one in midnight), ("2024-06-02T04:00:01Z", 1)):
        options = ("--user", "ann", "--dry-run", "--time-zone", "America/New_York", "--since", since)
        ended = await run(settings, source, *options)
        assert (ended.code, figure_of(ended.out, "would be stored")) == (0, wanted), ended.err
        if kind in ("timestamp", "timestamptz"):
            assert f"episodes: {wanted} row" in ended.out


async def test_heads_of_the_command_are_not_those_of_the_store(settings: Settings, source: str) -> None:
    await asyncio.to_thread(fill, source, 3)
    url = str(settings.database_url)
    assert (await run(settings, source, "--yes")).code == 0
    with owner(url) as connection:
        asked = (
            "SELECT (SELECT array_agg(heads) FROM model), (SELECT count(*) FROM operation WHERE kind = 'fill_heads')"
        )
        before = connection.execute(asked).fetchall()
        assert before == [([["semantic"]], 0)]
        ended = await run(settings, source, "--yes", "--heads", "semantic,entity", "--user", "bob")
        assert ended.code == 0, ended.err
        assert connection.execute(asked).fetchall() == before
        connection.execute("UPDATE model SET heads = '{entity,semantic}'")
        ended = await run(settings, source, "--yes", "--heads", "semantic", "--user", "carla")
        assert ended.code == 2
        assert "--heads semantic: the store has vectors of entity too" in " ".join(ended.err.split())
        assert connection.execute(asked).fetchall() == [([["entity", "semantic"]], 0)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--table", "nowhere"), "no such table; it has episode_participants, episode_topics, episodes, people"),
        (("--map", "body=content"), "has no column body; it has id, content, occurred_at"),
        (("--map", "content"), "--map takes COLUMN=FIELD"),
        (("--map", "content=colour"), "a field is one of id, content"),
        (("--map", "content=id", "--map", "id=id"), "was given for id already"),
        (("--map", "content=-"), "looks like content: name it by --map COLUMN=content"),
        (("--map", "episode_topics.colour=topics"), "has no column colour"),
        (("--map", "user_id=-"), "whose memory it is"),
        (("--since", "yesterday"), "--since takes an ISO 8601 date"),
        (("--since", "0001-01-01T00:00+14:00"), "--since takes an ISO 8601 date"),
        (("--time-zone", "Mars/Olympus"), "--time-zone takes"),
        (("--heads", "heart"), "MEMORY_HEADS"),
        ((), "Back the store up first"),
    ],
)
async def test_what_does_not_fit_is_refused_before_anything_is_written(
    settings: Settings, source: str, options: tuple[str, ...], says: str
) -> None:
    await asyncio.to_thread(fill, source, 3)
    ended = await run(settings, source, *options)
    assert ended.code in (2, 78)
    assert says in " ".join(ended.err.split())
    assert await stored(settings) == 0


async def test_a_source_that_cannot_be_read(settings: Settings, source: str, postgres: "SharedPostgres") -> None:
    ended = await run(settings, "mysql://host/name", "--yes")
    assert (ended.code, "postgresql://" in ended.err) == (2, True)
    ended = await run(settings, "postgresql://127.0.0.1:1/none", "--yes")
    assert ended.code == 69
    assert "Nothing was done" in ended.err


@pytest.mark.parametrize("option", ["--dry-run", "--yes"])
async def test_a_table_that_must_not_be_read_is_named(settings: Settings, source: str, option: str) -> None:
    await asyncio.to_thread(fill, source, 3)
    with owner(source) as connection:
        connection.execute("REVOKE SELECT ON people FROM CURRENT_USER")
        ended = await run(settings, source, option)
        assert ended.code == 69, ended.err
        assert "permission denied for table people" in ended.err
        connection.execute("REVOKE SELECT ON episodes FROM CURRENT_USER")
        ended = await run(settings, source, option)
        assert ended.code == 69, ended.err
        assert "permission denied for table episodes. Nothing was done." in " ".join(ended.err.split())


async def test_nothing_is_written_in_the_source(settings: Settings, source: str) -> None:
    await asyncio.to_thread(fill, source, 30)
    with owner(source) as connection:
        before = connection.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables").fetchone()
        assert (await run(settings, source, "--yes")).code == 0
        connection.execute("SELECT pg_stat_clear_snapshot()")
        after = connection.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables").fetchone()
    assert before == after


async def test_a_connection_that_breaks_is_made_again(settings: Settings, source: str) -> None:
    number = 6_000
    await asyncio.to_thread(fill, source, number)
    process = await begin(settings, source, "--yes")
    while await stored(settings) < 1_000:
        assert process.returncode is None
        await asyncio.sleep(0.02)
    with owner(source) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reverie-migration'"
        ).fetchall()
    out, err = await process.communicate()
    assert ended
    assert process.returncode == 0, err.decode()
    assert "Trying again" in err.decode()
    assert figure_of(out.decode(), "rows  ") == number
    assert await stored(settings) == number


async def test_a_source_that_vanishes_says_how_to_go_on(
    settings: Settings, source: str, postgres: "SharedPostgres"
) -> None:
    number = 6_000
    await asyncio.to_thread(fill, source, number)
    process = await begin(settings, source, "--yes", "--patience", "1.5")
    while await stored(settings) < 1_000:
        assert process.returncode is None
        await asyncio.sleep(0.02)
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
    await asyncio.to_thread(postgres.drop, str(name))
    _, err = await process.communicate()
    assert process.returncode == 69, err.decode()
    told = " ".join(err.decode().split())
    assert "The source stayed away" in told
    assert "the same command goes on from there and doubles nothing" in told
    assert 0 < await stored(settings) < number
