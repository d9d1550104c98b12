"""The backup drill, with the commands of docs/operating.md: a store is dumped, destroyed, restored onto a server that
has never seen it, and asked the same questions."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis.asyncio import Redis

from reverie.core.config import Settings, load_settings
from reverie.core.database import SERVING_ROLE, Database
from reverie.core.migrations import upgrade
from reverie.core.schema import needed
from reverie.embedded.postgres import OWNER as EMBEDDED_OWNER
from reverie.embedded.postgres import SUPERUSER, Postgres, postgres_programs
from reverie.embedding.protocol import Embedder
from reverie.runtime import open_runtime
from tests.conftest import Api, remembering, serving
from tests.contracts.house import WALLED
from tests.embedded.helpers import forget, place_in
from tests.memories.helpers import unit
from tests.migrations.catalog import Sums, catalog, columns, invalid_indexes, sums

if TYPE_CHECKING:
    from tests.servers import SharedServers

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- drill: (.+?) -->\n```sh\n(.*?)```", DOCUMENT, re.DOTALL))

OWNER, DATABASE, SECRET = "keeper", "reverie", "kept-for-tests"
"""The owner of the new store, of another name than the old one's."""

TURNS = [
    "We moved to Porto in March, the flat has a tiny balcony.",
    "Miso, our cat, already rules the place.",
    "I signed up for the half marathon in Ghent on 18 October.",
    "My knee hurts when it rains, the physio says to rest.",
    "The sourdough finally rose, forty hours in the fridge did it.",
    "Ilse lent me her telescope, Saturn was the size of a lentil.",
]
QUESTIONS = ["Where is the flat?", "What is the cat called?", "Which race in Ghent?", "the bread", "Saturn telescope"]
FERRY = {"user_id": "ilse", "traces": [{"content": "The ferry leaves at noon."}]}
NOTES = {"porto": "The key of the flat lies at number 12.", "ghent": "The key of the locker is with the porter."}

WALLS = """
    SELECT 'policy', c.relname, p.polname,
           concat_ws(' | ', p.polcmd, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    UNION ALL
    SELECT 'row security', relname, relrowsecurity::text, relforcerowsecurity::text
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    UNION ALL
    SELECT 'grant on table', c.relname, g.grantee::regrole::text, g.privilege_type
    FROM pg_class c, aclexplode(c.relacl) g WHERE c.relnamespace = 'public'::regnamespace AND g.grantee <> c.relowner
    UNION ALL
    SELECT 'grant on function', p.oid::regprocedure::text, g.grantee::regrole::text, g.privilege_type
    FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    WHERE p.pronamespace = 'public'::regnamespace AND g.grantee <> p.proowner AND p.proname LIKE 'reverie%'
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, p.prosecdef::text, pg_get_functiondef(p.oid)
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'reverie%'
    UNION ALL
    SELECT 'partition', inhparent::regclass::text, inhrelid::regclass::text, pg_get_expr(c.relpartbound, c.oid)
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE c.relkind = 'r'
    UNION ALL
    SELECT 'storage', attrelid::regclass::text, attname, attstorage::text || ' ' || coalesce(attoptions::text, '')
    FROM pg_attribute WHERE attrelid = ANY (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    UNION ALL
    SELECT 'not validated', conrelid::regclass::text, conname, '' FROM pg_constraint WHERE NOT convalidated
"""
"""What the catalogue of the models does not hold: who may do what, and how the tables are laid out."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A space with a key, and what it was told and asked."""

    space: str
    key: str
    traces: list[str]
    answers: list[dict[str, Any]]


@pytest.fixture(scope="module")
def new_home() -> Iterator[Path]:
    """A folder for a server, which every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="rv-"))
    folder.chmod(0o755)
    yield folder / "home"
    forget(folder)


@dataclass(frozen=True, slots=True)
class NewServer:
    """A PostgreSQL in which Reverie was never heard of: no role of ours, no database."""

    major: int
    postgres: Postgres

    @property
    def superuser(self) -> str:
        """The URL of its superuser."""
        return self.postgres.url(SUPERUSER, SUPERUSER)

    @property
    def store(self) -> str:
        """The URL of the new store, as its owner."""
        return self.postgres.url(SUPERUSER, DATABASE).replace(f"//{SUPERUSER}:", f"//{OWNER}:")

    def clear(self) -> None:
        """Makes it new again."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            for role in (EMBEDDED_OWNER, OWNER, SERVING_ROLE):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture(scope="module", params=[16, 18])
async def new_server(new_home: Path, request: pytest.FixtureRequest) -> AsyncIterator[NewServer]:
    """A new server of the containers' version, and one of a newer."""
    place = place_in(new_home / str(request.param))
    postgres = Postgres(place, superuser_password=SECRET, owner_password=SECRET, major=request.param)
    server = NewServer(request.param, postgres)
    await postgres.start()
    try:
        server.clear()
        yield server
    finally:
        await postgres.stop()


async def run(block: str, server: NewServer, **environment: str) -> None:
    """Runs a block of the document as it stands there, with the programs of the new server's version."""
    where = conninfo_to_dict(server.superuser)
    programs = postgres_programs(server.major) / "bin"
    process = await asyncio.create_subprocess_exec(
        str(shutil.which("bash")),
        "-euo",
        "pipefail",
        "-c",
        BLOCKS[block],
        cwd=ROOT,
        env={
            "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.defpath]),
            "PGHOST": str(where["host"]),
            "PGPORT": str(where.get("port", "5432")),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": SECRET,
            "POSTGRES_OWNER": OWNER,
            "POSTGRES_OWNER_PASSWORD": SECRET,
        }
        | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, f"{block}: {output.decode()}"


async def fill(api: Api, space: str) -> tuple[str, list[str]]:
    """Has a space remember a dozen traces of two users; a key of it, and their ids."""
    key = await api.key(space)
    remember = remembering(api.client(key))
    turns = await remember(
        "nora", *[{"content": turn, "speaker": "Nora", "role": "user"} for turn in TURNS], conversation_id="kitchen"
    )
    notes = await remember("ilse", *[f"In {space}, {turn[0].lower()}{turn[1:]}" for turn in TURNS[:5]])
    secret = await remember("nora", {"content": NOTES[space], "external_id": "key", "meta": {"of": space}})
    return key, [one["trace_id"] for one in turns + notes + secret]


async def ask(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """What is answered to every question, but for the time that it took."""
    answers = []
    for question in [*QUESTIONS, "the key of the flat"]:
        for user in ("nora", "ilse"):
            answer = await client.get("/memory/recall", params={"user_id": user, "q": question, "k": 10})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["degraded"] == []
            assert found.pop("took_ms") > 0
            answers.append(found)
    return answers


async def empty_focus(settings: Settings) -> None:
    """Empties the focus of every user of a store, so that no answer depends on what was remembered just before."""
    async with (
        await psycopg.AsyncConnection.connect(str(settings.database_url)) as owner,
        Redis.from_url(str(settings.redis_url)) as client,
    ):
        users = await (await owner.execute("SELECT user_id FROM memory_user")).fetchall()
        await client.delete(*[f"focus:{user}" for (user,) in users])


def look(url: str) -> tuple[set[tuple[Any, ...]], Sums]:
    """Everything that stands in a store, as its owner sees it: its shape, its walls, its rows."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("SET search_path = public; SET TimeZone = 'UTC'; SET extra_float_digits = 1")
        assert invalid_indexes(owner) == []
        shape = catalog(owner) | set(owner.execute(WALLS).fetchall())
        # pg_dump knows the foreign keys of the parents, and their partitions' are named anew.
        shape = {row[:2] + row[3:] if row[3].startswith("FOREIGN KEY") else row for row in shape}
        return shape, sums(owner, columns(owner))


async def test_a_store_comes_back_from_its_backup(
    shared_servers: "SharedServers", new_server: NewServer, redis_url: str, embedder: Embedder, tmp_path: Path
) -> None:
    old_server, name = shared_servers.postgres(16), f"drill_{os.getpid()}_{new_server.major}"
    backup, url = str(tmp_path / "reverie.dump"), old_server.create(name)
    settings = load_settings(
        database_url=url, redis_url=redis_url, reverie_home=tmp_path, database_pool_size=4, memory_hnsw="always"
    )
    try:
        await asyncio.to_thread(upgrade, url)
        customers, repeated, pending = await live(settings, embedder)
        before = await asyncio.to_thread(look, url)
        await run("dump", new_server, DATABASE_URL=url, BACKUP=backup)
        late = await remember_after_the_dump(settings, embedder, customers[0])
    finally:
        await asyncio.to_thread(old_server.drop, name)
    try:
        await run("new server", new_server)
        await run("restore", new_server, DATABASE_URL=new_server.store, BACKUP=backup)
        after = await asyncio.to_thread(look, new_server.store)
        assert before[0] ^ after[0] == set()
        assert after[1] == before[1]
        restored = settings.model_copy(update={"database_url": new_server.store})
        async with serving(restored, embedder) as api:
            await the_focus_holds_no_ghost(api, customers[0], late)
            await empty_focus(restored)
            for customer in customers:
                assert await ask(api.client(customer.key)) == customer.answers
            await keys_and_walls_hold(api, restored, customers)
            await life_goes_on(api, customers[0], repeated, pending)
    finally:
        await asyncio.to_thread(new_server.clear)


async def live(settings: Settings, embedder: Embedder) -> tuple[list[Customer], httpx.Response, str]:
    """A store in use: two spaces with their answers, one answer under an Idempotency-Key, one operation still open."""
    async with serving(settings, embedder) as api:
        filled = {space: await fill(api, space) for space in NOTES}
        client = api.client(filled["porto"][0])
        repeated = await client.post("/memory/remember", json=FERRY, headers={"Idempotency-Key": "once"})
        body = {"user_id": "later", "traces": [{"content": "The beehive hums in B flat."}]}
        accepted = await client.post("/memory/remember", params={"wait": "false"}, json=body)
        assert (repeated.status_code, accepted.status_code) == (201, 202)
        # So many vectors of one user have a graph built over them.
        boxes = [{"content": f"Box {n} of the archive.", "embedding": unit(n % 384)} for n in range(1000)]
        archived = await client.post("/memory/remember", json={"user_id": "archive", "traces": boxes})
        assert archived.status_code == 201
    async with open_runtime(settings, embedder) as runtime:
        assert len(await runtime.tiers.build_indexes(runtime.model)) == 1
    async with serving(settings, embedder) as api:
        await empty_focus(settings)
        customers = [
            Customer(space, key, traces, await ask(api.client(key))) for space, (key, traces) in filled.items()
        ]
    return customers, repeated, accepted.json()["operation_id"]


async def remember_after_the_dump(settings: Settings, embedder: Embedder, customer: Customer) -> str:
    """Something that the backup does not have, and that stands in front of the focus."""
    async with serving(settings, embedder) as api:
        [one] = await remembering(api.client(customer.key))("nora", "Our flat was sold this morning.")
        return str(one["trace_id"])


async def the_focus_holds_no_ghost(api: Api, customer: Customer, late: str) -> None:
    answer = await api.client(customer.key).get("/memory/recall", params={"user_id": "nora", "q": "the flat", "k": 50})
    assert answer.status_code == 200
    found = {one["trace_id"] for one in answer.json()["results"]}
    assert late not in found
    assert found


async def keys_and_walls_hold(api: Api, settings: Settings, customers: list[Customer]) -> None:
    """Nobody sees anybody else's, by the API or as the serving role; and that role is bound."""
    first, second = customers
    assert (await api.client(first.key[:-1] + "x").get("/memory/users")).status_code == 401
    for one, other in ((first, second), (second, first)):
        client = api.client(one.key)
        found = await client.get("/memory/recall", params={"user_id": ["nora", "ilse"], "q": "key", "k": 100})
        assert {hit["trace_id"] for hit in found.json()["results"]}.isdisjoint(other.traces)
        missing = await client.get(f"/memory/traces/{other.traces[0]}", params={"user_id": "nora"})
        assert missing.status_code == 404
    database = Database(settings)
    await database.open()
    await database.close()
    conninfo = make_conninfo(str(settings.database_url), options=f"-c role={SERVING_ROLE}")
    with psycopg.connect(conninfo, autocommit=True) as app:
        spaces = [str(row[0]) for row in app.execute("SELECT id FROM space ORDER BY name").fetchall()]
        for space in ["", *spaces]:
            app.execute("SELECT set_config('reverie.space', %s, false)", (space,))
            for table in WALLED:
                query = sql.SQL("SELECT DISTINCT space_id::text FROM {}").format(sql.Identifier(table))
                assert {row[0] for row in app.execute(query).fetchall()} <= {space}, table
        held = app.execute("SELECT count(*) FROM memory_trace").fetchone()
        assert held is not None
        assert held[0] >= 12
        partition = app.execute("SELECT table_name FROM memory_partition WHERE parent = 'memory_body'").fetchone()
        assert partition is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(partition[0])))


async def life_goes_on(api: Api, customer: Customer, repeated: httpx.Response, pending: str) -> None:
    """What was answered holds, what was accepted is done, and writing, partitions and forgetting work."""
    client = api.client(customer.key)
    again = await client.post("/memory/remember", json=FERRY, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.json()) == (repeated.status_code, repeated.json())
    body = {"user_id": "nora", "traces": [{"content": NOTES[customer.space], "external_id": "key"}]}
    known = (await client.post("/memory/remember", json=body)).json()["traces"]
    assert [(one["status"], one["trace_id"]) for one in known] == [("duplicate", customer.traces[-1])]

    assert (await client.get(f"/operations/{pending}")).json()["state"] == "pending"
    assert await api.app.state.operations.run(UUID(pending))
    assert (await client.get(f"/operations/{pending}")).json()["state"] == "done"
    hum = await client.get("/memory/recall", params={"user_id": "later", "q": "beehive", "recipe": "vector"})
    assert [one["content"] for one in hum.json()["results"]] == ["The beehive hums in B flat."]

    [new] = await remembering(client)("nora", "The tram to Foz was late.")
    found = await client.get("/memory/recall", params={"user_id": "nora", "q": "Was the tram late?", "k": 1})
    assert [one["trace_id"] for one in found.json()["results"]] == [new["trace_id"]]
    gone = await client.post("/memory/forget", json={"user_id": "nora", "scope": {"all": True}})
    assert gone.json()["counts"]["traces"] == 8


async def test_what_the_first_start_of_the_container_makes_is_enough(new_server: NewServer) -> None:
    """The file that the image runs once, then `migrate`, as an owner who may make neither roles nor databases."""
    await run("new server", new_server)
    try:
        await asyncio.to_thread(upgrade, new_server.store)
        with psycopg.connect(new_server.store) as owner:
            attributes = owner.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert attributes == (False, False, False, False)
            assert owner.execute("SELECT version_num FROM alembic_version").fetchone() == (needed(),)
        database = Database(load_settings(database_url=new_server.store))
        await database.open()
        await database.close()
    finally:
        await asyncio.to_thread(new_server.clear)


def test_every_marked_command_is_run() -> None:
    assert set(BLOCKS) == {"dump", "new server", "restore"}
    assert DOCUMENT.count("<!-- drill:") == len(BLOCKS)
