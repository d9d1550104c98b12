"""The models are set over HTTP: versions over the environment, keys that nobody sees, and all that is refused."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from tests.conftest import Api, serving
from tests.embedding import standin as vectors
from tests.language import standin as chat
from tests.memories.helpers import rows
from tests.settings.conftest import KEY, PATH, SECRET, save, shown, until_in_force, until_shown

from reverie.core.config import Settings
from reverie.core.errors import StartError
from reverie.embedding.protocol import Embedder
from reverie.settings import repository

OTHER_SECRET = "another secret of ours"


def talking(talker: chat.StandIn, **more: Any) -> dict[str, Any]:
    """The language model of a stand-in, as it is set."""
    talker.usual = chat.content("ready")
    return {"url": talker.url, "model": "talker", **more}


async def refused(client: httpx.AsyncClient, status: int, field: str | None, **sections: Any) -> str:
    """The sentence with which settings are refused; nothing is saved."""
    version = (await shown(client))["version"]
    answer = await client.put(PATH, json={"version": version, **sections})
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem.get("field") == field, problem
    assert (await shown(client))["version"] == version
    return str(problem["detail"])


async def test_without_any_the_environment_is_in_force(keeping: Settings, embedder: Embedder) -> None:
    given = keeping.model_copy(update={"rerank_candidates": 5, "embedding_model": "bge-small-en-v1.5"})
    async with serving(given, embedder) as api:
        found = await shown(await api.caller())
    assert (found["version"], found["saved_at"], found["changed"], found["problems"]) == (0, None, [], [])
    assert found["active_model"] == {"name": "bge-small-en-v1.5", "dim": 384, "precision": "fp16"}
    force = found["in_force"]
    assert force["embedding"]["model"] == {"value": "bge-small-en-v1.5", "source": "environment"}
    assert force["language_model"]["max_tokens_per_night"] == {"value": 1_000_000, "source": "default"}
    assert force["language_model"]["api_key"] == {"set": False, "source": "default"}


async def test_what_is_saved_goes_before_the_environment_field_by_field(
    keeping: Settings, embedder: Embedder, talker: chat.StandIn
) -> None:
    environment = {"language_model_url": talker.url, "language_model": "of the environment"}
    async with serving(keeping.model_copy(update=environment), embedder) as api:
        keeper = await api.caller()
        await save(keeper, language_model={"model": "saved"})
        force = (await until_in_force(keeper, 1))["in_force"]["language_model"]
        assert force["model"] == {"value": "saved", "source": "settings"}
        assert force["url"] == {"value": talker.url, "source": "environment"}
        # Without a language model at all.
        await save(keeper, language_model={"url": "", "model": ""})
        force = (await until_in_force(keeper, 2))["in_force"]["language_model"]
        assert force["url"] == force["model"] == {"value": None, "source": "settings"}


async def test_secrets_in_urls_of_the_environment_are_not_shown(keeping: Settings, embedder: Embedder) -> None:
    names = ("language_model_url", "embedding_url", "rerank_url")
    urls = dict.fromkeys(names, "http://ada:open-sesame@127.0.0.1:9/v1?key=open-sesame")
    given = {**urls, "language_model": "m", "embedding_model": "bge-small-en-v1.5", "embedding_dim": 384}
    async with serving(keeping.model_copy(update=given), embedder) as api:
        answer = await (await api.caller()).get(PATH)
    assert "open-sesame" not in answer.text
    assert "ada" not in answer.text
    force = answer.json()["in_force"]
    assert [one["url"] for one in (force["language_model"], force["embedding"], force["reranker"])] == [
        {"value": "http://127.0.0.1:9/v1", "source": "environment"}
    ] * 3


async def test_a_fault_that_nobody_expects_does_not_end_the_following(
    kept: Api, keeper: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fails(*_: Any) -> None:
        raise UnicodeError("label empty or too long")

    with monkeypatch.context() as patched:
        patched.setattr("reverie.following.opened", fails)
        # Its own keeps the level that the process had when it wrote for the first time.
        patched.setattr("reverie.following.log", structlog.get_logger("reverie.following"))
        await save(keeper, language_model={"max_tokens_per_night": 1})
        found = await until_shown(keeper, lambda found: bool(found["problems"]))
        assert found["problems"] == [
            "What was saved last is not worked with: it fails in a way that nobody expects, of which the log has more."
        ]
    assert "UnicodeError" in "".join(capfd.readouterr())
    await save(keeper, language_model={"max_tokens_per_night": 2})
    assert (await until_in_force(keeper, 2))["problems"] == []


async def test_it_stands_after_a_start_anew(keeping: Settings, embedder: Embedder, talker: chat.StandIn) -> None:
    async with serving(keeping, embedder) as api:
        await save(await api.caller(), language_model=talking(talker, api_key=KEY, max_tokens_per_night=7))
    async with serving(keeping, embedder) as api:
        keeper = await api.caller()
        force = (await shown(keeper))["in_force"]
        assert force["version"] == 1
        assert force["language_model"]["max_tokens_per_night"] == {"value": 7, "source": "settings"}
        assert (await keeper.post(f"{PATH}/test", json={})).json()["language_model"]["ok"] is True
    assert talker.headers[-1]["Authorization"] == f"Bearer {KEY}"


async def test_keys_are_shown_nowhere(
    kept: Api, keeper: httpx.AsyncClient, keeping: Settings, talker: chat.StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = await save(keeper, language_model=talking(talker, api_key=KEY))
    assert changed["language_model"]["api_key_set"] is True
    await until_in_force(keeper, 1)
    for method, path, body in (
        ("GET", PATH, None), ("GET", f"{PATH}/history", None), ("POST", f"{PATH}/test", {}),
        ("POST", f"{PATH}/restore", {"version": 1}),
    ):  # fmt: skip
        answer = await keeper.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        assert KEY not in answer.text
    [(stored,)] = await rows(keeping, "SELECT DISTINCT language_model_api_key FROM ai_settings")
    assert bytes(stored).startswith(b"gAAAA")
    assert KEY.encode() not in bytes(stored)
    said = "".join(capfd.readouterr())
    assert "ai settings saved" in said
    assert "language_model.api_key" in said
    assert KEY not in said


async def test_a_key_stays_until_it_is_sent_or_removed(
    kept: Api, keeper: httpx.AsyncClient, talker: chat.StandIn
) -> None:
    wanted = talking(talker)
    await save(keeper, language_model={**wanted, "api_key": KEY})
    out = await save(keeper, language_model={**wanted, "model": "another"})
    assert (out["language_model"]["api_key_set"], out["changed"]) == (True, ["language_model.model"])
    # It was given for that URL, and goes to no other.
    said = await refused(keeper, 422, "language_model.api_key", language_model={**wanted, "url": f"{talker.url}/x"})
    assert "saved for another URL" in said
    tried = await keeper.post(f"{PATH}/test", json={"language_model": {**wanted, "url": f"{talker.url}/x"}})
    assert tried.status_code == 422
    out = await save(keeper, language_model={**wanted, "api_key": None})
    assert (out["language_model"]["api_key_set"], out["changed"][-1]) == (False, "language_model.api_key")


async def test_the_environments_key_goes_to_the_environments_url_alone(
    keeping: Settings, embedder: Embedder, talker: chat.StandIn
) -> None:
    environment = {
        "language_model_url": "https://models.example.com/v1", "language_model": "m", "language_model_api_key": KEY
    }  # fmt: skip
    async with serving(keeping.model_copy(update=environment), embedder) as api:
        keeper = await api.caller()
        tried = (await keeper.post(f"{PATH}/test", json={"language_model": talking(talker)})).json()["language_model"]
        assert (tried["ok"], tried["model"]) == (True, "talker")
        await save(keeper, language_model=talking(talker))
        assert (await until_in_force(keeper, 1))["in_force"]["language_model"]["api_key"]["set"] is False
        assert (await keeper.post(f"{PATH}/test", json={})).json()["language_model"]["ok"] is True
    assert len(talker.headers) == 2
    assert not any("Authorization" in one for one in talker.headers)


async def test_who_read_an_older_version_is_told(kept: Api, keeper: httpx.AsyncClient) -> None:
    other = await kept.caller()
    bodies = [{"version": 0, "language_model": {"max_tokens_per_night": number}} for number in (1, 2)]
    answers = await asyncio.gather(
        *(client.put(PATH, json=body) for client, body in zip((keeper, other), bodies, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    problem = next(answer.json() for answer in answers if answer.status_code == 409)
    assert (problem["version"], problem["field"]) == (1, "version")
    assert "by the key 'test': read version 1" in problem["detail"]
    late = await keeper.put(PATH, json={"version": 7})
    assert (late.status_code, late.json()["version"]) == (409, 1)
    ahead = await keeper.put(PATH, json={"version": 99})
    assert (ahead.status_code, ahead.json()["version"]) == (409, 1)
    assert ahead.json()["detail"] == "There is no version 99; the newest is 1."
    assert len((await keeper.get(f"{PATH}/history")).json()["items"]) == 1


async def test_admins_of_customers_have_no_say(kept: Api, keeper: httpx.AsyncClient) -> None:
    customer = await kept.caller("a customer")
    for method, path, body in (
        ("GET", PATH, None), ("PUT", PATH, {"version": 0}), ("GET", f"{PATH}/history", None),
        ("POST", f"{PATH}/test", {}), ("POST", f"{PATH}/restore", {"version": 1}),
    ):  # fmt: skip
        answer = await customer.request(method, path, json=body)
        assert answer.status_code == 403, answer.text
        assert "an admin key of the space default" in answer.json()["detail"]
    assert (await shown(keeper))["version"] == 0


@pytest.mark.parametrize(
    ("secret", "readable"),
    [(OTHER_SECRET, False), (f"{OTHER_SECRET},{SECRET}", True)],
    ids=["another secret", "a new one in front"],
)
async def test_a_key_that_cannot_be_decrypted_is_none(
    keeping: Settings, embedder: Embedder, talker: chat.StandIn, secret: str, readable: bool
) -> None:
    async with serving(keeping, embedder) as api:
        await save(await api.caller(), language_model=talking(talker, api_key=KEY))
    async with serving(keeping.model_copy(update={"reverie_secret_key": secret}), embedder) as api:
        keeper = await api.caller()
        found = await shown(keeper)
        assert found["in_force"]["language_model"]["api_key"] == {"set": readable, "source": "settings"}
        assert found["language_model"]["api_key_set"] is True
        said = "The key language_model.api_key cannot be decrypted"
        assert [one.startswith(said) for one in found["problems"]] == ([] if readable else [True])
        tried = (await keeper.post(f"{PATH}/test", json={})).json()["language_model"]
        assert tried["ok"] is True
        assert (said in tried["detail"]) is not readable
        assert ("Authorization" in talker.headers[-1]) is readable


async def test_without_a_secret_no_key_is_taken(settings: Settings, embedder: Embedder) -> None:
    async with serving(settings, embedder) as api:
        keeper = await api.caller()
        said = await refused(keeper, 422, "embedding.api_key", embedding={"api_key": KEY})
        assert "set REVERIE_SECRET_KEY" in said
        await save(keeper, language_model={"max_tokens_per_night": 1})


@pytest.mark.parametrize(
    ("sections", "field", "says"),
    [
        ({"language_model": {"url": "https://models.example.com"}}, "language_model.model", "together with url"),
        ({"language_model": {"model": "m"}}, "language_model.url", "together with model"),
        ({"embedding": {"model": "/etc"}}, "embedding.model", "a folder is named by the environment alone"),
        ({"embedding": {"model": "no-such"}}, "embedding.model", "takes bge-small-en-v1.5"),
        ({"embedding": {"model": ""}}, "embedding.model", "takes the name of a model"),
        ({"embedding": {"dim": 3000, "precision": "fp32"}}, "embedding.dim", "at most 2000"),
        ({"embedding": {"dim": 0}}, "embedding.dim", "at least 1"),
        ({"embedding": {"dim": 1.5}}, "embedding.dim", "a whole number"),
        ({"embedding": {"precision": "int8"}}, "embedding.precision", "fp16 or fp32"),
        ({"reranker": {"model": "../x"}}, "reranker.model", "a folder is named by the environment alone"),
        ({"reranker": {"model": "x"}}, "reranker.model", "takes ms-marco"),
        ({"reranker": {"url": "ftp://models.example.com"}}, "reranker.url", "begins with http:// or https://"),
        ({"reranker": {"url": "https://"}}, "reranker.url", "begins with http:// or https://"),
        ({"reranker": {"url": "https://a:b@models.example.com"}}, "reranker.url", "without user"),
        ({"reranker": {"url": "https://models.example.com/?key=1"}}, "reranker.url", "without user, query"),
        ({"reranker": {"url": "https://x/\u00e9"}}, "reranker.url", "printable ASCII"),
        ({"reranker": {"url": "https://api..example.com/v1"}}, "reranker.url", "1 to 63 characters between its dots"),
        ({"embedding": {"url": f"https://{'a' * 64}.example"}}, "embedding.url", "1 to 63 characters between its dots"),
        ({"embedding": {"url": "http://localhost:65536"}}, "embedding.url", "port is from 1 to 65535"),
        ({"embedding": {"url": "http://a%20b/v1"}}, "embedding.url", "a host of letters, digits"),
        ({"language_model": {"api_key": "a b"}}, "language_model.api_key", "printable ASCII"),
        ({"language_model": {"api_key": ""}}, "language_model.api_key", "1 to 4000"),
        ({"language_model": {"max_tokens_per_night": -1}}, "language_model.max_tokens_per_night", "at least 0"),
        ({"version": "1"}, "version", "a whole number"),
        ({"colour": {}}, "colour", "is not a field"),
        ({"embedding": {"colour": 1}}, "embedding.colour", "is not a field"),
    ],
)
async def test_bad_input_is_one_sentence_and_changes_nothing(
    kept: Api, keeper: httpx.AsyncClient, sections: dict[str, Any], field: str, says: str
) -> None:
    said = await refused(keeper, 422, field, **sections)
    assert says in said
    assert said.startswith(field)


async def test_who_restores_while_another_saves_is_told(
    kept: Api, keeper: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(keeper, language_model={"max_tokens_per_night": 1})

    async def came_before(*_: Any) -> bool:
        return False

    monkeypatch.setattr(repository, "append", came_before)
    answer = await keeper.post(f"{PATH}/restore", json={"version": 1})
    # `version` is the one to go back to.
    assert (answer.status_code, answer.json()["field"], answer.json()["version"]) == (409, "newest", 1)


async def test_a_version_is_asked_for(kept: Api, keeper: httpx.AsyncClient) -> None:
    answer = await keeper.put(PATH, json={})
    assert (answer.status_code, answer.json()["detail"]) == (422, "version is required.")


async def test_back_to_an_earlier_version(kept: Api, keeper: httpx.AsyncClient, talker: chat.StandIn) -> None:
    await save(keeper, language_model=talking(talker, api_key=KEY))
    await save(keeper, reranker={"model": "BAAI/bge-reranker-v2-m3"})
    headers = {"Idempotency-Key": "back"}
    answers = [await keeper.post(f"{PATH}/restore", json={"version": 1}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    out = answers[0].json()
    assert (out["version"], out["restored"], out["language_model"]["api_key_set"]) == (3, 1, True)
    assert out["changed"] == [
        "language_model.url", "language_model.model", "language_model.api_key", "reranker.model"
    ]  # fmt: skip
    await until_in_force(keeper, 3)
    assert (await keeper.post(f"{PATH}/test", json={})).json()["language_model"]["ok"] is True
    assert talker.headers[-1]["Authorization"] == f"Bearer {KEY}"
    first = (await keeper.get(f"{PATH}/history", params={"limit": 2})).json()
    assert [one["version"] for one in first["items"]] == [3, 2]
    assert first["items"][1]["reranker"]["model"] == "BAAI/bge-reranker-v2-m3"
    last = (await keeper.get(f"{PATH}/history", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([one["version"] for one in last["items"]], last["next_cursor"]) == ([1], None)
    stale = await keeper.post(f"{PATH}/restore", json={"version": 1, "newest": 2})
    assert (stale.status_code, stale.json()["field"], stale.json()["version"]) == (409, "newest", 3)
    ahead = (await keeper.post(f"{PATH}/restore", json={"version": 1, "newest": 99})).json()
    assert (ahead["status"], ahead["field"], ahead["version"]) == (409, "newest", 3)
    assert ahead["detail"] == "There is no version 99; the newest is 3."
    assert (await shown(keeper))["version"] == 3
    assert (await keeper.post(f"{PATH}/restore", json={"version": 1, "newest": 3})).json()["version"] == 4
    absent = await keeper.post(f"{PATH}/restore", json={"version": 99})
    assert (absent.status_code, absent.json()["detail"]) == (404, "There is no version 99 of the settings.")
    for cursor in ("x", "-1", "9" * 30, "²"):
        answer = await keeper.get(f"{PATH}/history", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["field"]) == (422, "cursor"), cursor


async def test_what_began_before_ends_with_what_it_began_with(
    kept: Api, keeper: httpx.AsyncClient, judge: vectors.StandIn
) -> None:
    await save(keeper, reranker={"url": judge.url, "model": "judge"})
    await until_in_force(keeper, 1)
    body = {"user_id": "ann", "traces": [{"content": text} for text in ("Miso is a cat.", "Rex is a dog.")]}
    assert (await keeper.post("/memory/remember", json=body)).status_code == 201
    held = asyncio.Event()

    def slow(request: dict[str, Any]) -> vectors.Answer:
        held.set()
        judge.released.wait(30)
        return vectors.judges(request)

    judge.play(slow)
    asked = {"user_id": "ann", "q": "Who is Miso?", "recipe": "thorough"}
    before = kept.app.state.recall
    recall = asyncio.create_task(keeper.get("/memory/recall", params=asked))
    while not held.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.01)
    await save(keeper)
    await until_in_force(keeper, 2)
    assert kept.app.state.recall is not before
    assert not recall.done()
    judge.released.set()
    answer = await recall
    assert (answer.status_code, answer.json()["degraded"]) == (200, [])


async def test_what_cannot_be_gone_over_to_is_said_and_the_former_goes_on(
    kept: Api, keeper: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StartError("The ranker is gone.")

    with monkeypatch.context() as patched:
        patched.setattr("reverie.runtime.load_rankers", broken)
        await save(keeper, language_model={"max_tokens_per_night": 1})
        found = await until_shown(keeper, lambda found: bool(found["problems"]))
        assert found["problems"] == ["What was saved last is not worked with: The ranker is gone."]
        assert found["in_force"]["version"] == 0
        asked = await keeper.get("/memory/recall", params={"user_id": "ann", "q": "Miso?"})
        assert asked.status_code == 200
        ready = await kept.client().get("/health/ready")
        assert ready.status_code == 200
    monkeypatch.setattr("reverie.following.AGAIN_SECONDS", 0.1)
    found = await until_in_force(keeper, 1)
    assert found["problems"] == []
