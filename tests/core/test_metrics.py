"""Figures: each moves when its cause happens, two applications count apart, several processes count as one."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import Api, serving
from tests.memories.helpers import Fickle
from tests.processes import environment
from tests.waiting import PATIENCE

from reverie.core import metrics as figures
from reverie.core.config import Settings, load_settings
from reverie.core.errors import StartError
from reverie.core.metrics import CONTENT_TYPE, FOLDER, Metrics, Sources, shared_folder
from reverie.embedded.postgres import free_port
from reverie.embedding.protocol import Embedder
from reverie.status.overview import Overview

if TYPE_CHECKING:
    from tests.servers import SharedPostgres

MARKER = "marzipan-under-the-lighthouse"


@pytest.fixture(scope="module")
async def settings(postgres: "SharedPostgres", template: str, redis_url: str) -> AsyncIterator[Settings]:
    """A database for all tests of this file."""
    name = f"metrics_{os.getpid()}"
    url = postgres.create(name, template)
    yield load_settings(database_url=url, redis_url=redis_url, database_pool_size=4, reverie_home="/nowhere")
    postgres.drop(name)


@pytest.fixture(scope="module")
def fickle(embedder: Embedder) -> Fickle:
    """An embedder that can be made to fail."""
    assert hasattr(embedder, "embedder")
    return Fickle(embedder)


@pytest.fixture(scope="module")
async def api(settings: Settings, fickle: Fickle) -> AsyncIterator[Api]:
    """One running API for all tests of this file."""
    async with serving(settings, fickle) as running:
        yield running


@pytest.fixture(scope="module")
async def caller(api: Api) -> httpx.AsyncClient:
    """Somebody with a key of all scopes."""
    return await api.caller()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are counted whenever they are asked for."""
    monkeypatch.setattr(Overview, "KEPT", 0.0)


Figures = dict[str, float]


def read(text: str) -> Figures:
    """Every figure, by its name and labels as Prometheus writes them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def scrape(caller: httpx.AsyncClient) -> Figures:
    answer = await caller.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == CONTENT_TYPE
    return read(answer.text)


class Moved:
    """How far each figure has moved since the beginning."""

    def __init__(self, caller: httpx.AsyncClient, before: Figures) -> None:
        self._caller = caller
        self._before = before

    async def by(self) -> Figures:
        now = await scrape(self._caller)
        return {name: value - self._before.get(name, 0.0) for name, value in now.items()}


@pytest.fixture
async def moved(caller: httpx.AsyncClient) -> Moved:
    return Moved(caller, await scrape(caller))


def http(method: str, route: str, status: str) -> str:
    return f"reverie_http_request_seconds_count{{method={method},route={route},status={status}}}"


async def test_requests_by_route_and_status(api: Api, caller: httpx.AsyncClient, moved: Moved) -> None:
    for _ in range(3):
        await caller.get("/memory/users")
    await caller.get("/v1/memory/users")
    await caller.get("/memory/users", params={"colour": "blue"})
    await caller.get(f"/memory/{MARKER}")
    await caller.head("/health/live")
    by = await moved.by()
    assert by[http("GET", "/memory/users", "2xx")] == 4
    assert by[http("GET", "/memory/users", "4xx")] == 1
    assert by[http("GET", "none", "4xx")] == 1
    assert by[http("HEAD", "/health/live", "2xx")] == 1
    assert not [name for name in by if MARKER in name]
    seconds = "reverie_http_request_seconds_sum{method=GET,route=/memory/users,status=2xx}"
    assert 0 < by[seconds] < 60
    assert by["reverie_http_requests_running{}"] == 0


async def test_refused_requests(api: Api, moved: Moved) -> None:
    await api.client().get("/memory/users")
    await (await api.caller(scopes=["read"])).get("/keys")
    by = await moved.by()
    assert by["reverie_http_refused_total{status=401}"] == 1
    assert by["reverie_http_refused_total{status=403}"] == 1
    assert "reverie_http_refused_total{status=422}" not in by


async def test_requests_that_run_and_wait(api: Api, caller: httpx.AsyncClient, fickle: Fickle) -> None:
    body = {"user_id": "waits", "traces": [{"content": "One."}, {"content": "Two."}]}
    with fickle.held() as arrived:
        waiting = asyncio.create_task(caller.post("/memory/remember", json=body))
        assert await asyncio.to_thread(arrived)
        now = await scrape(caller)
        assert now["reverie_http_requests_running{}"] == 2  # it and the question itself
        assert now["reverie_encoder_waiting{kind=documents}"] == 2
        assert now["reverie_encoder_waiting{kind=questions}"] == 0
    assert (await waiting).status_code == 201
    now = await scrape(caller)
    assert now["reverie_http_requests_running{}"] == 1
    assert now["reverie_encoder_waiting{kind=documents}"] == 0
    lanes = {name for name in now if name.startswith("reverie_http_requests_waiting")}
    assert lanes == {f"reverie_http_requests_waiting{{lane={name}}}" for name in api.app.state.gate.lanes}


async def test_the_stages_of_a_recall_and_what_it_encodes(api: Api, caller: httpx.AsyncClient, moved: Moved) -> None:
    body = {
        "user_id": "stages",
        "traces": [{"content": "The lighthouse is red."}, {"content": "The cat is called Miso."}],
    }
    assert (await caller.post("/memory/remember", json=body)).status_code == 201
    question = {"user_id": "stages", "q": "Which colour has the lighthouse?", "explain": "true"}
    answer = (await caller.get("/memory/recall", params=question)).json()
    by = await moved.by()
    stages = {name for name in by if name.startswith("reverie_recall_stage_seconds_count")}
    assert stages == {f"reverie_recall_stage_seconds_count{{stage={stage}}}" for stage in answer["explain"]["stages"]}
    assert {by[stage] for stage in stages} == {1}
    arms = by["reverie_recall_stage_seconds_sum{stage=arms}"]
    assert arms == pytest.approx(answer["explain"]["stages"]["arms"] / 1000)
    assert by["reverie_encoder_texts_total{kind=documents}"] == 2
    assert by["reverie_encoder_texts_total{kind=questions}"] == 1
    assert by["reverie_encoder_batch_seconds_count{kind=questions}"] == 1
    assert by["reverie_encoder_batch_seconds_sum{kind=documents}"] > 0
    assert by.get("reverie_recall_arms_failed_total{arm=semantic}", 0) == 0


async def test_an_arm_that_fails(caller: httpx.AsyncClient, fickle: Fickle, moved: Moved) -> None:
    with fickle.failing("out"):
        answer = await caller.get("/memory/recall", params={"user_id": "stages", "q": "lighthouse"})
    assert answer.json()["degraded"] == ["semantic"]
    by = await moved.by()
    assert by["reverie_recall_arms_failed_total{arm=semantic}"] == 1
    assert by.get("reverie_recall_arms_failed_total{arm=lexical}", 0) == 0


async def test_an_encoder_that_has_too_much_to_do(
    api: Api, caller: httpx.AsyncClient, moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.embedding.queues.MOST_QUESTIONS", 0)
    answer = await caller.get("/memory/recall", params={"user_id": "stages", "q": "lighthouse"})
    assert answer.json()["degraded"] == ["semantic"]
    assert (await moved.by())["reverie_encoder_refused_total{kind=questions}"] == 1


async def test_redis_that_is_gone(settings: Settings, fickle: Fickle) -> None:
    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with serving(nowhere, fickle) as running:
        caller = await running.caller()
        body = {"user_id": "gone", "traces": [{"content": "Without Redis."}]}
        assert (await caller.post("/memory/remember", json=body)).status_code == 201
        found = await scrape(caller)
        errors = {name: value for name, value in found.items() if name.startswith("reverie_redis_errors_total")}
        assert sum(errors.values()) == running.app.state.metrics._sources.redis().total() > 0
        assert "reverie_redis_errors_total{part=focus.add}" in errors


async def test_operations_by_state(settings: Settings, caller: httpx.AsyncClient, moved: Moved) -> None:
    body = {"user_id": "later", "traces": [{"content": "Later."}]}
    assert (await caller.post("/memory/remember", params={"wait": "false"}, json=body)).status_code == 202
    with psycopg.connect(str(settings.database_url), autocommit=True) as owner:
        owner.execute(
            "INSERT INTO operation (id, space_id, kind, state, created_at, finished_at) "
            "SELECT gen_random_uuid(), id, 'embed', 'failed', now(), now() FROM space LIMIT 1"
        )
    by = await moved.by()
    assert by["reverie_operations{state=pending}"] == 1
    assert by["reverie_operations{state=failed}"] == 1
    assert by["reverie_operations{state=running}"] == 0
    assert (await scrape(caller))["reverie_operations_oldest_pending_seconds{}"] > 0


async def test_operations_are_counted_once_in_a_while(
    caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scrape(caller)
    monkeypatch.setattr(Overview, "KEPT", 1000.0)
    before = (await scrape(caller))["reverie_operations{state=pending}"]
    body = {"user_id": "later still", "traces": [{"content": "Later still."}]}
    assert (await caller.post("/memory/remember", params={"wait": "false"}, json=body)).status_code == 202
    assert (await scrape(caller))["reverie_operations{state=pending}"] == before
    monkeypatch.setattr(Overview, "KEPT", 0.0)
    assert (await scrape(caller))["reverie_operations{state=pending}"] == before + 1


async def test_the_pool(api: Api, caller: httpx.AsyncClient, settings: Settings, moved: Moved) -> None:
    await caller.get("/memory/users")
    by = await moved.by()
    assert by["reverie_pool_events_total{event=taken}"] >= 1
    database = api.app.state.database
    async with database.writing(None), database.writing(None):
        now = await scrape(caller)
        assert now["reverie_pool_connections{state=busy}"] >= 2
    open_ones = now["reverie_pool_connections{state=busy}"] + now["reverie_pool_connections{state=idle}"]
    assert 2 <= open_ones <= settings.database_pool_size
    assert now["reverie_pool_waiting{}"] == 0


async def test_two_applications_in_one_process_count_apart(
    api: Api, caller: httpx.AsyncClient, settings: Settings, fickle: Fickle, moved: Moved
) -> None:
    async with serving(settings, fickle) as other:
        stranger = await other.caller()
        for _ in range(5):
            await stranger.get("/memory/users")
        assert (await scrape(stranger))[http("GET", "/memory/users", "2xx")] == 5
    assert (await moved.by()).get(http("GET", "/memory/users", "2xx"), 0) == 0


async def test_what_is_said_is_what_prometheus_reads(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert {name for name in families if not name.startswith("reverie_")} == set()
    assert all(family.documentation for family in families.values())
    assert "_created" not in answer.text
    assert families["reverie_process_resident_memory_bytes"].samples[0].value > 1e6
    [build] = families["reverie_build_info"].samples
    assert build.labels.keys() == {"version"}


def sources(**pool: int) -> Sources:
    return Sources(pool=lambda: pool, redis=dict, questions=lambda: 0, documents=lambda: 0)


def test_a_source_that_begins_anew_is_added() -> None:
    made = Metrics()
    pool = {"requests_num": 7, "requests_wait_ms": 1500}
    made.follow(Sources(pool=lambda: pool, redis=dict, questions=lambda: 0, documents=lambda: 0))
    taken = "reverie_pool_events_total{event=taken}"
    assert read(made.render().decode())[taken] == 7
    assert read(made.render().decode())[taken] == 7
    pool.update(requests_num=9)
    assert read(made.render().decode())[taken] == 9
    pool.update(requests_num=2, requests_wait_ms=0)
    found = read(made.render().decode())
    assert found[taken] == 11
    assert found["reverie_pool_wait_seconds_total{}"] == 1.5


async def test_a_process_without_requests_serves_its_own() -> None:
    made = Metrics()
    made.follow(sources(requests_num=3))
    with made.served("127.0.0.1", 0) as port:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
        with pytest.raises(StartError, match="REVERIE_WORKER_METRICS_PORT"), made.served("127.0.0.1", port):
            pass
    assert read(answer.text)["reverie_pool_events_total{event=taken}"] == 3


def test_the_folder_of_several_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with shared_folder():
        made = Path(os.environ[FOLDER])
        assert made.is_dir()
        assert made.stat().st_mode & 0o077 == 0
    assert FOLDER not in os.environ
    assert not made.exists()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with shared_folder():
        assert os.environ[FOLDER] == str(tmp_path)
    assert os.environ[FOLDER] == str(tmp_path)


COUNTING = """
import os, signal, sys
from reverie.core.metrics import Metrics
made = Metrics()
made.request("GET", "/memory/users", 200, 0.002)
made.running = 3
made.refresh()
print("counted", flush=True)
sys.stdin.read()
"""
"""A process that counts one request, and three that run, until its standard input ends."""


def test_what_a_killed_process_held_is_gone_and_what_it_counted_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], FOLDER: str(tmp_path)}
    command = [sys.executable, "-c", COUNTING]
    with (
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one,  # noqa: S603
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,  # noqa: S603
    ):
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == b"counted\n"
        monkeypatch.setenv(FOLDER, str(tmp_path))
        both = read(Metrics().render().decode())
        one.kill()
        one.wait()
        left = read(Metrics().render().decode())
    requests = http("GET", "/memory/users", "2xx")
    assert (both[requests], left[requests]) == (2, 2)
    assert (both["reverie_http_requests_running{}"], left["reverie_http_requests_running{}"]) == (6, 3)


@asynccontextmanager
async def running(settings: Settings, log: Path, *arguments: str, **changes: str) -> AsyncIterator[Process]:
    """One of our commands as a process tree of its own; what it says goes to a file. It ends with the block."""
    told = environment(settings, REVERIE_HOME=str(log.parent), REVERIE_LOG_LEVEL="debug", **changes)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "reverie", *arguments, env=told, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition: Any, log: Path) -> Any:
    """What the condition (awaited) answers once it is true."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            if answer := await condition():
                return answer
        except httpx.TransportError:
            pass
        assert asyncio.get_running_loop().time() < deadline, await asyncio.to_thread(log.read_text)
        await asyncio.sleep(0.1)


async def test_several_processes_count_as_one_and_their_logs_hold_no_content(
    api: Api, settings: Settings, tmp_path: Path
) -> None:
    key = await api.key()
    port, log = free_port(), tmp_path / "api.log"
    count = 24

    async with (
        # Each request on a connection of its own, so that any process may take it.
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            trust_env=False,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
        running(settings, log, "api", "--workers", "2", "--port", str(port)) as parent,
    ):
        pids: set[int] = set()

        async def both() -> bool:
            answers = await asyncio.gather(*(client.get("/admin/status") for _ in range(8)))
            pids.update(answer.json()["pid"] for answer in answers)
            return len(pids) == 2

        await until(both, log)
        body = {"user_id": "many", "traces": [{"content": f"{MARKER} {n}", "meta": {"of": MARKER}} for n in range(3)]}
        assert (await client.post("/memory/remember", json=body)).status_code == 201
        questions = [{"user_id": "many", "q": f"{MARKER} {n}"} for n in range(count)]
        for answer in await asyncio.gather(*(client.get("/memory/recall", params=one) for one in questions)):
            assert len(answer.json()["results"]) == 3
        assert (await client.post("/memory/remember", content=f'{{"{MARKER}"')).status_code == 400
        assert (await client.get(f"/memory/{MARKER}", params={"q": MARKER})).status_code == 404

        async def counted() -> bool:
            found = read((await client.get("/metrics")).text)
            return found.get(http("GET", "/memory/recall", "2xx")) == count

        await until(counted, log)
        # Whoever answers: everything is counted, and no figure is told per process.
        for answer in await asyncio.gather(*(client.get("/metrics") for _ in range(10))):
            found = read(answer.text)
            assert found[http("GET", "/memory/recall", "2xx")] == count
            assert found["reverie_recall_stage_seconds_count{stage=fuse}"] == count
            assert "pid=" not in str(found.keys())
    assert parent.returncode == 0, log.read_text()
    said = log.read_text()
    assert said.count('"route":"/memory/recall"') == count
    assert MARKER not in said
    assert key not in said
    assert re.search(r"rv_[0-9a-f]{8}_", said) is None
    assert [line for line in said.splitlines() if not line.startswith("{")] == []


async def test_the_worker_serves_its_own_and_shows_itself(
    api: Api, caller: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "worker.log"
    async with running(settings, log, "worker", REVERIE_WORKER_METRICS_PORT=str(port)) as worker:
        body = {"user_id": "worker", "traces": [{"content": f"{MARKER} {n}"} for n in range(4)]}
        answer = await caller.post("/memory/remember", params={"wait": "false"}, json=body)
        assert answer.status_code == 202

        async def encoded() -> bool:
            async with httpx.AsyncClient(trust_env=False) as client:
                found = read((await client.get(f"http://127.0.0.1:{port}/metrics")).text)
            return found.get("reverie_encoder_texts_total{kind=documents}", 0) >= 4

        await until(encoded, log)

        async def seen() -> bool:
            found = (await caller.get("/admin/status")).json()
            return bool(found["parts"]["worker"]["status"] == "up" and found["queue"]["pending"] == 0)

        await until(seen, log)
    assert worker.returncode == 0
    said = log.read_text()
    assert MARKER not in said
    assert [line for line in said.splitlines() if not line.startswith("{")] == []


def test_what_may_fail_is_at_zero_before_it_does() -> None:
    found = read(Metrics().render().decode())
    begun = {
        "reverie_http_refused_total": ("status", ("401", "403", "413", "414", "429", "431", "503")),
        "reverie_recall_arms_failed_total": ("arm", ("semantic", "dated", "lexical", "focus", "edges")),
        "reverie_redis_errors_total": (
            "part",
            (
                "focus.add",
                "focus.read",
                "focus.remove",
                "focus.count",
                "focus.drop",
                "bell",
                "worker",
                "status",
                "ping",
            ),
        ),
        "reverie_encoder_refused_total": ("kind", ("questions", "documents")),
    }
    wanted = {f"{name}{{{label}={value}}}": 0.0 for name, (label, values) in begun.items() for value in values}
    assert {name: value for name, value in found.items() if name.split("{")[0] in begun} == wanted


def test_names_keep_to_prometheus_customs() -> None:
    made = Metrics()
    made.follow(sources())
    for family in text_string_to_metric_families(made.render(figures.operations({"pending": 1}, 0.0)).decode()):
        assert family.type in ("counter", "gauge", "histogram"), family.name
        assert family.type == "counter" or not family.name.endswith("_total")
        assert not family.name.endswith(("_ms", "_milliseconds"))
