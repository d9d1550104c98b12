"""The service as its callers see it: JSON over HTTP on one connection that is kept open."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from bench.report import CannotMeasure
from bench.service import Service


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

    def recall(self, user: str, question: str) -> list[dict[str, Any]]:
        """GET /memory/recall with the default recipe: its results."""
        answer = self._http.get("/memory/recall", params={"user_id": user, "q": question})
        return _results(answer)

    def recall_vector(self, user: str, vector: object, k: int) -> list[dict[str, Any]]:
        """POST /memory/recall with the caller's own vector and the recipe ``vector``: its results."""
        asked = {"user_id": user, "q": "the nearest", "k": k, "recipe": "vector", "embedding": vector}
        answer = self._http.post("/memory/recall", content=orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY))
        return _results(answer)

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
