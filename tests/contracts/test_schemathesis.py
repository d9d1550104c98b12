"""schemathesis over the OpenAPI document of a real service: examples, boundaries, random cases, and links followed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reverie.core.config import Settings
from reverie.embedding.protocol import Embedder
from tests.conftest import Api, remembering, serving
from tests.contracts.documented import Documented
from tests.contracts.listening import listening

if TYPE_CHECKING:
    from tests.figures import Figure

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")


async def run(api: Api, *options: str) -> None:
    """Runs schemathesis, which has nothing to complain of."""
    made = await api.app.state.keys.create(await api.app.state.keys.ensure_space("default"), "in use", ["admin"])
    async with listening(api.app) as port:
        url = f"http://127.0.0.1:{port}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", f"{url}/openapi.json", *options),
            cwd=ROOT,
            env={**os.environ, "REVERIE_URL": url, "REVERIE_KEY": made.key, "REVERIE_KEY_ID": str(made.id)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == 0, "\n".join(line[:400] for line in said.decode().splitlines())


@asynccontextmanager
async def watched(settings: Settings, embedder: Embedder, documented: Documented, *, long: bool) -> AsyncIterator[Api]:
    """A running service with something in it; all its answers are looked at."""
    if not long:
        # At the boundaries, the longest texts of all are most of the work.
        settings = settings.model_copy(update={"memory_max_content_chars": 3000, "memory_max_question_chars": 1000})
    async with serving(settings, embedder) as api:
        documented.watch(api.app)
        remember = remembering(await api.caller())
        await remember("nora", "What is the cat called?", {"content": "Miso.", "role": "user", "meta": {"a": 1}})
        yield api


def told(documented: Documented, figure: "Figure") -> None:
    """Prints the figures, and makes sure of them."""
    operations = {name for name, _ in documented.statuses if " " not in name}
    figure("routes", len(operations))
    figure("cases", documented.statuses.total())
    figure("5xx", documented.server_errors)
    figure("undocumented statuses", documented.undocumented)
    assert documented.server_errors == 0
    assert documented.faults == []
    described = {one["operationId"] for path in documented.document["paths"].values() for one in path.values()}
    assert operations <= described


@pytest.mark.timeout(3600)
async def test_whatever_is_asked_the_answer_is_as_documented(
    settings: Settings, embedder: Embedder, long: bool, figure: "Figure"
) -> None:
    documented = Documented()
    async with watched(settings, embedder, documented, long=long) as api:
        await run(api, "--phases", "examples,coverage,fuzzing", "--max-examples", "200" if long else "4")
    told(documented, figure)


LISTS_AND_KEYS = [
    "list_traces", "list_users", "list_keys", "create_key", "revoke_key", "export_user", "list_receipts", "get_receipt",
    "run_retention", "put_retention", "get_retention", "thaw", "get_user", "patch_user", "consolidate", "list_dreams",
    "get_dream", "undo_dream", "admin_jobs", "get_profile", "get_ai_settings", "put_ai_settings", "test_ai_settings",
    "list_ai_settings", "restore_ai_settings", "list_edges",
]  # fmt: skip
"""Where schemathesis begins if it may; it takes ``user_id`` for what somebody has to make before remembering."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("which", ["include", "exclude"], ids=["lists and keys", "memory"])
async def test_wherever_links_lead_the_answer_is_as_documented(
    settings: Settings, embedder: Embedder, long: bool, figure: "Figure", which: str
) -> None:
    documented = Documented()
    chosen = [option for name in LISTS_AND_KEYS for option in (f"--{which}-operation-id", name)]
    async with watched(settings, embedder, documented, long=long) as api:
        await run(api, "--phases", "stateful", "--max-examples", "400" if long else "30", *chosen)
    told(documented, figure)
    followed = ["revoke_key"] if which == "include" else ["get_trace", "patch_trace", "delete_trace", "forget"]
    assert sum(documented.statuses[name, status] for name in followed for status in (200, 204)) > 0
