"""A collection of conversations as they are published, small and made by program."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench.text import conversation


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short conversations, in the form in which collections are published."""
    path = tmp_path_factory.mktemp("collection") / "made.json"
    path.write_text(json.dumps([_sample(seed) for seed in (1, 2, 3)]))
    return path


def _sample(seed: int) -> dict[str, Any]:
    made = conversation(seed, 40, 24)
    sessions: dict[str, Any] = {}
    for turn in made.turns:
        sessions.setdefault(f"{turn.session}_date_time", turn.occurred_at.isoformat())
        sessions.setdefault(turn.session, []).append(
            {"speaker": turn.speaker, "dia_id": turn.external_id, "text": turn.content}
        )
    asked = [{"question": one.text, "evidence": [one.evidence], "category": 4} for one in made.questions]
    unanswerable = {"question": "Who painted the bridge?", "evidence": [], "category": 5}
    return {"sample_id": f"made-{seed}", "conversation": sessions, "qa": [*asked, unanswerable]}
