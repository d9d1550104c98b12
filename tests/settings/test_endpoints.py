"""Endpoints that are not what they should be: what is said of each, and private ones that nobody allowed."""

import re
import socket
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.conftest import Api, serving
from tests.embedding import standin as vectors
from tests.language import standin as chat
from tests.settings.conftest import KEY, PATH, save, shown, until_in_force

from reverie.core import addresses
from reverie.core.config import Settings
from reverie.core.exchange import AsyncExchange, Exchange, Private, endpoint_url
from reverie.embedding.protocol import Embedder
from reverie.settings.schemas import Url

HTML = b"<!DOCTYPE html><html><body>Welcome!</body></html>"

FAULTS = {
    "HTML": (200, HTML, {}, "answered with a page for people (HTML) instead of JSON; check {section}.url."),
    "a redirect": (
        307, b"", {"Location": "http://127.0.0.1:9/v1"},
        "answered 307 Temporary Redirect, a redirect, and redirects are not followed: name the address that it leads",
    ),
    "a permanent redirect": (301, b"", {"Location": "/elsewhere"}, "answered 301 Moved Permanently, a redirect"),
    "a refused key": (401, b"{}", {}, "answered 401 Unauthorized; check {section}.api_key."),
    "nothing there": (404, HTML, {}, "answered 404 Not Found; check {section}.model and {section}.url"),
    "no JSON": (200, b"OK", {}, "check {section}.url"),
}  # fmt: skip
"""What an endpoint answers, and what is said of it."""


async def tried(client: httpx.AsyncClient, section: str, **given: Any) -> dict[str, Any]:
    """What becomes of trying one model."""
    answer = await client.post(f"{PATH}/test", json={section: given})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert [name for name, one in found.items() if one is not None] == [section]
    one: dict[str, Any] = found[section]
    assert "_URL" not in one["detail"]
    assert "_KEY" not in one["detail"]
    assert KEY not in one["detail"]
    return one


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("section", ["language_model", "embedding", "reranker"])
async def test_what_is_wrong_is_said_in_words(
    kept: Api, keeper: httpx.AsyncClient, talker: chat.StandIn, vectoriser: vectors.StandIn, judge: vectors.StandIn,
    section: str, what: str,
) -> None:  # fmt: skip
    status, body, headers, says = FAULTS[what]
    talker.usual = chat.status(status, body, **headers)
    vectoriser.usual = judge.usual = vectors.says(status, body, **headers)
    server: Any = {"language_model": talker, "embedding": vectoriser, "reranker": judge}[section]
    one = await tried(keeper, section, url=server.url, model="m", api_key=KEY)
    assert one["ok"] is False
    assert says.format(section=section) in one["detail"]
    # Nothing was followed.
    assert {request["model"] for request in server.requests} == {"m"}


@pytest.mark.parametrize("section", ["language_model", "embedding", "reranker"])
async def test_one_that_never_answers_is_not_waited_for(
    kept: Api, keeper: httpx.AsyncClient, talker: chat.StandIn, vectoriser: vectors.StandIn, judge: vectors.StandIn,
    section: str,
) -> None:  # fmt: skip
    def silent(server: vectors.StandIn) -> vectors.Trick:
        def wait(request: dict[str, Any]) -> vectors.Answer:
            server.released.wait(30)
            return 200, {}, b"{}"

        return wait

    talker.usual = talker.slow
    vectoriser.usual, judge.usual = silent(vectoriser), silent(judge)
    server: Any = {"language_model": talker, "embedding": vectoriser, "reranker": judge}[section]
    one = await tried(keeper, section, url=server.url, model="m")
    assert one["ok"] is False
    assert "did not answer within 1 seconds." in one["detail"]
    assert 900 < one["took_ms"] < 10_000


async def test_models_that_answer_are_said_to(
    kept: Api, keeper: httpx.AsyncClient, talker: chat.StandIn, vectoriser: vectors.StandIn, judge: vectors.StandIn
) -> None:
    talker.usual = chat.content("ready")
    answer = await keeper.post(
        f"{PATH}/test",
        json={
            "language_model": {"url": talker.url, "model": "talker"},
            "embedding": {"url": vectoriser.url, "model": "words"},
            "reranker": {"url": judge.url, "model": "judge"},
        },
    )
    found = answer.json()
    assert [one["ok"] for one in found.values()] == [True, True, True]
    assert [one["model"] for one in found.values()] == ["talker", "words", "judge"]
    assert found["embedding"]["dim"] == vectors.DIM
    assert found["embedding"]["detail"].endswith(f"with {vectors.DIM} dimensions.")
    assert all(one["took_ms"] > 0 for one in found.values())
    none = (await keeper.post(f"{PATH}/test", json={"language_model": {"url": "", "model": ""}})).json()
    assert none["language_model"]["ok"] is None
    # Without any named: those that are saved, here the carried ones.
    saved = (await keeper.post(f"{PATH}/test", json={})).json()
    assert [(one["ok"], one["dim"]) for one in saved.values()] == [(None, None), (True, 384), (True, None)]


async def test_one_that_cannot_be_reached(kept: Api, keeper: httpx.AsyncClient) -> None:
    one = await tried(keeper, "embedding", url="http://127.0.0.1:9/v1", model="m")
    assert (one["ok"], one["dim"]) == (False, None)
    assert one["detail"] == "The embedding endpoint cannot be reached: nothing listens there; check embedding.url."


async def test_one_that_lies_about_its_dimension(
    kept: Api, keeper: httpx.AsyncClient, vectoriser: vectors.StandIn
) -> None:
    one = await tried(keeper, "embedding", url=vectoriser.url, model="words", dim=384)
    assert one["ok"] is False
    assert one["detail"] == "embedding.dim: is 384, and the vectors of words have 96."
    # Under the name of the store's own model, with others' vectors.
    one = await tried(keeper, "embedding", url=vectoriser.url, model="bge-small-en-v1.5")
    assert one["ok"] is False
    assert (
        "answers with 96 dimensions, and the vectors that this store has of bge-small-en-v1.5 have 384" in one["detail"]
    )
    # Another dimension for each answer.
    vectoriser.play(lambda request: vectors.answer([vectors.embed(text, 64) for text in request["input"]]))
    one = await tried(keeper, "embedding", url=vectoriser.url, model="words")
    assert one["detail"] == "The embedding endpoint answered with 96 dimensions instead of 64."


TAKEN = [
    "", "http://localhost:11434/v1", "http://127.0.0.1:65535", "http://[::1]:8080/v1", "http://[2606:4700::1111]",
    "http://[::ffff:10.0.0.1]:80", "https://models.example.com./v1/", "http://text_embeddings:80/v1",
    "https://models.example.com/v1/projects/a%20b/locations/~x:predict@2", f"https://models.example.com/{'v' * 1_900}",
]  # fmt: skip


def published(url: str) -> bool:
    """Whether the schema that is published takes a URL."""
    schema = TypeAdapter(Url).json_schema()
    return re.search(schema["pattern"], url) is not None and len(url) <= schema["maxLength"]


@pytest.mark.parametrize("url", TAKEN)
def test_what_is_taken_as_a_url_is_so_by_the_published_schema(url: str) -> None:
    assert TypeAdapter(Url).validate_python(url) == url
    assert published(url)


@given(st.sampled_from(["http://", "https://", "HTTP://"]), st.text("a1.:/[]-_%!@ ", max_size=12))
def test_no_url_is_taken_that_the_published_schema_refuses(scheme: str, rest: str) -> None:
    try:
        TypeAdapter(Url).validate_python(scheme + rest)
    except ValidationError:
        return
    assert published(scheme + rest)


PRIVATE = [
    "http://127.0.0.1:11434/v1", "http://localhost:8080", "http://10.1.2.3/v1", "http://172.16.0.1", "http://192.168.0.9",
    "http://169.254.169.254/latest", "http://100.64.0.1", "http://0.0.0.0", "http://[::1]:80/v1", "http://[fe80::1]",
    "http://[fd00::1]", "http://[::ffff:127.0.0.1]", "http://[::ffff:10.0.0.1]", "http://[64:ff9b::7f00:1]",
    "http://[2002:7f00:1::]", "http://2130706433", "http://0x7f.1", "http://127.1", "http://224.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
async def test_private_endpoints_are_refused(settings: Settings, embedder: Embedder, url: str) -> None:
    async with serving(settings, embedder) as api:
        keeper = await api.caller()
        for section in ("language_model", "embedding", "reranker"):
            answer = await keeper.put(PATH, json={"version": 0, section: {"url": url, "model": "m"}})
            assert answer.status_code == 422, answer.text
            problem = answer.json()
            assert problem["field"] == f"{section}.url"
            assert "AI_PRIVATE_ENDPOINTS=allow" in problem["detail"]
        assert (await shown(keeper))["version"] == 0
        one = await tried(keeper, "reranker", url=url, model="m")
        assert (one["ok"], "is at a private address" in one["detail"]) == (False, True)


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b:1:7f00:0:100::", "64:ff9b:1::808:808", "2001:db9::200:5efe:7f00:1", "2606:4700::5efe:a00:5",
        "3fff::1", "192.0.0.8", "192.88.99.1", "168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110",
        "2001:0:808:808::f7f7:f7f7", "2001:0:7f00:1::f7f7:f7f7", "::808:808", "2002:a00:5::1",
    ],
)  # fmt: skip
def test_relays_tunnels_and_hosts_of_clouds_are_private(address: str) -> None:
    assert addresses.is_private(address)


@pytest.mark.parametrize(
    "prefix", ["fe80:", "fd12:3456:", "fec0:", "ff02:", "2001:db8:", "64:ff9b:1:", "2002:7f00:1:", "3fff:"]
)
@pytest.mark.parametrize("mark", ["0:5efe", "200:5efe"])
def test_a_public_address_within_makes_no_private_one_public(prefix: str, mark: str) -> None:
    assert addresses.is_private(f"{prefix}:{mark}:808:808")


def test_a_tunnel_within_a_tunnel_is_as_private_as_its_end() -> None:
    assert addresses.is_private("2002:808:808::5efe:7f00:1")
    assert not addresses.is_private("2002:808:808::5efe:808:808")


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "2606:4700::5efe:808:808", "168.63.129.17",
        "::ffff:8.8.8.8", "2002:808:808::1",
    ],
)  # fmt: skip
def test_public_addresses_are_public(address: str) -> None:
    assert not addresses.is_private(address)


async def test_a_name_that_resolves_to_a_private_address_is_refused(
    settings: Settings, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "models.example.com":
            return known(host, *rest, **more)
        # One of several is enough.
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("8.8.8.8", "10.0.0.5")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with serving(settings, embedder) as api:
        keeper = await api.caller()
        body = {"version": 0, "reranker": {"url": "https://models.example.com/v1", "model": "m"}}
        answer = await keeper.put(PATH, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, "reranker.url")


async def test_what_an_operator_no_longer_allows_is_not_asked(
    keeping: Settings, embedder: Embedder, talker: chat.StandIn
) -> None:
    talker.usual = chat.content("ready")
    async with serving(keeping, embedder) as api:
        await save(await api.caller(), language_model={"url": talker.url, "model": "talker"})
    async with serving(keeping.model_copy(update={"ai_private_endpoints": "refuse"}), embedder) as api:
        keeper = await api.caller()
        found = (await keeper.post(f"{PATH}/test", json={})).json()["language_model"]
        assert found["ok"] is False
        assert "is at a private address, where an endpoint is asked only if AI_PRIVATE_ENDPOINTS" in found["detail"]
        assert talker.requests == []
        assert (await shown(keeper))["problems"] == [
            "language_model.url is at a private address, which is asked only with AI_PRIVATE_ENDPOINTS=allow."
        ]
        answer = await keeper.post(f"{PATH}/restore", json={"version": 1})
        assert (answer.status_code, answer.json()["field"]) == (422, "language_model.url")
    # The environment's are the operator's own.
    given = {"language_model_url": talker.url, "language_model": "talker", "ai_private_endpoints": "refuse"}
    async with serving(keeping.model_copy(update=given), embedder) as api:
        keeper = await api.caller()
        await save(keeper, language_model={"url": "", "model": ""})
        await save(keeper)
        await until_in_force(keeper, 3)
        assert (await keeper.post(f"{PATH}/test", json={})).json()["language_model"]["ok"] is True


@pytest.mark.parametrize("host", ["api..example.com", f"{'a' * 64}.example"])
@pytest.mark.parametrize("public_only", [True, False])
async def test_a_name_that_can_be_none_cannot_be_reached(host: str, public_only: bool) -> None:
    url = endpoint_url(f"http://{host}/v1", "/embeddings", "X")
    exchange = Exchange(url, None, "X", public_only=public_only)
    with pytest.raises(httpx.ConnectError):
        exchange.post(b"{}", time.monotonic() + 5)
    exchange.close()
    beside = AsyncExchange(url, None, "X", public_only=public_only)
    with pytest.raises(httpx.ConnectError):
        await beside.post(b"{}", 5)
    await beside.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_name_that_is_rebound_leads_nowhere(
    vectoriser: vectors.StandIn, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Looked at, it is public; a moment later it is not: what was looked at is what is connected to."""
    port = int(vectoriser.url.rpartition(":")[2].partition("/")[0])
    asked = list[str]()
    monkeypatch.setattr(addresses, "is_private", lambda address: address == "127.0.0.2")

    def resolve(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        one = "127.0.0.1" if asked.count("models.example.com") <= 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host if host[0].isdigit() else one, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = endpoint_url(f"http://models.example.com:{port}/v1", "/embeddings", "X")
    body = b'{"input": ["one"], "model": "words"}'
    if kind == "sync":
        exchange = Exchange(url, None, "X", public_only=True)
        status, _, _ = exchange.post(body, 1e9)
        exchange.close()
    else:
        beside = AsyncExchange(url, None, "X", public_only=True)
        status, _, _ = await beside.post(body, 5)
        await beside.close()
    assert status == 200
    # Once by name; the connection was made to the address itself, for the host that was meant.
    assert asked.count("models.example.com") == 1
    assert vectoriser.headers[-1]["Host"] == f"models.example.com:{port}"
    again = Exchange(url, None, "X", public_only=True)
    with pytest.raises(Private):
        again.post(body, 1e9)
    again.close()
    assert len(vectoriser.requests) == 1
