"""The service as its callers see it: JSON over HTTP on one connection that is kept open."""

import select
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from bench.report import CannotMeasure, Degraded
from bench.service import Service
from reverie.embedding.protocol import FloatArray

_PATIENCE = 600
"""Seconds."""

_TIMEOUT = 300.0
"""Seconds that an answer may take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a request for ``path``."""

    path: str
    status: int
    content: bytes

    @property
    def text(self) -> str:
        """The beginning of the body, to be shown."""
        return self.content[:300].decode("utf-8", "replace")


class Wire:
    """A connection that is kept open: the standard library's, which takes least of the time that is measured."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = made(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        self._headers = dict(headers)
        self._prefix = parts.path.rstrip("/")

    def get(self, path: str) -> Answer:
        """A request without a body."""
        return self._send("GET", path, None)

    def post(self, path: str, body: bytes) -> Answer:
        """A request with a body of JSON."""
        return self._send("POST", path, body)

    def close(self) -> None:
        self._connection.close()

    def _send(self, method: str, path: str, body: bytes | None) -> Answer:
        # The service ends connections that stand still.
        if self._connection.sock is not None and select.select([self._connection.sock], [], [], 0)[0]:
            self._connection.close()
        self._connection.request(method, self._prefix + path, body, self._headers)
        response = self._connection.getresponse()
        return Answer(path, response.status, response.read())


def in_base64(vector: FloatArray) -> str:
    """A vector as it is sent soonest."""
    return b64encode(vector.astype("<f4", copy=False).tobytes()).decode()


class Client:
    """One caller. Every method is one request."""

    def __init__(self, http: Wire) -> None:
        self._http = http

    def remember(self, user: str, traces: Sequence[dict[str, Any]]) -> None:
        """POST /memory/remember.

        Raises:
            CannotMeasure: not everything was stored before the answer.
        """
        body = orjson.dumps({"user_id": user, "traces": traces}, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._http.post("/memory/remember", body)
        _check(answer, 201)
        outcomes = orjson.loads(answer.content)["traces"]
        if any(one["status"] != "stored" or one["vectors"] != "stored" for one in outcomes):
            raise CannotMeasure(f"The service did not store everything with its vectors: {answer.text}")

    def suggest(self, user: str, note: dict[str, Any], k: int) -> dict[str, Any]:
        """POST /memory/remember of one note with ``k`` suggestions: what is answered of it.

        Raises:
            CannotMeasure: it was not stored before the answer, or not everything was looked at.
        """
        query = f"?suggest={k}" if k else ""
        answer = self._http.post(f"/memory/remember{query}", orjson.dumps({"user_id": user, "traces": [note]}))
        _check(answer, 201)
        found = orjson.loads(answer.content)
        if found["degraded"] or found["traces"][0]["vectors"] != "stored":
            raise CannotMeasure(f"The service did not store a note with all of it: {answer.text}")
        made: dict[str, Any] = found["traces"][0]
        return made

    def remember_words(self, user: str, contents: Sequence[str]) -> None:
        """POST /memory/remember of English texts that get no vectors: their salience is too low.

        Raises:
            CannotMeasure: not everything was stored.
        """
        traces = [{"content": content, "salience": 0, "language": "english"} for content in contents]
        answer = self._http.post("/memory/remember", orjson.dumps({"user_id": user, "traces": traces}))
        _check(answer, 201)
        if any(one["status"] != "stored" for one in orjson.loads(answer.content)["traces"]):
            raise CannotMeasure(f"The service did not store everything: {answer.text}")

    def remember_in_time(self, user: str, traces: Sequence[dict[str, Any]]) -> None:
        """POST /memory/remember; returns when everything has its vectors, those included that are left to the worker.

        Raises:
            CannotMeasure: not everything was stored, or it took longer than ten minutes.
        """
        answer = self._http.post("/memory/remember", orjson.dumps({"user_id": user, "traces": traces}))
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
            raise CannotMeasure(f"/memory/remember answered {answer.status}: {answer.text}")
        found = orjson.loads(answer.content)
        if any(one["status"] != "stored" for one in found["traces"]):
            raise CannotMeasure(f"The service did not store everything: {answer.text}")
        if found["operation_id"] is not None:
            self._wait_for(found["operation_id"])

    def thaw(self, user: str, days: int) -> None:
        """POST /memory/thaw of the whole user; returns when it is done.

        Raises:
            CannotMeasure: it failed, or took longer than ten minutes.
        """
        asked = {"user_id": user, "scope": {"all": True}, "days": days}
        answer = self._http.post("/memory/thaw", orjson.dumps(asked))
        _check(answer, HTTPStatus.ACCEPTED)
        self._wait_for(orjson.loads(answer.content)["operation_id"])

    def dream(self, user: str) -> None:
        """POST /memory/consolidate of all that is due of a user; returns when it is done.

        Raises:
            CannotMeasure: the key may not, it failed, or took longer than ten minutes.
        """
        answer = self._http.post("/memory/consolidate", orjson.dumps({"user_id": user}))
        _check(answer, HTTPStatus.ACCEPTED)
        self._wait_for(orjson.loads(answer.content)["operation_id"])

    def traces(self, user: str, kind: str) -> list[dict[str, Any]]:
        """GET /memory/traces: all of a user's traces of a kind."""
        found: list[dict[str, Any]] = []
        asked = {"user_id": user, "kind": kind, "limit": "100"}
        while True:
            answer = self._http.get(f"/memory/traces?{urlencode(asked)}")
            _check(answer, 200)
            page = orjson.loads(answer.content)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            asked["cursor"] = page["next_cursor"]

    def _wait_for(self, operation_id: str) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            answer = self._http.get(f"/operations/{operation_id}")
            _check(answer, 200)
            state = orjson.loads(answer.content)["state"]
            if state == "failed":
                raise CannotMeasure(f"The operation {operation_id} failed: {answer.text}")
            if state == "done":
                return
            time.sleep(0.2)
        raise CannotMeasure(f"The operation {operation_id} is not done after {_PATIENCE} seconds.")

    def recall(self, user: str, question: str) -> list[dict[str, Any]]:
        """GET /memory/recall with the default recipe: its results."""
        return _results(self._http.get(f"/memory/recall?{urlencode({'user_id': user, 'q': question})}"))

    def ask(self, user: str, question: str, **more: Any) -> tuple[list[dict[str, Any]], float]:
        """POST /memory/recall: its results, and the seconds until they were there."""
        asked = orjson.dumps({"user_id": user, "q": question} | more, option=orjson.OPT_SERIALIZE_NUMPY)
        began = time.perf_counter()
        answer = self._http.post("/memory/recall", asked)
        return _results(answer), time.perf_counter() - began

    def recall_words(self, user: str, question: str, k: int) -> tuple[list[dict[str, Any]], float]:
        """POST /memory/recall with the recipe ``lexical``: its results, and the milliseconds that the arm took."""
        asked = {"user_id": user, "q": question, "k": k, "recipe": "lexical", "explain": True}
        answer = self._http.post("/memory/recall", orjson.dumps(asked))
        results = _results(answer)
        return results, float(orjson.loads(answer.content)["explain"]["arms"]["lexical"]["milliseconds"])

    def recall_vector(
        self, user: str, vector: object, k: int, question: str = "the nearest"
    ) -> list[dict[str, Any]]:  # fmt: skip
        """POST /memory/recall with the caller's own vector and the recipe ``vector``: its results.

        Another ``question`` is not answered from the results that are kept.
        """
        asked = {"user_id": user, "q": question, "k": k, "recipe": "vector", "embedding": vector}
        answer = self._http.post("/memory/recall", orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY))
        return _results(answer)

    def plan(self, user: str, vector: object) -> str:
        """How the vector arm of that searched: held, exact, bits or hnsw."""
        # Another each time: what was answered a moment ago is kept.
        asked = {"user_id": user, "q": str(uuid.uuid4()), "recipe": "vector", "embedding": vector, "explain": True}
        answer = self._http.post("/memory/recall", orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY))
        _results(answer)
        return str(orjson.loads(answer.content)["explain"]["plan"])

    def live(self) -> None:
        """GET /health/live: what HTTP itself takes."""
        _check(self._http.get("/health/live"), 200)

    def forget(self, user: str) -> None:
        """POST /memory/forget of the whole user."""
        _check(self._http.post("/memory/forget", orjson.dumps({"user_id": user, "scope": {"all": True}})), 200)


@contextmanager
def client_of(service: Service) -> Iterator[Client]:
    """A caller of the service.

    Raises:
        CannotMeasure: a request of the block could not be made.
    """
    http = Wire(service.url, {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"})
    try:
        yield Client(http)
    except (HTTPException, OSError) as error:
        raise CannotMeasure(f"The service at {service.url} does not answer ({error}).") from error
    finally:
        http.close()


def _check(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise CannotMeasure(f"{answer.path} answered {answer.status}: {answer.text}")


def _results(answer: Answer) -> list[dict[str, Any]]:
    _check(answer, 200)
    found = orjson.loads(answer.content)
    if found["degraded"]:
        raise Degraded(f"Recall was degraded: {', '.join(found['degraded'])} failed.")
    results: list[dict[str, Any]] = found["results"]
    return results
