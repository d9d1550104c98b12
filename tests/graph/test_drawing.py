"""Pictures and files of a graph: whole, well-formed, without overlaps, and harmless whatever stands in them."""

import io
import re
from html.parser import HTMLParser
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as Xml

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.graph.drawing.graphml import graphml
from reverie.graph.drawing.layout import GAP, Box, components, laid_out
from reverie.graph.drawing.page import html
from reverie.graph.drawing.picture import Picture, picture_of
from reverie.graph.drawing.svg import _placed, svg
from reverie.graph.drawing.text import lines_of, width_of, xml

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> Xml.Element:
    return Xml.fromstring(text)  # noqa: S314 - made by ourselves


def node(number: int, label: str | None = None, kind: str = "entity", **more: Any) -> dict[str, Any]:
    return {
        "trace_id": str(UUID(int=number + 1)), "kind": kind, "entity_type": None, "label": label or f"Node {number}",
        "weight": 1 / (1 + number), "happened_at": "2026-05-08T13:56:00Z", "cold": False, "superseded_by": None,
    } | more  # fmt: skip


def edge(src: int, dst: int, kind: str = "knows", weight: float = 1.0) -> dict[str, Any]:
    return {"src": str(UUID(int=src + 1)), "dst": str(UUID(int=dst + 1)), "type": kind, "weight": weight}


def drawn(nodes: list[dict[str, Any]], edges: list[dict[str, Any]], around: str | None = None) -> Picture:
    return picture_of({"user_id": "ann", "around": around, "nodes": nodes, "edges": edges, "more": False})


def some(count: int, seed: int = 1) -> Picture:
    """A graph of so many nodes, with parts of several sizes."""
    rng = np.random.default_rng(seed)
    nodes = [node(n, f"Some name {n} of a thing" if n % 3 else f"N{n}") for n in range(count)]
    edges = [
        edge(n, int(rng.integers(max(1, n // 2))), "mentions" if n % 4 else "lives_in")
        for n in range(1, count)
        if n % 7
    ]
    return drawn(nodes, edges)


@pytest.mark.parametrize("count", [1, 2, 3, 30, 120])
def test_no_names_overlap(count: int) -> None:
    placed, width, height = _placed(some(count))
    boxes = [one.box for one in placed]
    for n, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
        for other in boxes[n + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, (boxes[n], other)


def test_a_picture_is_the_same_each_time() -> None:
    assert svg(some(40)) == svg(some(40))


def test_what_hangs_together_is_near() -> None:
    boxes = [Box(20, 20)] * 20
    ring = [(n, (n + 1) % 20, 1.0) for n in range(20)]
    places = laid_out(boxes, ring)
    beside = np.mean([np.hypot(*(places[a] - places[b])) for a, b, _ in ring])
    opposite = np.mean([np.hypot(*(places[n] - places[(n + 10) % 20])) for n in range(20)])
    assert beside < opposite / 2
    assert beside >= 20 + GAP / 2


def test_parts_are_found() -> None:
    assert components(5, [(3, 1, 1.0), (1, 4, 1.0)]) == [[1, 3, 4], [0], [2]]
    assert components(0, []) == []
    assert laid_out([], []).shape == (0, 2)


def test_all_of_it_is_in_the_svg() -> None:
    nodes = [
        node(0, "Ann", entity_type="person"), node(1, "Oslo", entity_type="place"),
        node(2, "Ann moved to Oslo.", "turn"), node(3, "Ann lives in Rome.", "turn", superseded_by=str(UUID(int=3))),
    ]  # fmt: skip
    edges = [edge(0, 1, "lives_in"), edge(2, 0, "mentions"), edge(2, 3, "supersedes"), edge(0, 1, "mentioned_together")]
    root = parsed(svg(drawn(nodes, edges, around=nodes[0]["trace_id"])))
    groups = {one.get("data-id"): one for one in root.iter(f"{SVG}g") if one.get("data-id")}
    assert set(groups) == {one["trace_id"] for one in nodes}
    titles = {one.text for one in root.iter(f"{SVG}title")}
    assert "person: Ann" in titles
    assert "turn: Ann moved to Oslo. · 2026-05-08" in titles
    assert "Ann – lives_in → Oslo (1)" in titles
    assert "Ann and Oslo: mentioned together (1)" in titles
    assert "past" in str(groups[nodes[3]["trace_id"]].get("class"))
    assert [one for one in root.iter(f"{SVG}circle") if one.get("class") == "ring"]
    paths = [one for one in root.iter(f"{SVG}path") if one.get("data-a")]
    assert len(paths) == len(edges)
    relations = [one.text for one in root.iter(f"{SVG}text") if one.get("class") == "relation"]
    assert set(relations) <= {"lives in", "supersedes"}
    legend = {one.text for one in root.iter(f"{SVG}text") if one.get("class") == "faint"}
    assert {"person", "place", "turn", "stated", "takes the place of"} <= legend
    assert "summary" not in legend
    assert "prefers-color-scheme: dark" in Xml.tostring(root, encoding="unicode")


def test_the_legend_and_the_head_stay_within_the_picture() -> None:
    kinds = ("summary", "fact", "note", "chunk", "turn")
    types = ("person", "place", "organisation", "thing", "topic", "date")
    nodes = [node(n, "A", entity_type=one) for n, one in enumerate(types)] + [
        node(n, "A", one) for n, one in enumerate(kinds, len(types))
    ]
    edges = [edge(0, 1), edge(2, 3, "supersedes"), edge(4, 5, "mentions"), edge(5, 6, "mentioned_together")]
    picture = drawn(nodes, edges, around=nodes[0]["trace_id"])
    root = parsed(svg(picture))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    [legend] = [one for one in root.iter(f"{SVG}g") if one.get("class") == "legend"]
    lines = set()
    for item in legend.findall(f"{SVG}g"):
        x, y = map(float, re.findall(r"[\d.]+", item.get("transform", "")))
        text = next(item.iter(f"{SVG}text"))
        assert x + float(text.get("x", 0)) + width_of(text.text or "", 11.5) <= width
        lines.add(y)
    assert len(lines) > 1
    assert max(lines) < height
    [head] = [one for one in root.iter(f"{SVG}text") if one.get("class") == "head"]
    assert head.text == "What is known of ann, around A"


HOSTILE = "</title><script>alert(1)</script>&\"'<img src=x onerror=y>\x00\x1b\u202e\ufffe"


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def hostile() -> Picture:
    nodes = [node(0, HOSTILE), node(1, HOSTILE, "turn")]
    made = drawn(nodes, [edge(0, 1, "knows")])
    return Picture(HOSTILE, None, made.nodes, made.edges, made.more)


def test_what_stands_in_a_name_does_nothing() -> None:
    root = parsed(svg(hostile()))
    assert not list(root.iter(f"{SVG}script"))
    read = Tags()
    read.feed(html(hostile()))
    assert read.tags.count("script") == 1
    assert "img" not in read.tags
    assert not {name for name in read.attributes if name.startswith("on")}
    parsed(graphml(hostile()))
    assert "\u202e" not in svg(hostile())


def test_nothing_is_loaded() -> None:
    page = html(some(10))
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?!#)[\"'(]?https?:", page.replace("http://www.w3.org/", ""))
    assert "default-src 'none'" in page
    assert page.count("<svg") == 1


def test_networkx_reads_the_graphml() -> None:
    picture = drawn(
        [node(0, "Ann", entity_type="person"), node(1, "A & <B>"), node(2, "gone", superseded_by=str(UUID(int=1)))],
        [edge(0, 1, "lives_in", 0.5), edge(0, 1, "likes"), edge(1, 0, "knows"), edge(2, 2, "similar")],
    )
    read = networkx.read_graphml(io.BytesIO(graphml(picture).encode()), force_multigraph=True)
    assert isinstance(read, networkx.MultiDiGraph)
    assert set(read) == {one.id for one in picture.nodes}
    first = read.nodes[picture.nodes[0].id]
    assert first == {
        "kind": "entity", "entity_type": "person", "label": "Ann", "weight": 1.0, "happened_at": "2026-05-08T13:56:00Z"
    }  # fmt: skip
    assert read.nodes[picture.nodes[1].id]["label"] == "A & <B>"
    assert read.nodes[picture.nodes[2].id]["superseded_by"] == str(UUID(int=1))
    found = sorted((data["type"], data["weight"]) for _, _, data in read.edges(data=True))
    assert found == [("knows", 1.0), ("likes", 1.0), ("lives_in", 0.5), ("similar", 1.0)]


@given(st.text(max_size=200), st.integers(4, 40), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_any_text_fits_its_lines(text: str, most: int, rows: int) -> None:
    lines = lines_of(text, most, rows)
    assert 1 <= len(lines) <= rows
    assert all(len(line) <= most + 4 for line in lines)
    assert all(width_of(line, 10) >= 0 for line in lines)


@given(st.text(max_size=100))
@settings(max_examples=200, deadline=None)
def test_any_text_is_xml(text: str) -> None:
    kept = text.encode("utf-8", "replace").decode()
    parsed(f'<a b="{xml(kept)}">{xml(kept)}</a>')
