"""Logs and requests: one shape for every line, an id for every request, and nothing of what was remembered."""

import asyncio
import json
import logging
import os
import pty
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog
from structlog.testing import CapturingLogger
from tests.conftest import Api, serving

from reverie.core import http, telemetry
from reverie.core.config import load_settings
from reverie.core.errors import Invalid
from reverie.core.metrics import Metrics
from reverie.core.telemetry import NO_ROUTE, Requests, configure_logging, described, reason, request_id
from reverie.embedding.protocol import Embedder

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


@pytest.fixture(scope="module")
async def api(postgres: "SharedPostgres", template: str, redis_url: str, embedder: Embedder) -> AsyncIterator[Api]:
    """One running API for all tests of this file."""
    name = f"telemetry_{os.getpid()}"
    url = postgres.create(name, template)
    async with serving(load_settings(database_url=url, redis_url=redis_url, database_pool_size=4), embedder) as running:
        yield running
    postgres.drop(name)


class Lines:
    """What was logged, with what was bound to the request."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        self.all.append({name: value for name, value in event.items() if name != "timestamp"})
        return ""

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.all if line["event"] == "request"]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The lines of requests and of their faults, at debug."""
    made = Lines()
    logger = structlog.wrap_logger(
        CapturingLogger(),
        processors=[*telemetry.PROCESSORS, made],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    for module in (telemetry, http):
        monkeypatch.setattr(module, "log", logger)
    return made


async def test_a_request_leaves_one_line(api: Api, lines: Lines) -> None:
    caller = await api.caller("readers")
    space = str(await api.app.state.keys.ensure_space("readers"))
    answer = await caller.get("/memory/recall", params={"user_id": "nora", "q": "a question of mine"})
    [line] = lines.requests
    assert 0 < line.pop("ms") < 60_000
    assert line == {
        "event": "request",
        "level": "info",
        "method": "GET",
        "route": "/memory/recall",
        "status": 200,
        "space": space,
        "request_id": answer.headers["x-request-id"],
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "status", "level"),
    [
        ("GET", "/memory/traces/01a1fddb-393c-7000-82f4-73c3e19d01e8", "/memory/traces/{trace_id}", 422, "info"),
        ("GET", "/v1/memory/traces/01a1fddb-393c-7000-82f4-73c3e19d01e8", "/memory/traces/{trace_id}", 422, "info"),
        ("PUT", "/memory/users", "/memory/users", 405, "info"),
        ("HEAD", "/memory/users", "/memory/users", 200, "info"),
        ("GET", "/memory/where/is/it", NO_ROUTE, 404, "info"),
        ("POST", "/memory/recall", "/memory/recall", 400, "info"),
        ("GET", "/health/live", "/health/live", 200, "debug"),
        ("HEAD", "/v1/health/ready", "/health/ready", 200, "debug"),
        ("GET", "/metrics", "/metrics", 200, "debug"),
        ("GET", "/admin/status", "/admin/status", 200, "info"),
    ],
)
async def test_the_line_names_the_route_and_not_the_path(
    api: Api, lines: Lines, method: str, path: str, route: str, status: int, level: str
) -> None:
    answer = await (await api.caller()).request(method, path)
    assert answer.status_code == status, answer.text
    [line] = lines.requests
    assert (line["method"], line["route"], line["status"], line["level"]) == (method, route, status, level)


async def test_the_space_is_told_of_whoever_is_known(api: Api, lines: Lines) -> None:
    poor = await api.caller("poor", ["read"])
    space = str(await api.app.state.keys.ensure_space("poor"))
    assert (await poor.get("/keys")).status_code == 403
    assert (await api.client().get("/keys")).status_code == 401
    assert (await api.client("rv_00000000_nobody").get("/keys")).status_code == 401
    assert [line.get("space") for line in lines.requests] == [space, None, None]


SANE = ["a", "7f3c", "req-1/2:3@x=y+z~", "Root=1-67891233-abcdef012345678912345678", "x" * 128]
INSANE = [
    b"",
    b"x" * 129,
    b"two words",
    b'quo"ted',
    b"back\\slash",
    "h\u00f6he".encode(),
    b"tab\t",
    b"\x1b[31m",
    b"rv_1_2",
]


@pytest.mark.parametrize("given", SANE)
async def test_a_sane_id_of_the_caller_is_taken_over(api: Api, lines: Lines, given: str) -> None:
    answer = await api.client().get("/health/live", headers={"X-Request-ID": given})
    assert answer.headers.get_list("x-request-id") == [given]
    assert [line["request_id"] for line in lines.requests] == [given]


@pytest.mark.parametrize("given", INSANE)
def test_an_insane_one_is_not(given: bytes) -> None:
    made = request_id([(b"host", b"x"), (b"x-request-id", given)])
    assert made != given
    assert len(made) == 16
    assert made.isalnum()


def test_ids_of_our_own_differ() -> None:
    assert len({request_id([]) for _ in range(1000)}) == 1000


async def test_an_insane_id_is_not_echoed(api: Api, lines: Lines) -> None:
    answer = await api.client().get("/health/live", headers={"X-Request-ID": "rv_0f_secret"})
    assert "secret" not in str(answer.headers)
    assert "secret" not in str(lines.all)


async def ask(app: Any, method: str = "GET") -> list[dict[str, Any]]:
    """What an application answers to a request."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    await app({"type": "http", "method": method, "path": "/x", "headers": []}, receive, send)
    return sent


async def test_a_fault_of_ours_has_an_id_and_is_logged_once(
    api: Api, lines: Lines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def breaks(*_: Any) -> None:
        raise ValueError("the text that was remembered")

    caller = await api.caller()
    monkeypatch.setattr(type(api.app.state.recall), "recall", breaks)
    answer = await caller.get("/memory/recall", params={"user_id": "u", "q": "q"}, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["content-type"] == "application/problem+json"
    [line] = lines.requests
    assert (line["status"], line["request_id"], line["route"]) == (500, "mine", "/memory/recall")
    [fault] = [line for line in lines.all if line["event"] != "request"]
    assert (fault["request_id"], fault["level"]) == ("mine", "error")
    assert "test_telemetry.py" in fault["exception"]
    assert fault["exception"].endswith("ValueError")
    assert "remembered" not in str(lines.all) + answer.text + capsys.readouterr().err


async def test_what_breaks_in_the_middle_of_an_answer_is_not_hidden(lines: Lines) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        await ask(Requests(app, Metrics()))
    assert [line["status"] for line in lines.requests] == [200]


async def test_a_caller_who_left_is_told_of(lines: Lines) -> None:
    arrived = asyncio.Event()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    metrics = Metrics()
    task = asyncio.create_task(ask(Requests(app, metrics), "BREW"))
    await arrived.wait()
    assert metrics.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(line["status"], line["method"]) for line in lines.requests] == [(499, "OTHER")]
    assert metrics.running == 0


async def test_nothing_of_one_request_clings_to_the_next(api: Api, lines: Lines) -> None:
    caller = await api.caller()
    await caller.get("/memory/users", headers={"X-Request-ID": "first"})
    await api.client().get("/health/live")
    assert structlog.contextvars.get_contextvars() == {}
    first, second = lines.requests
    assert first["request_id"] == "first"
    assert second["request_id"] != "first"
    assert "space" not in second


async def test_it_costs_next_to_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processor time of a request with everything, its line written too, against one without."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(_message: Any) -> None:
        return

    async def seconds(one: Any) -> float:
        began = time.process_time()
        for _ in range(2000):
            await one({"type": "http", "method": "GET", "path": "/x", "headers": []}, None, send)
        return (time.process_time() - began) / 2000

    watched = Requests(app, Metrics())
    bare, whole = [], []
    with (tmp_path / "log").open("w") as file:
        logger = structlog.wrap_logger(
            structlog.WriteLogger(file),
            processors=[*telemetry.PROCESSORS, structlog.processors.JSONRenderer(serializer=telemetry._json)],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        )
        monkeypatch.setattr(telemetry, "log", logger.bind())
        for _ in range(5):
            bare.append(await seconds(app))
            whole.append(await seconds(watched))
    assert (tmp_path / "log").read_text().count("\n") == 10_000
    assert min(whole) - min(bare) < 100e-6


class TestWhatErrorsSay:
    """Where and what kind, never what was remembered."""

    def raised(self, error: Exception, cause: Exception | None = None) -> Exception:
        try:
            remembered = "marzipan"
            assert remembered
            raise error from cause  # noqa: TRY301 - so that it has a traceback
        except Exception as caught:  # noqa: BLE001 - whatever it is, it is looked at
            return caught

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (RuntimeError("the sweeper fell over"), "the sweeper fell over"),
            (Invalid("k takes a number."), "k takes a number."),
            (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
            (psycopg.OperationalError("no connection\nDETAIL: marzipan"), "no connection"),
            (psycopg.errors.UniqueViolation("duplicate key\nDETAIL: (marzipan) exists"), "duplicate key"),
            (psycopg.errors.InvalidTextRepresentation('invalid input: "marzipan"'), None),
            (psycopg.DataError("marzipan"), "marzipan"),
            (ValueError("marzipan"), None),
            (KeyError("marzipan"), None),
            (UnicodeEncodeError("utf-8", "marzipan", 0, 1, "surrogates"), None),
        ],
    )
    def test_a_message_is_shown_where_it_can_quote_nothing(self, error: BaseException, said: str | None) -> None:
        assert reason(error) == said

    def test_the_way_there_is_shown_without_values(self) -> None:
        cause = self.raised(KeyError("marzipan"))
        shown = described(self.raised(RuntimeError("it fell over"), cause))
        assert "test_telemetry.py" in shown
        assert "raised" in shown
        assert shown.index("KeyError") < shown.index("which led to") < shown.index("RuntimeError: it fell over")
        assert "marzipan" not in shown

    def test_of_a_group_all_are_shown(self) -> None:
        shown = described(ExceptionGroup("two", [self.raised(ValueError("marzipan")), OSError("no disk")]))
        assert "1. " in shown
        assert "ValueError" in shown
        assert "OSError: no disk" in shown
        assert "marzipan" not in shown


@pytest.fixture
def configured() -> Iterator[None]:
    """Leaves the logs of the process as they were."""
    root, ours = logging.getLogger(), logging.getLogger("reverie")
    before = (list(root.handlers), root.level, ours.level, structlog.get_config())
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    structlog.configure(**before[3])


@pytest.mark.usefixtures("configured")
class TestShape:
    """One shape for the lines of a process, whoever writes them."""

    def said(self, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    def test_ours_and_those_of_libraries_are_alike(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("info")
        structlog.get_logger("reverie.x").warning("redis failed", what="ping")
        logging.getLogger("psycopg.pool").warning("error connecting in %r", "pool-1")
        # Not uvicorn's, which a server of another test may have set up in its own way.
        logging.getLogger("arq.worker").error("job failed", exc_info=ValueError("marzipan"))
        ours, pool, worker = self.said(capsys)
        assert {"event", "level", "timestamp"} <= ours.keys() & pool.keys() & worker.keys()
        assert (ours["event"], ours["what"], ours["level"]) == ("redis failed", "ping", "warning")
        assert (pool["event"], pool["logger"]) == ("error connecting in 'pool-1'", "psycopg.pool")
        assert (worker["exception"], worker["level"]) == ("ValueError", "error")

    def test_a_line_of_a_library_knows_the_request(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("info")
        with structlog.contextvars.bound_contextvars(request_id="mine"):
            logging.getLogger("psycopg.pool").warning("slow")
        assert self.said(capsys)[0]["request_id"] == "mine"

    def test_libraries_are_heard_from_warning_on_and_we_from_the_level(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging("debug")
        structlog.get_logger("reverie.x").debug("ours")
        logging.getLogger("reverie.embedding.encoder").debug("ours too")
        logging.getLogger("httpx").info("HTTP Request: POST https://user:secret@example.org")
        logging.getLogger("arq.worker").info("job done")
        assert [line["event"] for line in self.said(capsys)] == ["ours", "ours too"]
        configure_logging("error")
        logging.getLogger("psycopg.pool").warning("a warning")
        logging.getLogger("reverie.embedding.encoder").warning("another")
        assert self.said(capsys) == []

    def test_configured_twice_a_line_comes_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("info")
        configure_logging("info")
        logging.getLogger("redis").error("once")
        assert len(self.said(capsys)) == 1

    def test_what_json_has_no_word_for_is_written_all_the_same(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("info")
        structlog.get_logger("reverie.x").info("odd", where={1: object}, raw=b"bytes", lone="\ud800")
        [line] = self.said(capsys)
        assert line["event"] == "odd"


def test_on_a_terminal_lines_are_for_people() -> None:
    code = (
        "import structlog\n"
        "from reverie.core.telemetry import configure_logging\n"
        "configure_logging('info')\n"
        "try:\n"
        "    remembered = 'marzipan'\n"
        "    raise ValueError(remembered)\n"
        "except ValueError as error:\n"
        "    structlog.get_logger('reverie.x').error('it broke', exc_info=error)\n"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=60)  # noqa: S603
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert "it broke" in said
    assert "ValueError" in said
    assert not said.startswith("{")
    # The source line of the frame is not shown, nor the locals, nor the message.
    assert "marzipan" not in said


async def test_the_id_is_in_every_answer(api: Api) -> None:
    client = api.client()
    for path in ("/", "/health/live", "/openapi.json", "/memory/users"):
        assert len((await client.get(path)).headers["x-request-id"]) == 16
