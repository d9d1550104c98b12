"""What is answered, as GraphOut and PathsOut describe it: plain values, made without them. Pure.

A picture has thousands of values, of which models would check each on the way out.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from reverie.graph.protocol import Id, Link
from reverie.graph.repository import CHARS, Node
from reverie.graph.spreading import Way
from reverie.text.naming import KINDS

Answer = dict[str, Any]


def graph(
    user: str, around: Id | None, nodes: Sequence[tuple[Node, float]], links: Sequence[Link], more: bool, backend: str
) -> Answer:
    """A part of the graph: nodes with their weights, and the edges between them."""
    names = {node.id: _named(node.id) for node, _ in nodes}
    return {
        "user_id": user,
        "around": None if around is None else _named(around),
        "nodes": [_node(node, weight, names) for node, weight in nodes],
        "edges": [_edge(link, names) for link in links],
        "more": more,
        "backend": backend,
    }


def paths(
    user: str, ends: tuple[Id, Id], found: Iterable[Way], nodes: Sequence[tuple[Node, float]], more: bool, backend: str
) -> Answer:
    """Paths between two ends: each a way over these nodes."""
    names = {node.id: _named(node.id) for node, _ in nodes}
    return {
        "user_id": user,
        "from": _named(ends[0]),
        "to": _named(ends[1]),
        "paths": [
            {
                "trace_ids": [names[one] for one in way.nodes],
                "edges": [_edge(link, names) for link in way.links],
                "weight": _digits(way.weight),
            }
            for way in found
        ],
        "nodes": [_node(node, weight, names) for node, weight in nodes],
        "more": more,
        "backend": backend,
    }


def label_of(text: str) -> str:
    """A text on one line, cut where it is longer than what is shown."""
    line = " ".join(text.split())
    return line if len(text) <= CHARS else line[: CHARS - 1].rstrip() + "…"


def _node(node: Node, weight: float, names: Mapping[Id, str]) -> Answer:
    newer = node.superseded_by
    return {
        "trace_id": names[node.id],
        "kind": node.kind,
        # Who remembers an entity by hand may have written anything there.
        "entity_type": node.entity_type if node.entity_type in KINDS else None,
        "label": None if node.text is None else label_of(node.text),
        "weight": _digits(weight),
        "happened_at": node.happened_at,
        "cold": node.cold,
        "superseded_by": None if newer is None else _named(newer),
    }


def _edge(link: Link, names: Mapping[Id, str]) -> Answer:
    return {"src": names[link.src], "dst": names[link.dst], "type": link.type, "weight": _digits(link.weight)}


def _named(one: Id) -> str:
    return str(UUID(bytes=one))


def _digits(weight: float) -> float:
    """To six digits: PostgreSQL keeps a real."""
    return round(weight, 6)
