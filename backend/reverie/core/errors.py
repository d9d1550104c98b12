"""Errors that carry their own status and title; one handler renders them as RFC 9457 problem details.

The docstring of a class is its title; the message of an instance is the one sentence of detail.
"""

from typing import Any, ClassVar


class SettingsError(Exception):
    """A setting has a wrong value; the message names the variable and what it takes."""


class StartError(Exception):
    """Reverie cannot start; the message is one sentence that says what to do."""


class WrongField(ValueError):  # noqa: N818
    """A field is at fault that shows only beside the others; for validators of whole models.

    The message is the end of a sentence about the field, as with every ``ValueError`` of a validator.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class ReverieError(Exception):
    """Something went wrong"""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"

    def __init__(self, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.headers = headers or {}

    def problem(self, instance: str) -> dict[str, Any]:
        """The problem document (RFC 9457), with the field where one is at fault."""
        document: dict[str, Any] = {
            "type": f"urn:reverie:problem:{self.code}",
            "title": self.title(),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.field is not None:
            document["field"] = self.field
        return document

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").strip()


class BadRequest(ReverieError):  # noqa: N818 - named as HTTP names it, like all below
    """The request cannot be read"""

    status = 400
    code = "bad-request"


class Unauthorized(ReverieError):  # noqa: N818
    """A valid key is needed"""

    status = 401
    code = "unauthorized"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ReverieError):  # noqa: N818
    """The key does not have the scope for this"""

    status = 403
    code = "forbidden"


class NotFound(ReverieError):  # noqa: N818
    """There is no such thing"""

    status = 404
    code = "not-found"


class MethodNotAllowed(ReverieError):  # noqa: N818
    """The path does not take this method"""

    status = 405
    code = "method-not-allowed"


class RequestTimeout(ReverieError):  # noqa: N818
    """The request did not arrive in time"""

    status = 408
    code = "request-timeout"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class Conflict(ReverieError):  # noqa: N818
    """The request conflicts with what is there"""

    status = 409
    code = "conflict"


class BodyTooLarge(ReverieError):  # noqa: N818
    """The body is too large"""

    status = 413
    code = "body-too-large"


class UrlTooLong(ReverieError):  # noqa: N818
    """The URL is too long"""

    status = 414
    code = "url-too-long"


class UnreadableEncoding(ReverieError):  # noqa: N818
    """The body is encoded in a way that is not read here"""

    status = 415
    code = "unreadable-encoding"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Accept-Encoding": "identity"})


class Invalid(ReverieError):  # noqa: N818
    """A field has a wrong value"""

    status = 422
    code = "invalid"


class Forgotten(Invalid):
    """A field has a wrong value"""

    code = "forgotten"


class TooManyRequests(ReverieError):  # noqa: N818
    """The caller sends more than its share"""

    status = 429
    code = "too-many-requests"

    def __init__(self, detail: str, *, retry_after: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class HeadersTooLarge(ReverieError):  # noqa: N818
    """The headers are too large"""

    status = 431
    code = "headers-too-large"


class Unavailable(ReverieError):  # noqa: N818
    """A part of the service cannot be reached"""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, *, retry_after: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Busy(Unavailable):
    """The service has too much to do"""

    code = "busy"
