"""What is let in, what waits, and what is refused: by counting and by order, never by the clock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.contracts.house import assert_problem
from tests.waiting import until

from reverie.core.admission import GRACE_IS_OVER, Admission, Gate, Lane
from reverie.core.config import load_settings
from reverie.core.errors import Busy, SettingsError, TooManyRequests

MIB = 1024 * 1024


def lane(most: int = 1, most_waiting: int = 4, seconds: float = 60.0) -> Lane:
    return Lane("test", most, most_waiting, seconds)


async def waiting(lane: Lane, *callers: bytes) -> "list[asyncio.Task[None]]":
    """Lets callers wait, in this order."""
    tasks = []
    for caller in callers:
        tasks.append(asyncio.create_task(lane.wait(caller), name=caller.decode()))
        await asyncio.sleep(0)
    return tasks


async def served(lane: Lane, tasks: "list[asyncio.Task[None]]") -> list[str]:
    """Frees one place after another; who gets it, in order."""
    order: list[str] = []
    while lane.working:
        before = {task for task in tasks if task.done()}
        lane.leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        order += [task.get_name() for task in tasks if task.done() and task not in before]
    return order


async def test_so_many_work_and_so_many_wait() -> None:
    two = lane(most=2, most_waiting=3)
    assert [two.step_in() for _ in range(3)] == [True, True, False]
    tasks = await waiting(two, b"a", b"b", b"c")
    assert (two.working, two.waiting) == (2, 3)
    with pytest.raises(Busy) as refused:
        await two.wait(b"d")
    assert refused.value.headers["Retry-After"]
    assert two.refused == {503: 1}
    assert await served(two, tasks) == ["a", "b", "c"]
    assert (two.working, two.waiting) == (0, 0)


async def test_callers_take_turns() -> None:
    one = lane(most_waiting=10)
    assert one.step_in()
    tasks = await waiting(one, b"a", b"a", b"a", b"a", b"b", b"c", b"b")
    assert await served(one, tasks) == ["a", "b", "c", "a", "b", "a", "a"]


async def test_who_has_most_waiting_makes_room_for_others() -> None:
    one = lane(most_waiting=4)
    assert one.step_in()
    first = await waiting(one, b"a", b"a", b"a", b"a")
    # Alone it is told that the service is busy, beside others that it sends too much.
    with pytest.raises(Busy):
        await one.wait(b"a")
    others = await waiting(one, b"b", b"c")
    refused = await asyncio.gather(*first[2:], return_exceptions=True)
    assert [type(error) for error in refused] == [TooManyRequests] * 2
    assert [task.done() for task in first] == [False, False, True, True]
    with pytest.raises(TooManyRequests):
        await one.wait(b"a")
    # Nobody has two more than this one would have.
    with pytest.raises(Busy):
        await one.wait(b"b")
    assert one.waiting == 4
    assert await served(one, [*first[:2], *others]) == ["a", "b", "c", "a"]
    assert one.refused == {503: 2, 429: 3}


async def test_nobody_waits_for_ever() -> None:
    one = lane(seconds=0.01)
    assert one.step_in()
    with pytest.raises(Busy):
        await one.wait(b"a")
    assert (one.working, one.waiting) == (1, 0)
    one.leave()
    assert one.working == 0


async def test_who_gives_up_is_passed_over() -> None:
    one = lane()
    assert one.step_in()
    gone, here = await waiting(one, b"a", b"b")
    gone.cancel()
    assert await served(one, [gone, here]) == ["a", "b"]
    assert gone.cancelled()
    assert (one.working, one.waiting) == (0, 0)


async def test_a_place_given_in_the_moment_of_giving_up_goes_to_the_next() -> None:
    one = lane()
    assert one.step_in()
    gone, here = await waiting(one, b"a", b"b")
    one.leave()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert gone.cancelled()
    await asyncio.wait_for(here, 10)
    assert (one.working, one.waiting) == (1, 0)
    one.leave()
    assert one.working == 0


async def test_without_places_to_wait_all_others_are_refused() -> None:
    one = lane(most_waiting=0)
    assert one.step_in()
    with pytest.raises(Busy):
        await one.wait(b"a")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/memory/recall", "recall"),
        ("POST", "/v1/memory/recall", "recall"),
        ("POST", "/memory/remember", "write"),
        ("PATCH", "/memory/traces/x", "write"),
        ("DELETE", "/v1/memory/traces/x", "write"),
        ("POST", "/memory/forget", "write"),
        ("GET", "/v1/memory/traces/x/related", "recall"),
        ("DELETE", "/memory/traces/x/related", "write"),
        ("GET", "/memory/traces/x", "other"),
        ("GET", "/memory/users/x/related", "other"),
        ("POST", "/memory/edges", "write"),
        ("GET", "/memory/traces", "other"),
        ("GET", "/operations/x", "other"),
        ("GET", "/memory/users", "other"),
        ("GET", "/v1/memory/users/a/b/export", "export"),
        ("POST", "/keys", "other"),
        ("GET", "/health/ready", None),
        ("GET", "/v1/health/live", None),
        ("GET", "/metrics", None),
        ("GET", "/openapi.json", None),
    ],
)
def test_every_request_has_its_lane(method: str, path: str, name: str | None) -> None:
    found = Gate(load_settings()).lane_of(method, path)
    assert (found.name if found else None) == name


def test_one_body_of_the_largest_size_always_fits() -> None:
    with pytest.raises(SettingsError, match="REVERIE_MAX_HELD_BYTES takes at least 8/7 of REVERIE_MAX_BODY_BYTES"):
        load_settings(reverie_max_held_bytes=MIB, reverie_max_body_bytes=2 * MIB)


class Kitchen:
    """An application whose every request takes as long as it is told, behind a gate of its own."""

    def __init__(self, **settings: Any) -> None:
        self.gate = Gate(load_settings(**settings))
        self.app = Admission(self._serve, self.gate)
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.go_on = asyncio.Event()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["query_string"].decode()
        self.begun.append(name)
        try:
            body = (await receive())["body"]
            await self.go_on.wait()
        finally:
            self.ended.append(name)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def ask(self, path: str, key: str | None = "k", **arguments: Any) -> "asyncio.Task[httpx.Response]":
        """Begins a request; POST where it has content."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            headers = {"X-API-Key": key} if key else {}
            async with httpx.AsyncClient(transport=transport, base_url="http://reverie.test", headers=headers) as http:
                return await http.request("POST" if "content" in arguments else "GET", path, **arguments)

        return asyncio.create_task(send())


async def test_a_full_lane_refuses_at_once_and_leaves_the_others_alone() -> None:
    kitchen = Kitchen(reverie_max_writes=1, reverie_max_waiting=1)
    write = kitchen.gate.lanes["write"]
    tasks = [kitchen.ask(f"/memory/remember?{n}", content=b"{}") for n in range(2)]
    await until(lambda: (write.working, write.waiting) == (1, 1))
    refused = await kitchen.ask("/memory/remember?2", content=b"{}")
    assert "try again" in assert_problem(refused, 503)
    assert int(refused.headers["Retry-After"]) >= 1
    question = kitchen.ask("/memory/recall?q")
    health = kitchen.ask("/health/live")
    stranger = kitchen.ask("/memory/remember?stranger", key=None, content=b"{}")
    await until(lambda: len(kitchen.begun) == 4)
    kitchen.go_on.set()
    answers = await asyncio.gather(*tasks, question, health, stranger)
    assert [answer.status_code for answer in answers] == [200] * 5
    assert "2" not in kitchen.begun
    assert all((one.working, one.waiting) == (0, 0) for one in kitchen.gate.lanes.values())
    assert kitchen.gate.held == 0


async def test_bodies_together_are_bounded() -> None:
    kitchen = Kitchen(reverie_max_held_bytes=8 * MIB, reverie_max_body_bytes=4 * MIB)
    tasks = [kitchen.ask(f"/memory/remember?{n}", content=b" " * size) for n, size in enumerate((4 * MIB, 3 * MIB))]
    await until(lambda: len(kitchen.begun) == 2)
    assert kitchen.gate.held == 7 * MIB
    assert "too large for now" in assert_problem(await kitchen.ask("/memory/remember?2", content=b" " * MIB), 503)
    assert kitchen.gate.refused == {503: 1}
    # An eighth is left to what is small, a question above all.
    small = kitchen.ask("/memory/recall", content=b"{}")
    await until(lambda: len(kitchen.begun) == 3)
    kitchen.go_on.set()
    assert (await small).status_code == 200
    assert [len((await task).content) for task in tasks] == [4 * MIB, 3 * MIB]
    assert kitchen.gate.held == 0
    assert (await kitchen.ask("/memory/remember?3", content=b"x" * MIB)).status_code == 200


async def test_what_came_fast_buys_no_silence() -> None:
    kitchen = Kitchen(reverie_body_seconds=0.3)

    async def then_nothing() -> AsyncIterator[bytes]:
        yield b" " * MIB
        await asyncio.sleep(60)

    async with asyncio.timeout(20):
        assert_problem(await kitchen.ask("/memory/remember", content=then_nothing()), 408)
    assert kitchen.gate.held == 0


async def test_a_caller_is_the_key_that_is_looked_at() -> None:
    kitchen = Kitchen(reverie_max_writes=1, reverie_max_waiting=1)
    write = kitchen.gate.lanes["write"]
    # A bearer token comes first, whatever stands beside it.
    asked = [
        kitchen.ask("/memory/remember", f"junk {n}", content=b"{}", headers={"Authorization": "Bearer one"})
        for n in range(2)
    ]
    await until(lambda: (write.working, write.waiting) == (1, 1))
    assert len(write._queues) == 1
    other = kitchen.ask("/memory/remember", "junk 3", content=b"{}", headers={"Authorization": "Bearer one"})
    assert (await other).status_code == 503
    kitchen.go_on.set()
    assert [(await one).status_code for one in asked] == [200, 200]


async def test_a_body_that_drips_takes_no_place_and_is_refused_in_the_end() -> None:
    kitchen = Kitchen(reverie_max_writes=1, reverie_max_waiting=0, reverie_body_seconds=0.3)

    async def drips() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    slow = [kitchen.ask(f"/memory/remember?{n}", content=drips()) for n in range(8)]
    await until(lambda: kitchen.gate.held >= 8)
    kitchen.go_on.set()
    assert (await kitchen.ask("/memory/remember?quick", content=b"{}")).status_code == 200
    for task in slow:
        answer = await task
        assert "did not arrive in time" in assert_problem(answer, 408)
        assert answer.headers["Connection"] == "close"
    assert kitchen.begun == ["quick"]
    assert kitchen.gate.refused == {408: 8}
    assert kitchen.gate.held == 0


async def test_a_large_body_that_comes_steadily_may_take_longer() -> None:
    kitchen = Kitchen(reverie_body_seconds=0.2)
    parts = 40

    async def steady() -> AsyncIterator[bytes]:
        for _ in range(parts):
            yield b" " * 16 * 1024
            await asyncio.sleep(0.02)

    kitchen.go_on.set()
    answer = await kitchen.ask("/memory/remember", content=steady())
    assert (answer.status_code, len(answer.content)) == (200, parts * 16 * 1024)


class Caller:
    """A caller as the server sees it, who can go away."""

    def __init__(self, path: str, body: bytes = b"") -> None:
        self.sent: list[Any] = []
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
        method = "POST" if body else "GET"
        headers = [(b"x-api-key", b"k")]
        self.scope = {"type": "http", "method": method, "path": path, "query_string": b"here", "headers": headers}

    def go_away(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    def ask(self, app: Callable[..., Awaitable[None]]) -> "asyncio.Task[None]":
        async def call() -> None:
            await app(self.scope, self._messages.get, self._send)

        return asyncio.create_task(call())

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


async def test_a_question_nobody_waits_for_is_given_up() -> None:
    kitchen = Kitchen()
    caller = Caller("/memory/recall")
    task = caller.ask(kitchen.app)
    await until(lambda: kitchen.begun == ["here"])
    caller.go_away()
    await asyncio.wait_for(task, 30)
    assert kitchen.ended == ["here"]
    assert caller.sent[0]["status"] == 499
    assert kitchen.gate.lanes["recall"].working == 0


async def test_a_write_is_finished_though_nobody_waits_for_it() -> None:
    kitchen = Kitchen()
    caller = Caller("/memory/remember", b"{}")
    task = caller.ask(kitchen.app)
    await until(lambda: kitchen.begun == ["here"])
    caller.go_away()
    for _ in range(10):
        await asyncio.sleep(0)
    assert kitchen.ended == []
    kitchen.go_on.set()
    await asyncio.wait_for(task, 30)
    assert kitchen.ended == ["here"]


async def test_who_goes_away_while_waiting_waits_no_more() -> None:
    kitchen = Kitchen(reverie_max_writes=1)
    write = kitchen.gate.lanes["write"]
    first = kitchen.ask("/memory/remember?first", content=b"{}")
    await until(lambda: write.working == 1)
    caller = Caller("/memory/remember", b"{}")
    task = caller.ask(kitchen.app)
    await until(lambda: write.waiting == 1)
    caller.go_away()
    await asyncio.wait_for(task, 30)
    assert write.waiting == 0
    kitchen.go_on.set()
    assert (await first).status_code == 200
    assert kitchen.begun == ["first"]


async def test_what_outlives_the_grace_of_the_process_is_told_so() -> None:
    kitchen = Kitchen()
    caller = Caller("/memory/remember", b"{}")
    task = caller.ask(kitchen.app)
    await until(lambda: kitchen.begun == ["here"])
    task.cancel(msg=GRACE_IS_OVER)
    await asyncio.wait_for(task, 30)
    assert caller.sent[0]["status"] == 503
    assert b"is being stopped" in caller.sent[1]["body"]
    assert kitchen.gate.held == 0


async def test_anybody_else_cancels_as_ever() -> None:
    kitchen = Kitchen()
    task = Caller("/memory/remember", b"{}").ask(kitchen.app)
    await until(lambda: kitchen.begun == ["here"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kitchen.gate.lanes["write"].working == 0
