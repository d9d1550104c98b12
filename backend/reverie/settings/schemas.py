"""What goes over the wire about the settings of the models."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from reverie.core.config import MODEL_ALIASES
from reverie.core.errors import Conflict
from reverie.core.http import Answer, Schema
from reverie.core.paging import Limit, cursor_field, not_a_cursor
from reverie.settings.overlay import Source
from reverie.text.fields import whole

MOST_URL: Final = 2_000
MOST_PORT: Final = 65_535
MOST_NAME: Final = 255
MOST_KEY: Final = 4_000
MOST_VERSION: Final = 2**31 - 2

_URL = (
    r"^(https?://([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(:[0-9]{1,5})?(/[!$->@-~]*)?)?$"
)
_NAME = r"^([A-Za-z0-9][A-Za-z0-9_.:/@+-]*)?$"
_PRINTABLE = re.compile(r"[!-~]+")


def _url(value: str) -> str:
    if not value:
        return value
    if len(value) > MOST_URL or not _PRINTABLE.fullmatch(value):
        raise ValueError(f"takes a URL of at most {MOST_URL} printable ASCII characters")
    try:
        parsed = httpx.URL(value)
    except httpx.InvalidURL:
        raise ValueError("takes a URL that begins with http:// or https://") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("takes a URL that begins with http:// or https://")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("takes a URL without user, query and fragment; a key goes into api_key")
    try:
        parsed.raw_host.decode("ascii").encode("idna")
    except UnicodeError:
        raise ValueError("takes a URL whose host has 1 to 63 characters between its dots") from None
    if parsed.port is not None and not 1 <= parsed.port <= MOST_PORT:
        raise ValueError(f"takes a URL whose port is from 1 to {MOST_PORT}")
    # What is published takes all that is taken: here it is what decides.
    if not re.fullmatch(_URL[1:-1], value):
        raise ValueError(
            "takes http:// or https://, a host of letters, digits and signs of .-_ or an address in brackets, and "
            "maybe a port and a path"
        )
    return value


def _name(value: str) -> str:
    if len(value) > MOST_NAME or not re.fullmatch(_NAME[1:-1], value):
        raise ValueError(
            f"takes the name of a model, at most {MOST_NAME} letters, digits and signs of _.:/@+-; a folder is named "
            "by the environment alone"
        )
    return MODEL_ALIASES.get(value, value)


def _some_name(value: str) -> str:
    if not value:
        raise ValueError("takes the name of a model")
    return value


def _key(value: str) -> str:
    if not 1 <= len(value) <= MOST_KEY or not _PRINTABLE.fullmatch(value):
        raise ValueError(f"takes 1 to {MOST_KEY} printable ASCII characters without spaces")
    return value


Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "maxLength": MOST_URL, "pattern": _URL})]
"""A URL, or an empty text for none."""

Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "maxLength": MOST_NAME, "pattern": _NAME})
]
"""A model's name, or an empty text for none."""

SomeName = Annotated[
    str,
    AfterValidator(_name),
    AfterValidator(_some_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_NAME, "pattern": _NAME}),
]
ApiKey = Annotated[
    str,
    AfterValidator(_key),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_KEY, "pattern": "^[!-~]+$"}),
]


VersionNumber = Annotated[int, Field(ge=0, le=MOST_VERSION, strict=True), BeforeValidator(whole)]


class LanguageModelIn(Schema):
    """The language model of the night; null is the environment's, an empty URL and model are none."""

    url: Url | None = None
    model: Name | None = None
    api_key: Annotated[ApiKey | None, Field(description="Left out it stays as it is; null removes it.")] = None
    max_tokens_per_night: Annotated[int, Field(ge=0, le=1_000_000_000, strict=True), BeforeValidator(whole)] | None = (
        None
    )


class EmbeddingIn(Schema):
    """The embedding model; null is the environment's, an empty URL is none: a model that runs here."""

    url: Url | None = None
    model: SomeName | None = None
    dim: Annotated[int, Field(ge=1, le=4000, strict=True), BeforeValidator(whole)] | None = None
    precision: Literal["fp16", "fp32"] | None = None
    api_key: Annotated[ApiKey | None, Field(description="Left out it stays as it is; null removes it.")] = None


class RerankerIn(Schema):
    """The reranker; null is the environment's, an empty URL is none: a model that runs here."""

    url: Url | None = None
    model: SomeName | None = None
    api_key: Annotated[ApiKey | None, Field(description="Left out it stays as it is; null removes it.")] = None


class AiSettingsIn(Schema):
    """All of the settings; what is left out comes from the environment. ``version`` is the one that was read."""

    version: VersionNumber
    language_model: LanguageModelIn | None = None
    embedding: EmbeddingIn | None = None
    reranker: RerankerIn | None = None


class AiTestIn(Schema):
    """Settings to try without saving them; with none at all, those that are saved."""

    language_model: LanguageModelIn | None = None
    embedding: EmbeddingIn | None = None
    reranker: RerankerIn | None = None


class RestoreIn(Schema):
    """The version to go back to; ``newest`` is the one that was read, where no newer one is to be passed over."""

    version: Annotated[int, Field(ge=1, le=MOST_VERSION, strict=True), BeforeValidator(whole)]
    newest: VersionNumber | None = None


class HistoryQuery(Schema):
    """The query string of the history."""

    limit: Annotated[Limit, Field(description="How many the page holds.", examples=[20])] = 50
    cursor: Annotated[str | None, cursor_field("7")] = None

    def before(self) -> int | None:
        """The version before which the page begins.

        Raises:
            Invalid: the cursor is none that a list gave out.
        """
        if self.cursor is None:
            return None
        if not self.cursor.isascii() or not self.cursor.isdecimal() or int(self.cursor) > MOST_VERSION + 1:
            raise not_a_cursor() from None
        return int(self.cursor)


class LanguageModelSet(Answer):
    """What is saved of the language model; of its key only whether there is one."""

    url: str | None
    model: str | None
    api_key_set: bool
    max_tokens_per_night: int | None


class EmbeddingSet(Answer):
    """What is saved of the embedding model."""

    url: str | None
    model: str | None
    dim: int | None
    precision: str | None
    api_key_set: bool


class RerankerSet(Answer):
    """What is saved of the reranker."""

    url: str | None
    model: str | None
    api_key_set: bool


class Saved(Answer):
    """The settings as they were saved once; null is the environment's."""

    version: int
    saved_at: datetime | None
    saved_by: UUID | None
    saved_by_name: str | None
    restored: int | None
    changed: list[str]
    language_model: LanguageModelSet
    embedding: EmbeddingSet
    reranker: RerankerSet


class TextInForce(Answer):
    """A text in force, and where it comes from."""

    value: str | None
    source: Source


class NumberInForce(Answer):
    """A number in force, and where it comes from."""

    value: int | None
    source: Source


class KeyInForce(Answer):
    """Whether there is a key, and where it comes from."""

    set: bool
    source: Source


class LanguageModelInForce(Answer):
    """The language model that this process works with."""

    url: TextInForce
    model: TextInForce
    api_key: KeyInForce
    max_tokens_per_night: NumberInForce


class EmbeddingInForce(Answer):
    """The embedding model that this process works with."""

    url: TextInForce
    model: TextInForce
    dim: NumberInForce
    precision: TextInForce
    api_key: KeyInForce


class RerankerInForce(Answer):
    """The reranker that this process works with."""

    url: TextInForce
    model: TextInForce
    api_key: KeyInForce


class WorkedWith(Answer):
    """What the process that answers works with; ``version`` is the one that it has gone over to."""

    version: int
    language_model: LanguageModelInForce
    embedding: EmbeddingInForce
    reranker: RerankerInForce


class ActiveModel(Answer):
    """The embedding model of the vectors that recall searches."""

    name: str
    dim: int
    precision: str


class Target(Answer):
    """The embedding model that the store is on its way to.

    ``state`` is that of its operation, ``done_percent`` how much of the pass that goes on is done.
    """

    model: str
    dim: int | None
    precision: str
    operation_id: UUID | None
    state: str | None
    done_percent: int | None
    error: str | None


class AiSettingsOut(Saved):
    """What is saved, what is in force, and what is wrong with it, in sentences."""

    in_force: WorkedWith
    active_model: ActiveModel | None
    target: Target | None
    problems: list[str]


class AiSettingsChanged(AiSettingsOut):
    """The same after a change; with an operation where the store goes over to another embedding model."""

    operation_id: UUID | None


class HistoryPage(Answer):
    """A page of versions, the newest first."""

    items: list[Saved]
    next_cursor: str | None


class Tried(Answer):
    """What became of asking one model: ``ok`` is null where there is none to be asked.

    ``dim`` is that of the vectors of an embedding model.
    """

    ok: bool | None
    model: str | None
    took_ms: float | None
    dim: int | None = None
    detail: str


class AiTested(Answer):
    """What became of asking the models that were to be tried; null those that were not."""

    language_model: Tried | None
    embedding: Tried | None
    reranker: Tried | None


class Stale(Conflict):
    """The request conflicts with what is there"""

    def __init__(self, detail: str, newest: int, field: str) -> None:
        super().__init__(detail, field=field)
        self.newest = newest

    @classmethod
    def after(cls, newest: int, name: str | None, field: str) -> Self:
        """Of whoever read an older version than the newest, which the key of this name saved."""
        by = f" by the key {name!r}" if name else ""
        return cls(
            f"Another version was saved meanwhile{by}: read version {newest}, and send the change again with that.",
            newest,
            field,
        )

    def problem(self, instance: str) -> dict[str, Any]:
        """The problem document, with the newer version."""
        return super().problem(instance) | {"version": self.newest}
