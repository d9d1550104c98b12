"""Every command against a running service: what it prints, what programs read, and how it ends."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from reverie import __version__

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Script, Service


def answer(result: Any) -> Any:
    """What a command printed for programs; nothing else may stand on standard output."""
    return json.loads(result.stdout)


def test_remember_and_recall(cli: "Cli", user: str) -> None:
    stored = cli("remember", "I adopted a cat called Miso", "--user", user, "--speaker", "Ann", "--role", "user")
    assert stored.exit_code == 0
    assert stored.stdout.startswith("Remembered as ")
    assert stored.stderr == ""
    found = cli("recall", "What is the cat called?", "--user", user)
    assert found.exit_code == 0
    row = next(line for line in found.stdout.splitlines() if "Miso" in line)
    assert row.split()[0] == "1"
    assert 0 < float(row.split()[1]) <= 1
    assert "Ann" in row


def test_every_option_of_remember_arrives(cli: "Cli", user: str) -> None:
    options = {
        "speaker": "Ann", "role": "assistant", "conversation": "c1", "kind": "fact", "occurred-at": "2026-05-08",
        "salience": "0.75", "external-id": "e1", "meta": '{"topic": ["home"]}',
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    made = answer(cli("remember", "-", "--user", user, *given, "--json", stdin="We live in Bristol"))
    assert made["traces"][0]["status"] == "stored"
    [trace] = answer(cli("traces", "--user", user, "--json"))["items"]
    assert trace["content"] == "We live in Bristol"
    assert (trace["speaker"], trace["role"], trace["kind"]) == ("Ann", "assistant", "fact")
    assert (trace["conversation_id"], trace["external_id"]) == ("c1", "e1")
    assert trace["occurred_at"].startswith("2026-05-08T00:00:00")
    assert trace["salience"] == 0.75
    assert trace["meta"] == {"topic": ["home"]}


def test_remember_tells_what_is_unusual(cli: "Cli", user: str) -> None:
    low = cli("remember", "Hm.", "--user", user, "--salience", "0.1", "--external-id", "e")
    assert "found by its words alone" in low.stderr
    again = cli("remember", "Hm.", "--user", user, "--salience", "0.1", "--external-id", "e")
    assert again.exit_code == 0
    assert again.stdout.startswith("Known already as ")


def test_options_of_recall_arrive(cli: "Cli", user: str) -> None:
    for day, role, conversation, kind in (
        ("2026-01-10", "user", "a", "turn"),
        ("2026-02-10", "assistant", "b", "turn"),
        ("2026-03-10", "user", "b", "fact"),
    ):
        cli(
            "remember", f"The harbour on {day}", "--user", user, "--role", role, "--conversation", conversation,
            "--kind", kind, "--occurred-at", day,
        )  # fmt: skip

    def days(*options: str) -> set[str]:
        found = answer(cli("recall", "harbour", "--user", user, "--json", *options))
        return {one["occurred_at"][5:7] for one in found["results"]}

    assert days() == {"01", "02", "03"}
    assert days("--roles", "assistant") == {"02"}
    assert days("--kinds", "fact") == {"03"}
    assert days("--kinds", "fact, turn", "--conversation", "b") == {"02", "03"}
    assert days("--since", "2026-02-01", "--until", "2026-03-01") == {"02"}
    assert days("--tiers", "hot, cold") == {"01", "02", "03"}
    assert cli("recall", "harbour", "-u", user, "--tiers", "tepid").exit_code == 1
    assert len(days("-k", "1")) == 1
    assert answer(cli("recall", "harbour", "-u", user, "--recipe", "lexical", "--json"))["results"]


def test_recall_over_several_users_explains_itself(cli: "Cli", user: str) -> None:
    for name in ("one", "two"):
        cli("remember", f"The {name} of us sails", "--user", f"{user} {name}")
    found = cli("recall", "Who sails?", "-u", f"{user} one", "-u", f"{user} two", "--explain", COLUMNS="200")
    assert "whose" in found.stdout
    assert re.search(r"by meaning +by words +used last +piece +score +made up of", found.stdout)
    assert "by meaning: 2 candidates in " in found.stdout
    assert "stages: question " in found.stdout
    assert "plan of the vectors: exact" in found.stdout.rstrip().splitlines()[-1]


def test_recall_asks_the_tiers_that_are_named_and_shows_them(alone: "Cli", scripted: "Script") -> None:
    shown = {"user_id": "u", "role": None, "kind": "note", "occurred_at": None, "created_at": "2024-05-08T00:00:00Z"}
    results = [
        {
            "trace_id": str(UUID(int=n)),
            "score": 0.5,
            "speaker": None,
            "content": f"It is {tier}.",
            "tier": tier,
            **shown,
        }
        for n, tier in enumerate(("hot", "cold"))
    ]
    arm = {"candidates": 1, "milliseconds": 812.0, "failed": None, "rows": 12480, "files": 1}
    explained = {"arms": {"cold": arm}, "stages": {}, "ranks": {}, "shares": {}}
    found = {"query": "x", "results": results, "degraded": ["cold"], "took_ms": 1.0, "explain": explained}
    scripted.answers = [(200, {}, json.dumps(found).encode())]
    options = ("--user", "u", "--tiers", "hot, cold", "--explain", "--url", scripted.url, "--key", "k")
    answered = alone("recall", "x", *options)
    lines = [" ".join(line.split()) for line in answered.stdout.splitlines()]
    assert "score tier who when what" in lines
    assert "2 0.500 cold note 8 May 2024 It is cold." in lines
    assert "in cold memory: 1 candidate in 812.0 ms, 12 480 rows of 1 file read" in lines
    assert "Cold memory could not be read, or not in time" in answered.stderr


def test_an_explanation_is_drawn(alone: "Cli", scripted: "Script") -> None:
    first, second = str(UUID(int=1)), str(UUID(int=2))
    shown = {"user_id": "u", "role": None, "kind": "chunk", "occurred_at": None, "created_at": "2026-05-08T00:00:00Z"}
    results = [
        {"trace_id": first, "score": 0.6214, "speaker": "Ann", "content": "The long letter", **shown},
        {"trace_id": second, "score": 0.0123, "speaker": None, "content": "[bold]x", **shown},
    ]
    explained = {
        "arms": {
            "semantic": {"candidates": 1200, "milliseconds": 4.21, "failed": None},
            "lexical": {"candidates": 0, "milliseconds": 2000.0, "failed": "TimeoutError"},
        },
        "plan": "bits",
        "rows": 40200,
        "stages": {"question": 0.12, "arms": 2000.3},
        "ranks": {first: {"semantic": 1}, second: {}},
        "shares": {
            first: {"semantic": 0.6, "baseline": 0.05, "form": -0.0286, "role": 0.0001, "new": 0.0},
            second: {"baseline": 0.0123},
        },
        "pieces": {first: {"head": "semantic", "piece": 3}},
    }
    found = {"query": "letter", "results": results, "degraded": [], "took_ms": 2004.4, "explain": explained}
    scripted.answers = [(200, {}, json.dumps(found).encode())]
    out = alone("recall", "letter", "--user", "u", "--explain", "--url", scripted.url, "--key", "k").stdout
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "by meaning by words piece score made up of" in lines
    assert "1 1 – 3 0.621 +0.050 to begin with, +0.600 meaning, −0.029 the form" in lines
    assert "2 – – – 0.012 +0.012 to begin with" in lines
    assert lines[-4:] == [
        "by meaning: 1 200 candidates in 4.2 ms",
        "by words: failed (TimeoutError) in 2000.0 ms",
        "stages: question 0.1 ms, arms 2000.3 ms",
        "2004.4 ms in all; plan of the vectors: bits, 40 200 rows looked at",
    ]


def test_what_was_remembered_cannot_steer_the_terminal(cli: "Cli", user: str) -> None:
    cli("remember", "-", "--user", user, stdin="red \x1b[31malert\x1b]0;title\x07 [bold]not markup[/bold]")
    for found in (cli("recall", "alert", "--user", user), cli("traces", "--user", user, COLUMNS="200")):
        assert "\x1b" not in found.stdout
        assert "[bold]not" in found.stdout


def test_nothing_found(cli: "Cli", user: str) -> None:
    for command in (("recall", "anything", "--user", user), ("traces", "--user", user)):
        empty = cli(*command)
        assert empty.exit_code == 3
        assert empty.stderr.strip()
        assert empty.stdout == ""
        programs = cli(*command, "--json")
        assert programs.exit_code == 3
        assert answer(programs)


def test_traces_pages(cli: "Cli", user: str) -> None:
    for number in range(3):
        cli("remember", f"note {number}", "--user", user)
    page = cli("traces", "--user", user, "--limit", "2")
    assert page.exit_code == 0
    assert "note 2" in page.stdout
    assert "note 0" not in page.stdout
    cursor = page.stderr.split("--cursor ")[1].strip()
    assert "note 0" in cli("traces", "--user", user, "--limit", "2", "--cursor", cursor).stdout


@pytest.mark.parametrize("columns", ["80", "120"])
def test_ids_stand_whole_where_it_is_narrow(cli: "Cli", user: str, columns: str) -> None:
    made = answer(cli("remember", "What was said of it " * 20, "--user", user, "--speaker", "Ann", "--json"))
    other = answer(cli("remember", "Another", "--user", user, "--json"))
    first, second = made["traces"][0]["trace_id"], other["traces"][0]["trace_id"]
    listed = cli("traces", "--user", user, COLUMNS=columns).stdout
    assert f"{first} " in listed
    assert listed.count("…") >= 1
    assert cli("link", first, second, "--user", user).exit_code == 0
    linked = cli("edges", "--user", user, "--type", "relates_to", COLUMNS=columns).stdout
    assert f"{first} relates_to " in " ".join(linked.split())
    assert f"{second} " in linked


def test_users(cli: "Cli", user: str) -> None:
    cli("remember", "Hello", "--user", user)
    assert "person" in cli("users").stdout
    newest = answer(cli("users", "--json"))["items"]
    assert (user, 1) in {(one["user_id"], one["traces"]) for one in newest}


def test_operation(cli: "Cli", service: "Service", user: str) -> None:
    import httpx

    body = {"user_id": user, "traces": [{"content": "later"}]}
    made = httpx.post(f"{service.url}/memory/remember?wait=false", headers={"X-API-Key": service.key}, json=body).json()
    shown = cli("operation", made["operation_id"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("embed of 1 trace: ")
    assert answer(cli("operation", made["operation_id"], "--json"))["operation_id"] == made["operation_id"]
    missing = cli("operation", str(uuid4()))
    assert missing.exit_code == 3
    assert missing.stderr.startswith("There is no operation ")


def test_health_needs_no_key(cli: "Cli", service: "Service") -> None:
    good = cli("health", REVERIE_KEY="")
    assert good.exit_code == 0
    assert f"Reverie at {service.url} is ready." in good.stdout
    assert answer(cli("health", "--json"))["parts"]["postgresql"]["status"] == "up"


def test_forget_one_several_and_all(cli: "Cli", user: str) -> None:
    ids = [
        answer(cli("remember", f"note {number}", "--user", user, "--json"))["traces"][0]["trace_id"]
        for number in range(5)
    ]
    dry = cli("forget", "--user", user, "--all", "--dry-run")
    assert dry.stdout.splitlines() == [f"Would forget 5 traces (5 vectors, 0 links) of {user}.", *reversed(ids)]
    one = cli("forget", "--user", user, "--trace", ids[0], "--yes", "--reason", "a test")
    assert one.stdout.startswith(f"Forgot 1 trace (1 vector, 0 links) of {user}.\nReceipt ")
    two = answer(cli("forget", "--user", user, "--trace", ids[1], "--trace", ids[2], "--yes", "--json"))
    assert two["counts"]["traces"] == 2
    assert cli("forget", "--user", user, "--all", "--yes").exit_code == 0
    for nothing in (("--all",), ("--trace", ids[0]), ("--trace", ids[0], "--trace", ids[1])):
        gone = cli("forget", "--user", user, *nothing, "--yes")
        assert gone.exit_code == 3, gone.output
        assert gone.stderr.strip()


def test_forget_by_other_scopes_and_the_receipts(cli: "Cli", user: str) -> None:
    answer(cli("remember", "The boiler leaks.", "--user", user, "--conversation", "house", "--json"))
    answer(cli("remember", "Ottilie plays the oboe.", "--user", user, "--occurred-at", "2026-04-01", "--json"))
    answer(cli("remember", "Walnuts are bad for Nadia.", "--user", user, "--json"))
    dry = cli("forget", "--user", user, "--entity", "Ottilie", "--dry-run")
    assert dry.stdout.startswith(f"Would forget 1 trace (1 vector, 0 links) of {user}.\n")
    assert cli("forget", "--user", user, "--since", "2026-04-01", "--until", "2026-04-02", "--yes").exit_code == 0
    assert cli("forget", "--user", user, "--query", "bad walnut", "--yes").stdout.startswith("Forgot 1 trace ")
    assert cli("forget", "--user", user, "--conversation", "house", "--yes", "--reason", "moved out").exit_code == 0
    again = cli("remember", "Ottilie plays the oboe.", "--user", user, "--occurred-at", "2026-04-01")
    assert again.exit_code == 1
    assert "It was forgotten, and stays so" in again.stderr
    listed = answer(cli("receipts", "list", "--user", user, "--json"))["items"]
    assert [(one["scope"], one["reason"]) for one in listed] == [
        ("conversation", "moved out"), ("query", None), ("time", None),
    ]  # fmt: skip
    assert listed[0]["receipt_id"] in cli("receipts", "list", "--user", user).stdout
    one = cli("receipts", "show", listed[0]["receipt_id"], "--user", user)
    assert answer(one) == listed[0]
    verified = cli("receipts", "verify", listed[0]["receipt_id"], "--user", user)
    assert verified.exit_code == 0
    assert verified.stdout.startswith("Gone: nothing of 1 trace was found in 17 places.\n")
    assert cli("receipts", "verify", str(uuid4()), "--user", user).exit_code == 3


def test_forget_does_not_act_unasked(cli: "Cli", user: str) -> None:
    cli("remember", "Hello", "--user", user)
    for scope in ((), ("--all", "--trace", str(uuid4()))):
        unclear = cli("forget", "--user", user, *scope, "--yes")
        assert unclear.exit_code == 2
        assert unclear.stderr.startswith("Say what to forget")
    unasked = cli("forget", "--user", user, "--all")
    assert unasked.exit_code == 2
    assert "add --yes" in unasked.stderr
    assert len(answer(cli("traces", "--user", user, "--json"))["items"]) == 1


@pytest.mark.parametrize(("said", "code", "left"), [("n\n", 1, 1), ("y\n", 0, 0)])
def test_forget_asks_a_person(cli: "Cli", service: "Service", user: str, said: str, code: int, left: int) -> None:
    cli("remember", "Hello", "--user", user)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "reverie", "forget", "--user", user, "--all"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"REVERIE_URL": service.url, "REVERIE_KEY": service.key},
    )
    os.write(ours, said.encode())
    _, asked = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert f"Forget 1 trace (1 vector, 0 links) of {user}, for good? [y/N]" in asked.decode()
    assert process.returncode == code
    assert len(answer(cli("traces", "--user", user, "--json"))["items"]) == left


def test_keys_over_http(cli: "Cli", user: str) -> None:
    made = answer(cli("key", "create", "the chat bot", "--scope", "read", "--json"))
    assert made["scopes"] == ["read"]
    assert cli("users", REVERIE_KEY=made["key"]).exit_code == 0
    refused = cli("remember", "x", "--user", user, REVERIE_KEY=made["key"])
    assert refused.exit_code == 1
    assert "write" in refused.stderr
    assert "the chat bot" in cli("key", "list").stdout
    assert made["id"] in {one["id"] for one in answer(cli("key", "list", "--json"))}
    assert cli("key", "revoke", made["id"]).exit_code == 0
    assert cli("users", REVERIE_KEY=made["key"]).exit_code == 1
    assert cli("key", "revoke", str(uuid4())).exit_code == 3


def test_keys_in_the_database(alone: "Cli", cli: "Cli", service: "Service", user: str) -> None:
    database = {"DATABASE_URL": service.database_url}
    made = alone("key", "create", "of another space", "--space", "other", **database)
    assert made.exit_code == 0
    assert cli("remember", "Ours", "--user", user, REVERIE_KEY=made.stdout.strip()).exit_code == 0
    assert cli("traces", "--user", user).exit_code == 3, "another space's memory must not show"
    [listed] = answer(alone("key", "list", "--space", "other", "--json", **database))
    assert alone("key", "revoke", listed["id"], "--space", "other", **database).exit_code == 0
    assert alone("key", "revoke", str(uuid4()), "--space", "other", **database).exit_code == 3


@pytest.mark.parametrize("arguments", [("list",), ("revoke", "01a1fddb-3908-7000-9a7b-8cdc70eccf43")])
def test_a_misspelt_space_is_not_made(alone: "Cli", service: "Service", arguments: tuple[str, ...]) -> None:
    url = {"DATABASE_URL": service.database_url}
    count = "SELECT count(*) FROM space WHERE name = 'no such space'"
    result = alone("key", *arguments, "--space", "no such space", **url)
    assert result.exit_code == 3
    assert "no space 'no such space'" in result.stderr
    with psycopg.connect(service.database_url) as connection:
        assert connection.execute(count).fetchone() == (0,)


def test_a_space_is_no_choice_over_http(cli: "Cli") -> None:
    refused = cli("key", "list", "--space", "other")
    assert refused.exit_code == 2
    assert "DATABASE_URL" in refused.stderr


def test_version(alone: "Cli") -> None:
    assert alone("--version").stdout == f"reverie {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("recall", "x", "--user", "u", "--since", "soon"), 1, "since takes an ISO 8601 time"),
        (("remember", " ", "--user", "u"), 1, "content takes text that is not blank"),
        (("recall", "x", "--user", "u", "-k", "0"), 2, "see `reverie recall --help`"),
        (("recall", "x", "--user", "u", "--recipe", "best"), 2, "'balanced'"),
        (("recall", "x"), 2, "--user"),
        (("operation", "seven"), 2, "UUID"),
        (("remember", "x", "--user", "u", "--meta", "[1]"), 2, "--meta takes a JSON object"),
        (("remember", "x", "--user", "u", "--colour", "red"), 2, "--colour"),
        (("dance",), 2, "dance"),
        (("users", "--key", "rv_wrong"), 1, "The key is not known or was revoked (it came from --key"),
        (("users", "--url", "127.0.0.1"), 2, "--url takes a URL such as"),
        (("users", "--url", "http://[::1"), 2, "--url takes a URL such as"),
        (("users", "--url", "http://127.0.0.1:9"), 69, "`reverie up` starts one"),
        (("users", "--key", "schlüssel"), 78, "holds a sign that no key has"),
    ],
)
def test_a_fault_is_one_line_and_a_code(cli: "Cli", arguments: tuple[str, ...], code: int, sentence: str) -> None:
    result = cli(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_key_of_the_home_is_used(cli: "Cli", alone: "Cli", service: "Service", tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    missing = alone("users", REVERIE_PORT=port)
    assert missing.exit_code == 78
    assert str(tmp_path / "home" / "key") in missing.stderr
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text(f"{service.key}\n")
    cli("remember", "Hello", "--user", "somebody")
    assert alone("users", REVERIE_PORT=port).exit_code == 0


def test_a_wrong_setting_is_named(alone: "Cli") -> None:
    wrong = alone("users", REVERIE_PORT="high")
    assert wrong.exit_code == 78
    assert wrong.stderr.startswith("REVERIE_PORT: ")
    unset = alone("migrate")
    assert unset.exit_code == 78
    assert unset.stderr.startswith("DATABASE_URL is not set")


def test_migrate(alone: "Cli", service: "Service") -> None:
    assert alone("migrate", DATABASE_URL=service.database_url).stdout.startswith("The schema is at 2026")


def test_an_arm_that_failed_is_said_in_words(alone: "Cli", scripted: "Script") -> None:
    found = {"query": "x", "results": [], "degraded": ["semantic", "new arm"], "took_ms": 1.0, "explain": None}
    scripted.answers = [(200, {}, json.dumps(found).encode())]
    result = alone("recall", "x", "--user", "u", "--url", scripted.url, "--key", "k")
    assert result.exit_code == 3
    assert "found by their words alone" in result.stderr
    assert "new arm" in result.stderr


def test_a_focus_that_was_not_cleared_is_said(alone: "Cli", scripted: "Script") -> None:
    counts = {"traces": 1, "vectors": 1, "edges": 0}
    done = {
        "receipt_id": "r", "dry_run": False, "state": "done", "counts": counts, "tombstones": 1, "trace_ids": ["t"],
        "degraded": ["focus"],
    }  # fmt: skip
    scripted.answers = [(200, {}, json.dumps(done).encode())]
    result = alone("forget", "--user", "u", "--all", "--yes", "--url", scripted.url, "--key", "k")
    assert result.exit_code == 0
    assert "Receipt r" in result.stdout
    assert "Redis did not answer" in result.stderr
