"""`reverie api` and `reverie worker`: what keeps them from starting is one sentence and an exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reverie.core import migrations
from reverie.core.config import Settings
from reverie.embedded.postgres import free_port

if TYPE_CHECKING:
    from tests.servers import SharedPostgres


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs Python with these settings alone, until it ends."""
    known = {"PATH": os.environ["PATH"], "REVERIE_HOME": str(folder), "EMBEDDING_THREADS": "1"} | environment
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *arguments], env=known, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "check DATABASE_URL"),
        ({"DATABASE_URL": "empty"}, "run `reverie migrate`"),
        ({"DATABASE_URL": "migrated", "EMBEDDING_MODEL": "/no/such/folder"}, "EMBEDDING_MODEL"),
    ],
)
def test_an_api_that_cannot_start_says_why_in_one_sentence(
    tmp_path: Path, postgres: "SharedPostgres", workers: str, environment: dict[str, str], says: str
) -> None:
    if (kind := environment.get("DATABASE_URL")) in ("empty", "migrated"):
        environment = environment | {"DATABASE_URL": postgres.create(f"bare_{os.getpid()}_{workers}")}
        if kind == "migrated":
            # What the store has saved of the models goes before the environment, and is read first.
            migrations.upgrade(environment["DATABASE_URL"])
    ended = run(tmp_path, "-m", "reverie", "api", "--port", str(free_port()), "--workers", workers, **environment)
    if "bare_" in environment.get("DATABASE_URL", ""):
        postgres.drop(f"bare_{os.getpid()}_{workers}")
    assert ended.returncode == 78, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "startup failed" not in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_worker_whose_part_ends_ends_with_it(tmp_path: Path, settings: Settings) -> None:
    script = (
        "import reverie.worker as worker\n"
        "from reverie.core.config import load_settings\n"
        "async def breaks(runtime):\n"
        "    raise RuntimeError('the sweeper fell over')\n"
        "worker._sweep = breaks\n"
        "worker.main(load_settings())\n"
    )
    ended = run(tmp_path, "-c", script, DATABASE_URL=str(settings.database_url), REDIS_URL=str(settings.redis_url))
    assert ended.returncode == 1, ended.stderr
    assert "worker part ended" in ended.stderr
    assert "the sweeper fell over" in ended.stderr
