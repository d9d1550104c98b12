"""`reverie profile --user`: what is known of somebody, on a page."""

import json

from tests.cli.conftest import Cli


def tell(cli: Cli, user: str, *texts: str) -> None:
    for n, text in enumerate(texts):
        when = f"2026-03-0{n + 1}T09:00:00Z"
        said = json.dumps({"content": text, "role": "user", "speaker": "Mara", "occurred_at": when})
        assert cli("import", "-", "--user", user, stdin=said).exit_code == 0


def test_a_person_reads_what_is_known(cli: Cli, user: str) -> None:
    tell(cli, user, "I work at Hexaly.", "I quit Hexaly. I now work at Ostrava Clinic.", "I live in Utrecht.")
    shown = cli("profile", "--user", user)
    assert shown.exit_code == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines[0] == f"{user} · 0 nights dreamt"
    assert lines.index("home") < lines.index("work")
    [now] = [line for line in lines if "Ostrava Clinic" in line and "no longer" not in line]
    assert now.startswith("2 Mar 2026 Mara works at Ostrava Clinic")
    assert any(line.startswith("no longer: I quit Hexaly.") for line in lines)
    assert "No night was dreamt yet" in shown.stderr
    page = json.loads(cli("profile", "--user", user, "--topic", "work", "--json").stdout)
    assert {one["topic"] for one in page["items"]} == {"work"}
    first = cli("profile", "--user", user, "--limit", "1")
    cursor = first.stderr.partition("--cursor ")[2].split()[0]
    assert "Ostrava" in cli("profile", "--user", user, "--limit", "1", "--cursor", cursor).stdout


def test_nothing_is_known(cli: Cli, user: str) -> None:
    tell(cli, user, "I live in Utrecht.")
    nothing = cli("profile", "--user", user, "--topic", "work")
    assert (nothing.exit_code, "there is home" in nothing.stderr) == (3, True)
    earlier = cli("profile", "--user", user, "--as-of", "2001-01-01")
    assert earlier.exit_code == 3
    assert f"Nothing was known of {user} as of 1 Jan 2001; what was remembered later is seen without" in earlier.stderr
    unknown = cli("profile", "--user", f"not {user}")
    assert (unknown.exit_code, "There is no user" in unknown.stderr) == (3, True)


def test_without_a_user_it_says_what_to_say(cli: Cli) -> None:
    refused = cli("profile", "--topic", "work")
    assert (refused.exit_code, "Say of whom" in refused.stderr) == (2, True)


def test_another_date(cli: Cli, user: str) -> None:
    refused = cli("profile", "--user", user, "--as-of", "yesterday")
    assert (refused.exit_code, "--as-of takes" in refused.stderr) == (2, True)
