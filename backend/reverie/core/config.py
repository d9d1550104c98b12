"""Settings: from the environment and from ``reverie.yaml``, the environment first.

Nothing is read at import; :func:`load_settings` reads once, and what it returns is passed on.
"""

import os
import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from reverie.core.errors import SettingsError
from reverie.core.kinds import HEADS
from reverie.core.languages import configuration
from reverie.core.zones import is_time_zone

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MODEL_ALIASES = {"bge-m3": "BAAI/bge-m3"}
"""Short names that are understood for EMBEDDING_MODEL."""

MAX_DIM = {"fp16": 4000, "fp32": 2000}
"""Most dimensions of a vector at each precision: what an HNSW index of pgvector holds, and a row of 8 KiB."""


def _none_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


NEO4J_SCHEMES = ("bolt://", "bolt+s://", "bolt+ssc://", "neo4j://", "neo4j+s://", "neo4j+ssc://")

LEAST_SECRET = 16
"""Characters of a secret, so that nobody guesses it."""

OptionalText = Annotated[str | None, BeforeValidator(_none_if_blank)]
OptionalInt = Annotated[int | None, BeforeValidator(_none_if_blank)]


class _File(YamlConfigSettingsSource):
    """``reverie.yaml``, whose faults are sentences."""

    def _read_file(self, path: "Path | Traversable") -> dict[str, Any]:
        """The settings of the file.

        Raises:
            SettingsError: it cannot be read, is no YAML, or holds something else than names with values.
        """
        import yaml

        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise SettingsError(f"{path}, line {line}: this is no YAML ({error.problem}).") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{path}, line 1: this cannot be read ({str(error).splitlines()[0]}).") from None
        if found is None:
            return {}
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise SettingsError(f"{path}, line 1: takes a setting a line, such as `memory_k: 10`.")
        return found


def default_home() -> Path:
    """The folder of the embedded store when REVERIE_HOME is not set (XDG Base Directory Specification 0.8)."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "reverie"


class Settings(BaseSettings):
    """Every setting of Reverie. The names are those of the environment variables, in lower case."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, case_sensitive=False, env_ignore_empty=True)

    reverie_home: Path = Field(default_factory=default_home)
    reverie_host: str = "127.0.0.1"
    reverie_port: int = Field(8000, ge=1, le=65535)
    reverie_secret_key: OptionalText = None
    reverie_secret_lost: OptionalText = None
    reverie_log_level: Literal["debug", "info", "warning", "error"] = "info"
    reverie_worker_metrics_port: OptionalInt = Field(None, ge=1, le=65535)
    reverie_max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024)
    reverie_max_held_bytes: int = Field(128 * 1024 * 1024, ge=1024)
    reverie_max_recalls: int = Field(0, ge=0, le=1000)
    reverie_max_writes: int = Field(0, ge=0, le=1000)
    reverie_max_waiting: int = Field(64, ge=0, le=10_000)
    reverie_max_wait_seconds: float = Field(3.0, gt=0, le=600)
    reverie_max_connections: int = Field(1000, ge=1, le=1_000_000)
    reverie_body_seconds: float = Field(20.0, gt=0, le=3600)
    reverie_grace_seconds: int = Field(10, ge=1, le=3600)

    database_url: OptionalText = None
    database_pool_size: int = Field(10, ge=2, le=200)
    database_timeout_seconds: float = Field(10.0, gt=0, le=600)
    redis_url: OptionalText = None
    redis_focus_ttl_seconds: int = Field(172_800, ge=1)
    redis_focus_size: int = Field(32, ge=1, le=1000)
    redis_timeout_seconds: float = Field(0.25, gt=0, le=60)

    object_store_url: OptionalText = None

    graph_backend: Literal["postgres", "neo4j"] = "postgres"
    neo4j_url: OptionalText = None
    neo4j_user: str = "neo4j"
    neo4j_password: OptionalText = None

    memory_hot_days: int = Field(30, ge=1)
    memory_warm_days: int = Field(365, ge=1)
    memory_low_salience: float = Field(0.3, ge=0, le=1)
    memory_tier_minutes: int = Field(180, ge=1, le=1440)
    memory_thaw_days: int = Field(30, ge=1, le=3650)
    memory_cold_timeout_seconds: float = Field(5.0, gt=0, le=600)
    memory_k: int = Field(10, ge=1, le=100)
    memory_hnsw: Literal["auto", "always", "never"] = "auto"
    memory_held_mb: int = Field(64, ge=0)
    memory_ranker: OptionalText = None
    memory_links: Literal["next", "mentions", "all"] = "next"
    memory_heads: str = "semantic"
    memory_salience_write_threshold: float = Field(0.35, ge=0, le=1)
    memory_language: str = "english"
    memory_detect_language: Literal["auto", "never"] = "auto"
    memory_max_content_chars: int = Field(1_000_000, ge=1, le=10_000_000)
    memory_max_question_chars: int = Field(100_000, ge=1)
    memory_max_id_chars: int = Field(255, ge=1, le=255)
    memory_max_meta_depth: int = Field(32, ge=1, le=64)
    memory_recall_timeout_seconds: float = Field(2.0, gt=0, le=60)
    memory_operation_days: int = Field(30, ge=1)
    memory_ttl_days: int = Field(0, ge=0, le=36_500)
    memory_max_traces_per_user: int = Field(0, ge=0, le=1_000_000_000)
    memory_salience_floor: float = Field(0.0, ge=0, le=1)

    embedding_model: str = "bge-small-en-v1.5"
    embedding_dim: OptionalInt = Field(None, ge=1, le=4000)
    embedding_precision: Literal["fp16", "fp32"] = "fp16"
    embedding_url: OptionalText = None
    embedding_api_key: OptionalText = None
    embedding_threads: int = Field(0, ge=0, le=256)
    embedding_timeout_seconds: float = Field(30.0, gt=0, le=600)

    rerank_model: str = "ms-marco-MiniLM-L-12-v2"
    rerank_url: OptionalText = None
    rerank_api_key: OptionalText = None
    rerank_candidates: int = Field(20, ge=0, le=200)
    rerank_seconds: float = Field(1.0, gt=0, le=60)

    dream_at: str = "03:00"
    dream_time_zone: str = "UTC"
    dream_max_minutes: int = Field(120, ge=1, le=1440)
    dream_extractor: str = "rules"

    language_model_url: OptionalText = None
    language_model: OptionalText = None
    language_model_api_key: OptionalText = None
    language_model_timeout_seconds: float = Field(60.0, gt=0, le=3600)
    language_model_max_tokens_per_night: int = Field(1_000_000, ge=0, le=1_000_000_000)

    ai_private_endpoints: Literal["refuse", "allow"] = "refuse"

    _saved: frozenset[str] = PrivateAttr(default=frozenset())

    def overlaid(self, values: Mapping[str, object]) -> "Settings":
        """The same with values that an admin saved over HTTP, which are checked already."""
        changed = self.model_copy(update=dict(values))
        changed._saved = frozenset(values)
        return changed

    def public_only(self, name: str) -> bool:
        """Whether the endpoint of this setting may be at public addresses alone: an admin named it, no operator."""
        return name in self._saved and self.ai_private_endpoints == "refuse"

    @field_validator("embedding_model", mode="after")
    @classmethod
    def _expand_alias(cls, value: str) -> str:
        return MODEL_ALIASES.get(value, value)

    @field_validator("database_url", mode="after")
    @classmethod
    def _plain_postgres_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        plain = value.replace("postgresql+psycopg://", "postgresql://", 1)
        if not plain.startswith(("postgresql://", "postgres://")):
            raise ValueError("takes a URL that begins with postgresql:// or postgresql+psycopg://")
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(plain)
        except psycopg.ProgrammingError:
            # What libpq says quotes the password.
            raise ValueError(
                "takes a URL that PostgreSQL's library can read; in its password write % as %25, @ as %40, / as %2F"
            ) from None
        return plain

    @field_validator("memory_language", mode="after")
    @classmethod
    def _text_search_configuration(cls, value: str) -> str:
        return configuration(value)

    @field_validator("memory_heads", mode="after")
    @classmethod
    def _known_heads(cls, value: str) -> str:
        given = {name.strip().lower() for name in value.split(",")} - {""}
        if "semantic" not in given or not given <= set(HEADS):
            raise ValueError(f"takes semantic, alone or with others of {', '.join(HEADS)}, separated by commas")
        return ",".join(name for name in HEADS if name in given)

    @field_validator("reverie_secret_key", mode="after")
    @classmethod
    def _no_guess(cls, value: str | None) -> str | None:
        if value is not None and any(len(one.strip()) < LEAST_SECRET for one in value.split(",")):
            raise ValueError(f"takes a secret of at least {LEAST_SECRET} characters, or several separated by commas")
        return value

    @property
    def heads(self) -> frozenset[str]:
        """The heads that traces get vectors of."""
        return frozenset(self.memory_heads.split(","))

    @field_validator("dream_at", mode="after")
    @classmethod
    def _time_of_day(cls, value: str) -> str:
        if re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value.strip()) is None:
            raise ValueError("takes a time of the day such as 03:00")
        return value.strip().rjust(5, "0")

    @field_validator("dream_time_zone", mode="after")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        if not is_time_zone(value):
            raise ValueError("takes the name of a time zone such as UTC or Europe/Berlin")
        return value

    @property
    def dream_time(self) -> time:
        """When the night's run begins, in DREAM_TIME_ZONE."""
        return time.fromisoformat(self.dream_at)

    @field_validator("redis_url", mode="after")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("takes a URL that begins with redis://, rediss:// or unix://")
        return value

    @field_validator("object_store_url", mode="after")
    @classmethod
    def _object_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("file:///", "memory://", "s3://", "gs://", "az://")):
            raise ValueError("takes a URL that begins with file:///, s3://, gs:// or az://")
        return value

    @field_validator("neo4j_url", mode="after")
    @classmethod
    def _neo4j_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(NEO4J_SCHEMES):
            raise ValueError("takes a URL that begins with bolt://, bolt+s://, neo4j:// or neo4j+s://")
        return value

    @model_validator(mode="after")
    def _mirror_has_a_place(self) -> "Settings":
        if self.graph_backend == "neo4j" and (self.neo4j_url is None or self.neo4j_password is None):
            raise ValueError("NEO4J_URL and NEO4J_PASSWORD take values where GRAPH_BACKEND is neo4j")
        return self

    @model_validator(mode="after")
    def _one_body_fits(self) -> "Settings":
        # Large bodies leave an eighth of the room to small ones.
        if self.reverie_max_held_bytes * 7 < self.reverie_max_body_bytes * 8:
            raise ValueError("REVERIE_MAX_HELD_BYTES takes at least 8/7 of REVERIE_MAX_BODY_BYTES")
        return self

    @model_validator(mode="after")
    def _warm_before_cold(self) -> "Settings":
        if self.memory_warm_days < self.memory_hot_days:
            raise ValueError(
                f"MEMORY_WARM_DAYS takes at least as many days as MEMORY_HOT_DAYS has ({self.memory_hot_days}), not "
                f"{self.memory_warm_days}"
            )
        return self

    @model_validator(mode="after")
    def _language_model_has_a_place(self) -> "Settings":
        if (self.language_model_url is None) != (self.language_model is None):
            raise ValueError("LANGUAGE_MODEL and LANGUAGE_MODEL_URL take a value together, or neither has one")
        return self

    @model_validator(mode="after")
    def _dimension_fits_precision(self) -> "Settings":
        most = MAX_DIM[self.embedding_precision]
        if self.embedding_dim is not None and self.embedding_dim > most:
            raise ValueError(f"EMBEDDING_DIM takes at most {most} at EMBEDDING_PRECISION={self.embedding_precision}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings' own
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = Path(os.environ.get("REVERIE_CONFIG", "reverie.yaml"))
        return (init_settings, env_settings, _File(settings_cls, yaml_file=path))


def load_settings(**overrides: object) -> Settings:
    """Reads the settings; ``overrides`` come before the environment.

    Raises:
        SettingsError: one sentence for each wrong value, naming the variable and what it takes.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(" ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: object) -> str:
    assert isinstance(problem, dict)  # noqa: S101 - narrows pydantic's ErrorDetails
    name = str(problem["loc"][0]).upper() if problem["loc"] else ""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name} in reverie.yaml is no setting of Reverie; .env.example lists them all."
    if not name:
        return f"{message}."
    value = "" if "KEY" in name or "URL" in name else f", not {str(problem['input'])[:100]!r}"
    takes = message[0].lower() + message[1:]
    return f"{name}: {takes}{value}."
