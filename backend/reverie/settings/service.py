"""What an admin sets of the models while the service runs: looking at it, changing it, trying it, going back."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog

from reverie.auth.principal import Principal
from reverie.auth.service import DEFAULT_SPACE
from reverie.core import clock
from reverie.core.config import MAX_DIM, Settings
from reverie.core.database import Database, ReadSession
from reverie.core.errors import Forbidden, Invalid, NotFound, SettingsError
from reverie.core.idempotency import Claim
from reverie.core.ids import uuid7
from reverie.core.queue import Bell
from reverie.embedding.registry import BGE_SMALL, MINILM, known_name
from reverie.embedding.reranking.registry import MS_MARCO
from reverie.embedding.reranking.registry import choose as choose_reranker
from reverie.operations import repository as operations
from reverie.settings import probing, repository
from reverie.settings.force import InForce, private_endpoints
from reverie.settings.overlay import (
    KEYS,
    SECTIONS,
    URLS,
    Section,
    Version,
    changed,
    overlaid,
    source_of,
    unreadable,
    unreadable_key,
)
from reverie.settings.repository import Active
from reverie.settings.schemas import (
    ActiveModel,
    AiSettingsChanged,
    AiSettingsIn,
    AiSettingsOut,
    AiTested,
    AiTestIn,
    EmbeddingIn,
    EmbeddingInForce,
    EmbeddingSet,
    HistoryPage,
    HistoryQuery,
    KeyInForce,
    LanguageModelIn,
    LanguageModelInForce,
    LanguageModelSet,
    NumberInForce,
    RerankerIn,
    RerankerInForce,
    RerankerSet,
    RestoreIn,
    Saved,
    Stale,
    Target,
    TextInForce,
    Tried,
    WorkedWith,
)
from reverie.settings.sealing import Sealing

if TYPE_CHECKING:
    from uuid import UUID

REEMBED: Final = "reembed"
"""The kind of operation that brings a store over to the embedding model of the newest version."""

log = structlog.get_logger(__name__)

Given = LanguageModelIn | EmbeddingIn | RerankerIn


class AiSettingsService:
    """The settings of the models of a whole store, kept by the admins of its space `default`."""

    def __init__(self, in_force: InForce, database: Database, bell: Bell, sealing: Sealing) -> None:
        self.in_force = in_force
        self._base = in_force.base
        self._database = database
        self._bell = bell
        self._sealing = sealing
        self._trying = asyncio.Lock()
        self._keepers: UUID | None = None

    async def refuse_others(self, principal: Principal) -> None:
        """Makes sure that an admin is one of the store and not of a customer.

        Raises:
            Forbidden: the key is of another space.
        """
        if self._keepers is None:
            async with self._database.reading(None) as session:
                self._keepers = await repository.keeper_space(session, DEFAULT_SPACE)
        if principal.space_id != self._keepers:
            raise Forbidden(
                f"The models are those of the whole store: this needs an admin key of the space {DEFAULT_SPACE}, which "
                f"`reverie key create NAME --scope admin --space {DEFAULT_SPACE}` makes where the database is."
            )

    async def show(self) -> AiSettingsOut:
        """What is saved, and what this process works with."""
        async with self._database.reading(None) as session:
            return await self._out(session, await repository.newest(session))

    async def save(self, principal: Principal, given: AiSettingsIn) -> AiSettingsChanged:
        """Saves all of the settings as the next version.

        Raises:
            Stale: another version was saved since the one that was read.
            Invalid: a field does not go with the others, or an endpoint is at a private address.
        """
        async with self._database.reading(None) as session:
            before = await repository.newest(session)
        _refuse_stale(before, given.version, "version")
        version = self._version(before, {"language_model": given.language_model, "embedding": given.embedding,
                                         "reranker": given.reranker})  # fmt: skip
        self._refuse_parts(version)
        await self._refuse_private(version)
        return await self._append(principal, before, version)

    async def restore(self, principal: Principal, given: RestoreIn, claim: Claim) -> AiSettingsChanged:
        """Saves an earlier version again; ``claim``: of the Idempotency-Key of the request.

        Raises:
            Stale: another version was saved since the newest one that was read.
            NotFound: there is none of this number.
            Invalid: an endpoint of it is at a private address, where none may be any more.
        """
        number = given.version
        async with self._database.reading(None) as session:
            before = await repository.newest(session)
            found = await repository.page(session, number + 1, 1)
        if given.newest is not None:
            _refuse_stale(before, given.newest, "newest")
        if not found or found[0].version != number:
            raise NotFound(f"There is no version {number} of the settings.")
        await self._refuse_private(found[0])
        return await self._append(principal, before, replace(found[0], restored=number), claim)

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """The versions, the newest first."""
        async with self._database.reading(None) as session:
            found = await repository.page(session, query.before(), query.limit)
        cursor = str(found[-1].version) if len(found) == query.limit else None
        return HistoryPage(items=[_saved(one) for one in found], next_cursor=cursor)

    async def test(self, given: AiTestIn) -> AiTested:
        """Asks the models: of the sections that are given those, else all as they are saved."""
        async with self._database.reading(None) as session:
            before = await repository.newest(session)
            active = await repository.active(session)
        sections: dict[Section, Given | None] = {
            "language_model": given.language_model, "embedding": given.embedding, "reranker": given.reranker
        }  # fmt: skip
        named = {section: one for section, one in sections.items() if one is not None}
        version = before
        if named:
            version = self._version(before, named)
        settings = overlaid(self._base, version, self._sealing)
        wanted = set(named) or set(sections)
        # One at a time: a model that runs here is loaded for it.
        async with self._trying:
            tried: dict[Section, Tried] = {}
            if "language_model" in wanted:
                tried["language_model"] = await probing.try_language_model(settings)
            if "embedding" in wanted:
                tried["embedding"] = await probing.try_embedding(settings, active)
            if "reranker" in wanted:
                tried["reranker"] = await probing.try_reranker(settings)
        for section in unreadable(version, self._sealing) & set(tried):
            one = tried[section]
            tried[section] = one.model_copy(update={"detail": f"{one.detail} {unreadable_key(section)}"})
        return AiTested(**{section: tried.get(section) for section in sections})

    def _version(self, before: Version, given: Mapping[Section, Given | None]) -> Version:
        """What is given, with the keys that are left as they are.

        Raises:
            Invalid: a key would go to another URL than it was saved for, or there is nothing to encrypt it with.
        """
        values: dict[str, Any] = {}
        keys: dict[str, bytes] = {}
        for section, one in given.items():
            if one is None:
                continue
            sent = one.model_dump()
            values |= {name: sent[field] for field, name in SECTIONS[section].items() if sent[field] is not None}
            name, url = KEYS[section], URLS[section]
            if "api_key" not in one.model_fields_set:
                if name in before.keys and values.get(url) != "":
                    if before.values.get(url) != values.get(url):
                        raise Invalid(
                            f"{section}.api_key is saved for another URL: send it again for this one, or null for "
                            "none.",
                            field=f"{section}.api_key",
                        )
                    keys[name] = before.keys[name]
            elif one.api_key is not None:
                if not self._sealing.possible:
                    raise Invalid(
                        f"{section}.api_key cannot be kept without a secret to encrypt it with: set REVERIE_SECRET_KEY "
                        "and start again.",
                        field=f"{section}.api_key",
                    )
                keys[name] = self._sealing.sealed(one.api_key)
        return Version(values=values, keys=keys)

    def _refuse_parts(self, version: Version) -> None:
        """Makes sure that the settings are whole, beside the environment as it is.

        Raises:
            Invalid: they are not.
        """
        url, model = (
            version.values.get(name, getattr(self._base, name)) or None
            for name in ("language_model_url", "language_model")
        )
        if (url is None) != (model is None):
            missing, other = ("url", "model") if url is None else ("model", "url")
            raise Invalid(
                f"language_model.{missing} takes a value together with {other}, or neither has one.",
                field=f"language_model.{missing}",
            )
        settings = overlaid(self._base, version, self._sealing)
        if settings.embedding_dim is not None and settings.embedding_dim > MAX_DIM[settings.embedding_precision]:
            raise Invalid(
                f"embedding.dim takes at most {MAX_DIM[settings.embedding_precision]} at the precision "
                f"{settings.embedding_precision}.",
                field="embedding.dim",
            )
        _refuse_unknown(settings, version)

    async def _refuse_private(self, version: Version) -> None:
        """Makes sure that no endpoint of a version is, or resolves to, a private address, unless an operator allows it.

        Raises:
            Invalid: one is.
        """
        for section in await private_endpoints(self._base, version, self._sealing):
            raise Invalid(
                f"{section}.url takes an address of the public internet: this one is private, or its name resolves "
                "to one that is. An operator allows it by AI_PRIVATE_ENDPOINTS=allow.",
                field=f"{section}.url",
            )

    async def _append(
        self, principal: Principal, before: Version, wanted: Version, claim: Claim | None = None
    ) -> AiSettingsChanged:
        now = clock.now()
        version = replace(
            wanted, version=before.version + 1, saved_at=now, saved_by=principal.key_id,
            changed=changed(before, wanted), operation_id=None,
        )  # fmt: skip
        async with self._database.writing(principal.space_id) as session:
            active = await repository.active(session)
            goes_over = await self._goes_over(session, before, version, active)
            operation_id = uuid7(now) if goes_over else None
            kept = None if goes_over or "embedding" in _sections(version.changed) else before.operation_id
            version = replace(version, operation_id=operation_id or kept)
            if not await repository.append(session, version):
                newest = await repository.newest(session)
                field = "version" if version.restored is None else "newest"
                raise Stale.after(newest.version, newest.saved_by_name, field)
            if operation_id is not None:
                payload = {"version": version.version}
                await operations.insert(session, operation_id, principal.space_id, REEMBED, now, payload=payload)
            shown = await self._out(session, await repository.newest(session))
            out = AiSettingsChanged(**dict(shown), operation_id=operation_id)
            if claim is not None:
                await claim.keep(session, status_of(out), out.model_dump())
        log.info(
            "ai settings saved", version=version.version, by=str(principal.key_id), changed=list(version.changed),
            restored=version.restored, operation=str(operation_id) if operation_id else None,
        )  # fmt: skip
        if operation_id is not None:
            await self._bell.ring(operation_id)
        return out

    async def _goes_over(self, session: ReadSession, before: Version, version: Version, active: Active | None) -> bool:
        """Whether a version needs an operation that brings the store over to its model, or back."""
        wanted, former = (_model_of(overlaid(self._base, one, self._sealing)) for one in (version, before))
        in_force = _model_of(self.in_force.settings)
        if active is not None and self.in_force.active != active.id:
            # This process is about to go over to what the store has.
            in_force = former
        if wanted == in_force == former:
            return False
        if wanted != former or "embedding" in _sections(version.changed) or before.operation_id is None:
            return True
        pending = await repository.operation(session, before.operation_id)
        return pending is None or pending[0] in ("failed", "done")

    async def _out(self, session: ReadSession, newest: Version) -> AiSettingsOut:
        active = await repository.active(session)
        problems = list(self.in_force.faults)
        if self.in_force.refused is not None:
            problems.append(self.in_force.refused)
        target = await self._target(session, newest)
        if target is not None and target.error is not None:
            problems.append(f"The store has not gone over to {target.model}: {target.error}")
        return AiSettingsOut(
            **dict(_saved(newest)),
            in_force=self._worked_with(),
            active_model=_active_model(active),
            target=target,
            problems=[probing.in_fields(one) for one in problems],
        )

    async def _target(self, session: ReadSession, newest: Version) -> Target | None:
        """The model that the newest version wants, where this process does not work with it yet."""
        wanted = overlaid(self._base, newest, self._sealing)
        if _model_of(wanted) == _model_of(self.in_force.settings):
            return None
        found = await repository.operation(session, newest.operation_id) if newest.operation_id else None
        state, error = found or (None, None)
        change = await repository.change(session)
        share = change.share if change is not None and state in ("pending", "running") else None
        return Target(
            model=wanted.embedding_model,
            dim=wanted.embedding_dim,
            precision=wanted.embedding_precision,
            operation_id=newest.operation_id,
            state=state,
            done_percent=share,
            error=error if state == "failed" else None,
        )

    def _worked_with(self) -> WorkedWith:
        force = self.in_force
        version = force.version.with_embedding_of(force.embedding)

        def text(section: Section, field: str) -> TextInForce:
            name = SECTIONS[section][field]
            value = getattr(force.settings, name)
            shown = _without_secrets(value) if value and field == "url" else value
            return TextInForce(value=shown, source=source_of(self._base, version, section, name))

        def number(section: Section, field: str) -> NumberInForce:
            name = SECTIONS[section][field]
            return NumberInForce(
                value=getattr(force.settings, name), source=source_of(self._base, version, section, name)
            )

        def key(section: Section) -> KeyInForce:
            name = KEYS[section]
            return KeyInForce(
                set=getattr(force.settings, name) is not None, source=source_of(self._base, version, section, name)
            )

        return WorkedWith(
            version=force.version.version,
            language_model=LanguageModelInForce(
                url=text("language_model", "url"),
                model=text("language_model", "model"),
                api_key=key("language_model"),
                max_tokens_per_night=number("language_model", "max_tokens_per_night"),
            ),
            embedding=EmbeddingInForce(
                url=text("embedding", "url"),
                model=text("embedding", "model"),
                dim=number("embedding", "dim"),
                precision=text("embedding", "precision"),
                api_key=key("embedding"),
            ),
            reranker=RerankerInForce(
                url=text("reranker", "url"), model=text("reranker", "model"), api_key=key("reranker")
            ),
        )


def status_of(out: AiSettingsChanged) -> int:
    """The status of an answer: whether it is done, or accepted."""
    return 200 if out.operation_id is None else 202


def _refuse_stale(before: Version, number: int, field: str) -> None:
    """Makes sure that the version which was read is the newest.

    Raises:
        Stale: it is not, or there is none of this number.
    """
    if number > before.version:
        raise Stale(f"There is no version {number}; the newest is {before.version}.", before.version, field)
    if number < before.version:
        raise Stale.after(before.version, before.saved_by_name, field)


def _refuse_unknown(settings: Settings, version: Version) -> None:
    """Makes sure that models that are to run here have names that are known.

    Raises:
        Invalid: one has not.
    """
    runs_here: tuple[tuple[Section, str | None, Callable[[Settings], object], str], ...] = (
        ("embedding", settings.embedding_url, known_name, f"{BGE_SMALL}, {MINILM}, bge-m3"),
        ("reranker", settings.rerank_url, choose_reranker, MS_MARCO),
    )
    for section, url, look_at, names in runs_here:
        if url is not None or not any(name in version.values for name in SECTIONS[section].values()):
            continue
        try:
            look_at(settings)
        except SettingsError:
            raise Invalid(
                f"{section}.model takes {names}, the organisation/name of a model of the Hugging Face hub, or any name "
                "together with url.",
                field=f"{section}.model",
            ) from None


def _without_secrets(url: str) -> str:
    """A URL without user, password and query, which may hold a key where the environment names it."""
    return str(httpx.URL(url.strip()).copy_with(userinfo=b"", query=None, fragment=None))


def _model_of(settings: Settings) -> tuple[str, int | None, str]:
    """The embedding model that settings name: another one needs other vectors."""
    return settings.embedding_model, settings.embedding_dim, settings.embedding_precision


def _sections(fields: tuple[str, ...]) -> set[str]:
    return {one.partition(".")[0] for one in fields}


def _active_model(active: Active | None) -> ActiveModel | None:
    if active is None:
        return None
    name, dim, precision = active.identity
    return ActiveModel(name=name, dim=dim, precision=precision)


def _saved(version: Version) -> Saved:
    def of(section: Section) -> dict[str, Any]:
        values = {field: version.values.get(name) for field, name in SECTIONS[section].items()}
        return values | {"api_key_set": KEYS[section] in version.keys}

    return Saved(
        version=version.version,
        saved_at=version.saved_at,
        saved_by=version.saved_by,
        saved_by_name=version.saved_by_name,
        restored=version.restored,
        changed=list(version.changed),
        language_model=LanguageModelSet(**of("language_model")),
        embedding=EmbeddingSet(**of("embedding")),
        reranker=RerankerSet(**of("reranker")),
    )
