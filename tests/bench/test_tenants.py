"""`bench/tenants`, as a person runs it, and the users that the peers are given."""

import json
import subprocess
from pathlib import Path

import pytest
from bench.peers import FOLDER
from bench.peers_tenants import those_that_fit
from bench.tenants import sizes_of

TENANTS = Path(__file__).parents[2] / "bench" / "tenants"


def test_tenants_finds_the_exact_neighbours_of_every_size(tmp_path: Path) -> None:
    report = tmp_path / "tenants.json"

    done = subprocess.run(  # noqa: S603
        [TENANTS, "--quick", "--json", str(report)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())["rows"]
    assert [row["traces"] for row in rows[:4]] == [10, 60, 300, 600]
    for row in rows[:4]:
        assert set(row["recall_at_10"]) == {"just loaded", "vacuumed", "built"}
        assert all(share >= 0.97 for share in row["recall_at_10"].values())
        assert len(row["recall_ms"]["balanced, built"]) == 8
        assert {plan["name"] for plan in row["plans"].values()} == {"held"}
        scans = row["plans"]["vacuumed"]["scans"]
        assert {scan["node"] for scan in scans} == {"Index Only Scan"}
        assert sum(scan["rows"] for scan in scans) == row["traces"]
    peers = ["mem0", "LangGraph"] if FOLDER.is_dir() else []
    assert [row["peer"] for row in rows[4:]] == peers
    for row in rows[4:]:
        assert (row["traces"], row["users"]) == (1180, 10)
        assert [(size["traces"], size["users"]) for size in row["sizes"]] == [(10, 4), (60, 4), (300, 1), (600, 1)]
        assert all(len(size["recall_ms"]) == 8 for size in row["sizes"])


@pytest.mark.parametrize(
    ("most", "users"),
    [
        (400_000, {10: 100, 1000: 60, 20_000: 2, 200_000: 1}),
        (30_000, {10: 100, 1000: 9, 20_000: 1}),
        (15_000, {10: 100, 1000: 14}),
        (500, {10: 50}),
    ],
)
def test_peers_are_given_users_of_every_size_that_fits(most: int, users: dict[int, int]) -> None:
    taken = those_that_fit(sizes_of(200_000, quick=False), most)

    assert {size: sum(traces == size for traces, _ in taken) for size, _ in taken} == users
    assert len({number for _, number in taken}) == len(taken)
