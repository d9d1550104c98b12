"""The service as its callers see it: JSON over HTTP on one connection that is kept open."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from bench.report import CannotMeasure
from bench.service import Service

_PATIENCE = 600
"""Seconds."""


class Client:
    """One caller. Every method is one request."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def remember(self, user: str, traces: Sequence[dict[str, Any]]) -> None:
        """POST /memory/remember.

        Raises:
            CannotMeasure: not everything was stored before the answer.
        """
        body = orjson.dumps({"user_id": user, "traces": traces}, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._http.post("/memory/remember", content=body)
        _check(answer, 201)
        outcomes = orjson.loads(answer.content)["traces"]
        if any(one["status"] != "stored" or one["vectors"] != "stored" for one in outcomes):
            raise CannotMeasure(f"The service did not store everything with its vectors: {answer.text[:300]}")

    def remember_words(self, user: str, contents: Sequence[str]) -> None:
        """POST /memory/remember of English texts that get no vectors: their salience is too low.

        Raises:
            CannotMeasure: not everything was stored.
        """
        traces = [{"content": content, "salience": 0, "language": "english"} for content in contents]
        answer = self._http.post("/memory/remember", content=orjson.dumps({"user_id": user, "traces": traces}))
        _check(answer, 201)
        if any(one["status"] != "stored" for one in orjson.loads(answer.content)["traces"]):
            raise CannotMeasure(f"The service did not store everything: {answer.text[:300]}")

    def remember_in_time(self, user: str, traces: Sequence[dict[str, Any]]) -> None:
        """POST /memory/remember; returns when everything has its vectors, those included that are left to the worker.

        Raises:
            CannotMeasure: not everything was stored, or it took longer than ten minutes.
        """
        answer = self._http.post("/memory/remember", content=orjson.dumps({"user_id": user, "traces": traces}))
        if answer.status_code not in (httpx.codes.CREATED, httpx.codes.ACCEPTED):
            raise CannotMeasure(f"/memory/remember answered {answer.status_code}: {answer.text[:300]}")
        found = orjson.loads(answer.content)
        if any(one["status"] != "stored" for one in found["traces"]):
            raise CannotMeasure(f"The service did not store everything: {answer.text[:300]}")
        if found["operation_id"] is not None:
            self._wait_for(found["operation_id"])

    def _wait_for(self, operation_id: str) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            answer = self._http.get(f"/operations/{operation_id}")
            _check(answer, 200)
            state = orjson.loads(answer.content)["state"]
            if state == "failed":
                raise CannotMeasure(f"The operation {operation_id} failed: {answer.text[:300]}")
            if state == "done":
                return
            time.sleep(0.2)
        raise CannotMeasure(f"The operation {operation_id} is not done after {_PATIENCE} seconds.")

    def recall(self, user: str, question: str) -> list[dict[str, Any]]:
        """GET /memory/recall with the default recipe: its results."""
        answer = self._http.get("/memory/recall", params={"user_id": user, "q": question})
        return _results(answer)

    def ask(self, user: str, question: str, **more: Any) -> tuple[list[dict[str, Any]], float]:
        """POST /memory/recall: its results, and the seconds until they were there."""
        asked = orjson.dumps({"user_id": user, "q": question} | more)
        began = time.perf_counter()
        answer = self._http.post("/memory/recall", content=asked)
        return _results(answer), time.perf_counter() - began

    def recall_words(self, user: str, question: str, k: int) -> tuple[list[dict[str, Any]], float]:
        """POST /memory/recall with the recipe ``lexical``: its results, and the milliseconds that the arm took."""
        asked = {"user_id": user, "q": question, "k": k, "recipe": "lexical", "explain": True}
        answer = self._http.post("/memory/recall", content=orjson.dumps(asked))
        results = _results(answer)
        return results, float(orjson.loads(answer.content)["explain"]["arms"]["lexical"]["milliseconds"])

    def recall_vector(
        self, user: str, vector: object, k: int, question: str = "the nearest"
    ) -> list[dict[str, Any]]:  # fmt: skip
        """POST /memory/recall with the caller's own vector and the recipe ``vector``: its results.

        Another ``question`` is not answered from the results that are kept.
        """
        asked = {"user_id": user, "q": question, "k": k, "recipe": "vector", "embedding": vector}
        answer = self._http.post("/memory/recall", content=orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY))
        return _results(answer)

    def plan(self, user: str, vector: object) -> str:
        """How the vector arm of that searched: exact, bits or hnsw."""
        # Another each time: what was answered a moment ago is kept.
        asked = {"user_id": user, "q": str(uuid.uuid4()), "recipe": "vector", "embedding": vector, "explain": True}
        answer = self._http.post("/memory/recall", content=orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY))
        _results(answer)
        return str(orjson.loads(answer.content)["explain"]["plan"])

    def live(self) -> None:
        """GET /health/live: what HTTP itself takes."""
        _check(self._http.get("/health/live"), 200)

    def forget(self, user: str) -> None:
        """POST /memory/forget of the whole user."""
        _check(self._http.post("/memory/forget", json={"user_id": user, "scope": {"all": True}}), 200)


@contextmanager
def client_of(service: Service) -> Iterator[Client]:
    """A caller of the service.

    Raises:
        CannotMeasure: a request of the block could not be made.
    """
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=300.0) as http:
        try:
            yield Client(http)
        except httpx.HTTPError as error:
            raise CannotMeasure(f"The service at {service.url} does not answer ({error}).") from error


def _check(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise CannotMeasure(f"{answer.request.url.path} answered {answer.status_code}: {answer.text[:300]}")


def _results(answer: httpx.Response) -> list[dict[str, Any]]:
    _check(answer, 200)
    found = orjson.loads(answer.content)
    if found["degraded"]:
        raise CannotMeasure(f"Recall was degraded: {', '.join(found['degraded'])} failed.")
    results: list[dict[str, Any]] = found["results"]
    return results
