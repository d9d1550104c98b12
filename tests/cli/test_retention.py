"""`reverie retention`: show, set, run."""

import json
from typing import TYPE_CHECKING

import pytest
from tests.cli.listening import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cli, Service
    from tests.servers import SharedPostgres


@pytest.fixture(scope="module")
def service(
    postgres: "SharedPostgres", template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Service]":
    """A service of its own: what is set here is set for all users."""
    with listening(postgres, template, redis_url, tmp_path_factory.mktemp("retention"), "retention") as running:
        yield running


def test_it_is_shown_set_and_counted(cli: "Cli", user: str) -> None:
    for n in range(12):
        assert cli("remember", f"Note {n}.", "--user", user).exit_code == 0
    shown = cli("retention", "show")
    assert shown.exit_code == 0
    assert "ttl_days off the service days after which a trace goes" in " ".join(shown.stdout.split())
    counted = cli("retention", "set", "--max-traces-per-user", "10", "--dry-run")
    assert "2 of 12 traces, of 1 user, would go now: 2 are too many." in counted.stdout
    assert json.loads(cli("retention", "show", "--json").stdout)["max_traces_per_user"] is None
    assert cli("retention", "set", "--max-traces-per-user", "10").exit_code == 0
    kept = json.loads(cli("retention", "set", "--ttl-days", "730", "--json").stdout)
    assert (kept["ttl_days"], kept["max_traces_per_user"]) == (730, 10)
    assert "would go now: 2 are too many" in cli("retention", "run", "--dry-run").stdout
    started = json.loads(cli("retention", "run", "--json").stdout)
    assert json.loads(cli("operation", started["operation_id"], "--json").stdout)["kind"] == "prune"
    back = json.loads(cli("retention", "set", "--max-traces-per-user", "service", "--ttl-days", "0", "--json").stdout)
    assert (back["ttl_days"], back["max_traces_per_user"]) == (0, None)
    assert "None of 12 traces would go." in cli("retention", "run", "--dry-run").stdout


def test_what_takes_nearly_everything_asks_for_force(cli: "Cli", user: str) -> None:
    for n in range(12):
        assert cli("remember", f"Note {n}.", "--user", user).exit_code == 0
    refused = cli("retention", "set", "--max-traces-per-user", "1")
    assert refused.exit_code == 1
    assert "send force as true" in refused.stderr
    assert cli("retention", "set", "--max-traces-per-user", "1", "--force").exit_code == 0
    cli("retention", "set", "--max-traces-per-user", "service")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "Say what to set"),
        (("--ttl-days", "many"), "--ttl-days takes a number or `service`, not 'many'."),
        (("--ttl-days", "1.5"), "--ttl-days takes a number"),
        (("--salience-floor", "low"), "--salience-floor takes a number"),
    ],
)
def test_what_is_not_understood(cli: "Cli", options: tuple[str, ...], says: str) -> None:
    done = cli("retention", "set", *options)
    assert done.exit_code == 2
    assert says in done.stderr


def test_what_the_service_refuses(cli: "Cli") -> None:
    done = cli("retention", "set", "--salience-floor", "2")
    assert (done.exit_code, done.stderr) == (1, "salience_floor takes a number of at most 1, not 2.0.\n")


def test_an_expiry_is_remembered(cli: "Cli", user: str) -> None:
    assert cli("remember", "The code is 4417.", "--user", user, "--expires-at", "2099-01-01").exit_code == 0
    [trace] = json.loads(cli("traces", "--user", user, "--json").stdout)["items"]
    assert trace["expires_at"] == "2099-01-01T00:00:00Z"
    past = cli("remember", "The code is 4417.", "--user", user, "--expires-at", "2020-01-01")
    assert past.exit_code == 1
    assert "expires_at takes a time that is still to come" in past.stderr
