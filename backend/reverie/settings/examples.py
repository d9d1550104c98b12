"""The settings of the models for the API's description: what is sent, and what is answered."""

from typing import Any

OPERATION_ID = "019ab5c2-7e20-7a11-8d55-0c4f9e3b7a21"
URL = "https://models.example.com/v1"

_SAVED: dict[str, Any] = {
    "version": 3,
    "saved_at": "2026-08-06T07:02:11.004211Z",
    "saved_by": "019ab5c0-0b2f-7d10-9c61-5a7e8f01d3b9",
    "saved_by_name": "the keeper",
    "restored": None,
    "changed": ["language_model.url", "language_model.model", "language_model.api_key"],
    "language_model": {"url": URL, "model": "qwen3-8b", "api_key_set": True, "max_tokens_per_night": None},
    "embedding": {"url": None, "model": None, "dim": None, "precision": None, "api_key_set": False},
    "reranker": {"url": None, "model": None, "api_key_set": False},
}


def _of(value: Any, source: str = "default") -> dict[str, Any]:
    return {"value": value, "source": source}


_NO_KEY: dict[str, Any] = {"set": False, "source": "default"}
SHOWN: dict[str, Any] = _SAVED | {
    "in_force": {
        "version": 3,
        "language_model": {
            "url": _of(URL, "settings"),
            "model": _of("qwen3-8b", "settings"),
            "api_key": {"set": True, "source": "settings"},
            "max_tokens_per_night": _of(1_000_000),
        },
        "embedding": {
            "url": _of(None),
            "model": _of("bge-small-en-v1.5", "environment"),
            "dim": _of(None),
            "precision": _of("fp16"),
            "api_key": _NO_KEY,
        },
        "reranker": {"url": _of(None), "model": _of("ms-marco-MiniLM-L-12-v2"), "api_key": _NO_KEY},
    },
    "active_model": {"name": "bge-small-en-v1.5", "dim": 384, "precision": "fp16"},
    "target": None,
    "problems": [],
}
CHANGED: dict[str, Any] = SHOWN | {"operation_id": None}
ACCEPTED: dict[str, Any] = SHOWN | {
    "version": 4,
    "changed": ["embedding.model"],
    "embedding": _SAVED["embedding"] | {"model": "all-MiniLM-L6-v2"},
    "target": {
        "model": "all-MiniLM-L6-v2",
        "dim": None,
        "precision": "fp16",
        "operation_id": OPERATION_ID,
        "state": "pending",
        "done_percent": None,
        "error": None,
    },
    "operation_id": OPERATION_ID,
}

A_LANGUAGE_MODEL: dict[str, Any] = {
    "version": 2,
    "language_model": {"url": URL, "model": "qwen3-8b", "api_key": "sk-example"},
}
ANOTHER_EMBEDDING_MODEL: dict[str, Any] = {
    "version": 3,
    "language_model": {"url": URL, "model": "qwen3-8b"},
    "embedding": {"model": "all-MiniLM-L6-v2"},
}

ALL_OF_IT: dict[str, Any] = {}
A_RERANKER: dict[str, Any] = {"reranker": {"url": URL, "model": "bge-reranker-v2-m3", "api_key": None}}
TESTED: dict[str, Any] = {
    "language_model": {
        "ok": False,
        "model": "qwen3-8b",
        "took_ms": 41.2,
        "dim": None,
        "detail": "The language model's endpoint answered 401 Unauthorized; check language_model.api_key.",
    },
    "embedding": {
        "ok": True,
        "model": "bge-small-en-v1.5",
        "took_ms": 9.8,
        "dim": 384,
        "detail": "It answers, in 0.01 s, with 384 dimensions.",
    },
    "reranker": None,
}

HISTORY: dict[str, Any] = {"items": [_SAVED], "next_cursor": "3"}
BACK: dict[str, Any] = {"version": 1, "newest": 3}
