import pytest

from reverie.core.errors import Invalid, NotFound, ReverieError, Unauthorized, Unavailable
from reverie.embedding.protocol import EmbeddingError


def kinds(of: type[ReverieError]) -> list[type[ReverieError]]:
    return [of, *(deeper for kind in of.__subclasses__() for deeper in kinds(kind))]


@pytest.mark.parametrize("kind", kinds(ReverieError), ids=lambda kind: kind.__name__)
def test_every_error_is_a_problem_document(kind: type[ReverieError]) -> None:
    problem = kind("Something.").problem("/memory/recall")
    assert problem == {
        "type": f"urn:reverie:problem:{kind.code}",
        "title": kind.title(),
        "status": kind.status,
        "detail": "Something.",
        "instance": "/memory/recall",
    }
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
