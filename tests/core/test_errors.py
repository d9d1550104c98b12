from collections.abc import Callable

import pytest

from reverie.core.errors import Invalid, NotFound, ReverieError, Unauthorized, Unavailable
from reverie.embedding.protocol import EmbeddingError
from reverie.reembedding.service import BrokenOff
from reverie.settings.schemas import Stale


def kinds(of: type[ReverieError]) -> list[type[ReverieError]]:
    return [of, *(deeper for kind in of.__subclasses__() for deeper in kinds(kind))]


MADE: dict[type[ReverieError], Callable[[], ReverieError]] = {
    BrokenOff: BrokenOff,
    Stale: lambda: Stale("Something.", 3, "version"),
}
"""Those that are not made of one sentence."""


@pytest.mark.parametrize("kind", kinds(ReverieError), ids=lambda kind: kind.__name__)
def test_every_error_is_a_problem_document(kind: type[ReverieError]) -> None:
    error = MADE[kind]() if kind in MADE else kind("Something.")
    problem = error.problem("/memory/recall")
    more = {"field": "version", "version": 3} if kind is Stale else {}
    assert problem == {
        "type": f"urn:reverie:problem:{kind.code}",
        "title": kind.title(),
        "status": kind.status,
        "detail": error.detail,
        "instance": "/memory/recall",
        **more,
    }
    assert error.detail.endswith(".")
    assert kind.title()
    assert "\n" not in kind.title()
    assert 400 <= kind.status <= 503


def test_a_field_is_named_where_one_is_at_fault() -> None:
    assert Invalid("k takes less.", field="k").problem("/")["field"] == "k"
    assert "field" not in NotFound("No.").problem("/")


def test_headers_say_what_to_do() -> None:
    assert Unauthorized("Send a key.").headers == {"WWW-Authenticate": "Bearer"}
    assert Unavailable("Later.", retry_after=7).headers == {"Retry-After": "7"}
    assert EmbeddingError("Later.").status == 503
