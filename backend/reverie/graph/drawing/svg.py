"""A graph as a picture: SVG 1.1 that holds all it needs, light and dark. Pure.

Every node has its name below it, and no two overlap; what is stated of two is written along their edge where there is
room for it. Who points there reads all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from reverie.graph.drawing.layout import Box, laid_out
from reverie.graph.drawing.picture import TOGETHER, Edge, Node, Picture
from reverie.graph.drawing.text import lines_of, shown, width_of, xml

FONT: Final = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "person": ("#3b6fd4", "#7ea6f5"),
    "place": ("#2a9463", "#5fcf9b"),
    "organisation": ("#8e5bc0", "#bb93e6"),
    "thing": ("#c98a14", "#e9b955"),
    "topic": ("#1890a3", "#57c7d8"),
    "date": ("#b3487a", "#e385b1"),
    "entity": ("#5b6b80", "#a3b1c4"),
    "summary": ("#d9622b", "#f2956b"),
    "fact": ("#2c7ea6", "#6bbbe0"),
    "note": ("#94743f", "#cdb07c"),
    "chunk": ("#6d7f2f", "#b3c66f"),
    "turn": ("#8a95a3", "#8f9bab"),
}
"""The colour of each sort of node, on light and on dark ground: entities are round, other traces square."""

SORTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "stated": ("#46566b", "#c3cddb", "stated"),
    "superseding": ("#c8443c", "#f08a80", "takes the place of"),
    "found": ("#93a1b3", "#76859a", "mentions, summary of, alike, next"),
    "together": ("#a9b5c5", "#57657a", "mentioned together"),
}
"""The colour of each sort of edge, on light and on dark ground, and what the legend says of it."""

MARGIN: Final = 32.0
HEAD: Final = 58.0
FOOT: Final = 46.0
LEAST_WIDTH: Final = 560.0
LEGEND: Final = 11.5
"""Size of what the legend says."""
LEGEND_LINE: Final = 20.0
LINE: Final = 1.22
RELATION: Final = 10.5
"""Size of what is written along an edge."""


class _Placed(NamedTuple):
    """A node in its place: the middle of its dot, the dot's radius, and the lines of its name."""

    node: Node
    x: float
    y: float
    radius: float
    size: float
    lines: Sequence[str]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of all that is drawn of it."""
        half = _half_width(self.radius, self.size, self.lines)
        return self.x - half, self.y - self.radius, self.x + half, self.y + self.radius + _name_height(self)


def svg(picture: Picture) -> str:
    """The picture as an SVG document."""
    title, said = _title(picture), _counts(picture)
    head = width_of(title, 17) + 24 + width_of(said, 12)
    placed, width, height = _placed(picture, max(LEAST_WIDTH, 2 * MARGIN + head))
    legend, deeper = _legend(picture, width, height)
    height += deeper
    by_id = {one.node.id: one for one in placed}
    edges = sorted(picture.edges, key=lambda edge: (edge.stated, edge.weight))
    heaviest = {sort: max((e.weight for e in edges if _sort(e) == sort), default=1.0) or 1.0 for sort in SORTS}
    drawn = [_edge(edge, by_id, heaviest[_sort(edge)]) for edge in edges]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="reverie" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' width="{width:.0f}" height="{height:.0f}" role="img" font-family="{xml(FONT)}">',
            f"<title>{xml(title)}</title>",
            f"<desc>{xml(said)}</desc>",
            f"<style>{_style()}</style>",
            f"<defs>{''.join(_tip(sort) for sort in ('stated', 'superseding'))}</defs>",
            f'<rect class="ground" width="{width:.0f}" height="{height:.0f}" rx="12"/>',
            f'<text class="head" x="{MARGIN:.0f}" y="36" font-size="17">{xml(title)}</text>',
            f'<text class="faint" x="{width - MARGIN:.0f}" y="36" font-size="12" text-anchor="end">{xml(said)}</text>',
            '<g class="all">',
            '<g class="edges" fill="none">',
            *drawn,
            "</g>",
            '<g class="relations">',
            *_relations(edges, by_id, placed),
            "</g>",
            '<g class="nodes">',
            *(_node(one, picture) for one in placed),
            "</g>",
            "</g>",
            *legend,
            "</svg>",
            "",
        ]
    )


def _title(picture: Picture) -> str:
    title = f"What is known of {shown(picture.user)}"
    middle = [node.label for node in picture.nodes if node.id == picture.around]
    return f"{title}, around {lines_of(middle[0], 24, 1)[0]}" if middle else title


def _counts(picture: Picture) -> str:
    return f"{len(picture.nodes)} nodes and {len(picture.edges)} edges" + (", the strongest" if picture.more else "")


def _placed(picture: Picture, least: float = LEAST_WIDTH) -> tuple[list[_Placed], float, float]:
    """The nodes in their places, and the size of the picture, which is at least so wide."""
    degree = dict.fromkeys((one.id for one in picture.nodes), 0)
    for edge in picture.edges:
        degree[edge.src] += 1
        degree[edge.dst] += 1
    looks = []
    for node in picture.nodes:
        radius = 4.5 + 11 * math.sqrt(max(0.0, min(1.0, node.weight))) if node.is_entity else 5.0 + 3 * node.weight
        size = 12.0 + 3.5 * node.weight if node.is_entity else 11.0
        looks.append((radius, size, lines_of(node.label, 18, 2) if node.is_entity else lines_of(node.label, 26, 2)))
    boxes = [
        Box(2 * _half_width(radius, size, lines), 2 * radius + 4 + len(lines) * size * LINE)
        for radius, size, lines in looks
    ]
    numbers = {node.id: number for number, node in enumerate(picture.nodes)}
    pulls = [
        (numbers[edge.src], numbers[edge.dst], _pull(edge))
        for edge in picture.edges
    ]  # fmt: skip
    places = laid_out(boxes, pulls)
    spans = np.array([(box.width, box.height) for box in boxes]).reshape(-1, 2)
    far = (places + spans / 2).max(axis=0) if len(boxes) else np.zeros(2)
    width = max(least, float(far[0]) + 2 * MARGIN)
    left = MARGIN + max(0.0, (width - 2 * MARGIN - float(far[0])) / 2)
    placed = [
        # The dot stands at the top of its box, the name below it.
        _Placed(node, left + float(x), HEAD + float(y) - box.height / 2 + radius, radius, size, lines)
        for node, (x, y), box, (radius, size, lines) in zip(picture.nodes, places, boxes, looks, strict=True)
    ]
    return placed, width, HEAD + float(far[1]) + FOOT + MARGIN / 2


def _pull(edge: Edge) -> float:
    """How strongly an edge draws its ends together."""
    weight = min(1.0, max(0.0, edge.weight))
    if edge.stated:
        return 0.5 + weight / 2
    return 0.2 + 0.4 * weight if edge.type == TOGETHER else 0.3 + 0.4 * weight


def _half_width(radius: float, size: float, lines: Sequence[str]) -> float:
    return max(radius, *(width_of(line, size) / 2 for line in lines)) + 1


def _name_height(one: _Placed) -> float:
    return 4 + len(one.lines) * one.size * LINE


def _sort(edge: Edge) -> str:
    if edge.type == "supersedes":
        return "superseding"
    if edge.stated:
        return "stated"
    return "together" if edge.type == TOGETHER else "found"


def _edge(edge: Edge, placed: Mapping[str, _Placed], heaviest: float) -> str:
    one, other, sort = placed[edge.src], placed[edge.dst], _sort(edge)
    share = min(1.0, max(0.0, edge.weight / heaviest))
    broad = {"together": 0.9 + 2.4 * share**2, "found": 0.7 + 1.3 * share}.get(sort, 1.3 + 1.2 * share)
    directed = sort in ("stated", "superseding")
    path = _path(one, other, tip=directed)
    tip = f' marker-end="url(#tip-{sort})"' if directed else ""
    said = f"{shown(one.node.label)} – {edge.type} → {shown(other.node.label)} ({edge.weight:.2g})"
    if sort == "together":
        said = f"{shown(one.node.label)} and {shown(other.node.label)}: mentioned together ({edge.weight:.2g})"
    return (
        f'<path class="edge {sort}" data-a="{xml(edge.src)}" data-b="{xml(edge.dst)}" d="{path}"'
        f' stroke-width="{broad:.2f}"{tip}><title>{xml(said)}</title></path>'
    )


def _path(one: _Placed, other: _Placed, *, tip: bool) -> str:
    """From the rim of one dot to that of the other, slightly bent, so that both ways are told apart."""
    dx, dy = other.x - one.x, other.y - one.y
    far = math.hypot(dx, dy) or 1.0
    ux, uy = dx / far, dy / far
    start = (one.x + ux * one.radius, one.y + uy * one.radius)
    gap = other.radius + (5.0 if tip else 0.0)
    end = (other.x - ux * gap, other.y - uy * gap)
    bend = min(26.0, far * 0.08)
    middle = ((start[0] + end[0]) / 2 - uy * bend, (start[1] + end[1]) / 2 + ux * bend)
    return f"M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"


def _relations(edges: Sequence[Edge], placed: Mapping[str, _Placed], all_placed: Sequence[_Placed]) -> list[str]:
    """What is stated, along its edges, where it hides nothing."""
    taken = [one.box for one in all_placed]
    written: list[str] = []
    pairs: dict[tuple[str, str], list[str]] = {}
    for edge in sorted(edges, key=lambda edge: -edge.weight):
        if edge.stated:
            pairs.setdefault((edge.src, edge.dst), []).append(edge.type.replace("_", " "))
    for (src, dst), types in pairs.items():
        one, other = placed[src], placed[dst]
        text = ", ".join(types[:2]) + (" …" if len(types) > 2 else "")
        half, high = width_of(text, RELATION) / 2, RELATION
        for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
            x, y, angle = _along(one, other, share)
            turned = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
            wide, deep = half * turned[0] + high / 2 * turned[1], half * turned[1] + high / 2 * turned[0]
            box = (x - wide, y - deep, x + wide, y + deep)
            if not any(_overlap(box, other_box) for other_box in taken):
                taken.append(box)
                written.append(
                    f'<text class="relation" data-a="{xml(src)}" data-b="{xml(dst)}" font-size="{RELATION:g}"'
                    f' text-anchor="middle" transform="translate({x:.1f} {y:.1f}) rotate({angle:.1f})" dy="0.32em">'
                    f"{xml(text)}</text>"
                )
                break
    return written


def _along(one: _Placed, other: _Placed, share: float) -> tuple[float, float, float]:
    """A place on the way between two, as it is bent, and the angle at which it is read from left to right."""
    dx, dy = other.x - one.x, other.y - one.y
    far = math.hypot(dx, dy) or 1.0
    bend = min(26.0, far * 0.08) * 2 * share * (1 - share)
    x, y = one.x + dx * share - dy / far * bend, one.y + dy * share + dx / far * bend
    angle = math.degrees(math.atan2(dy, dx))
    if angle > 90 or angle <= -90:
        angle -= math.copysign(180, angle)
    return x, y, angle


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _node(one: _Placed, picture: Picture) -> str:
    node = one.node
    about = [f"{node.sort}: {shown(node.label)}"]
    if not node.is_entity:
        about.append(node.happened_at[:10])
    if node.superseded_by is not None:
        about.append("something newer takes its place")
    marks = (
        f"node {xml(node.sort)}"
        + (" named" if node.is_entity else "")
        + (" past" if node.superseded_by is not None else "")
    )
    ring = f'<circle class="ring" r="{one.radius + 4.5:.1f}"/>' if node.id == picture.around else ""
    top = one.radius + 4 + one.size * 0.8
    lines = "".join(
        f'<tspan x="0" y="{top + n * one.size * LINE:.1f}">{xml(line)}</tspan>' for n, line in enumerate(one.lines)
    )
    return (
        f'<g class="{marks}" data-id="{xml(node.id)}" transform="translate({one.x:.1f} {one.y:.1f})">'
        f"<title>{xml(' · '.join(about))}</title>{ring}"
        f"{_dot(one.radius, round_=node.is_entity)}"
        f'<text class="name" text-anchor="middle" font-size="{one.size:.1f}">{lines}</text></g>'
    )


def _dot(radius: float, *, round_: bool, x: float = 0.0, y: float = 0.0) -> str:
    if round_:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
    half = radius * 0.89
    return (
        f'<rect class="dot" x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" height="{2 * half:.1f}"'
        ' rx="2"/>'
    )


def _legend(picture: Picture, width: float, height: float) -> tuple[list[str], float]:
    """What the colours mean, of what there is, and by how much its lines after the first make the picture deeper."""
    there = {node.sort: node.is_entity for node in picture.nodes}
    sorts = {_sort(edge) for edge in picture.edges}
    marks = [
        (f'<g class="{sort}">{_dot(5, round_=there[sort], x=5, y=-4)}</g>', 15.0, sort)
        for sort in COLOURS
        if sort in there
    ] + [
        (f'<path class="edge {sort}" d="M0 -4h22" stroke-width="2" fill="none"/>', 28.0, said)
        for sort, (_, _, said) in SORTS.items()
        if sort in sorts
    ]
    x, first = MARGIN, height - 22
    y = first
    made = [
        f'<g class="legend" font-size="{LEGEND:g}">'
        f'<path class="rule" d="M{MARGIN:.0f} {first - 20:.0f}H{width - MARGIN:.0f}"/>'
    ]
    for mark, indent, said in marks:
        wide = indent + width_of(said, LEGEND)
        if x > MARGIN and x + wide > width - MARGIN:
            x, y = MARGIN, y + LEGEND_LINE
        made.append(
            f'<g transform="translate({x:.0f} {y:.0f})">{mark}'
            f'<text class="faint" x="{indent:.0f}">{xml(said)}</text></g>'
        )
        x += wide + 18
    return [*made, "</g>"], y - first


def _tip(sort: str) -> str:
    return (
        f'<marker id="tip-{sort}" viewBox="0 0 10 10" refX="6" refY="5" markerWidth="7" markerHeight="7"'
        f' markerUnits="userSpaceOnUse" orient="auto"><path class="tip {sort}" d="M0 1L10 5L0 9z"/></marker>'
    )


def _style() -> str:
    """The rules: those of light ground, and over them those of dark."""
    return _rules(0) + "@media (prefers-color-scheme: dark){" + _rules(1) + "}"


def _rules(dark: int) -> str:
    ground, ink, faint, rule = (
        ("#fbfcfe", "#1d2733", "#5c6b7d", "#e3e8ef"), ("#10161f", "#e6ecf3", "#93a1b3", "#26313f")
    )[dark]  # fmt: skip
    rules = [
        f".ground{{fill:{ground}}}",
        f".head{{fill:{ink};font-weight:600}}",
        f".faint{{fill:{faint}}}",
        f".rule{{stroke:{rule};fill:none}}",
        f".name{{fill:{ink};stroke:{ground};stroke-width:3px;stroke-linejoin:round;paint-order:stroke}}",
        ".named .name{font-weight:600}",
        f".relation{{fill:{faint};stroke:{ground};stroke-width:5px;stroke-linejoin:round;paint-order:stroke}}",
        f".dot{{stroke:{ground};stroke-width:1.5px}}",
        f".ring{{fill:none;stroke:{ink};stroke-width:1.5px}}",
        ".past{opacity:.5}",
        ".together{stroke-dasharray:1 4;stroke-linecap:round}",
    ]
    rules += [f".{kind} .dot{{fill:{colours[dark]}}}" for kind, colours in COLOURS.items()]
    rules += [f".edge.{sort}{{stroke:{colours[dark]}}}" for sort, colours in SORTS.items()]
    rules += [f".tip.{sort}{{fill:{SORTS[sort][dark]};stroke:none}}" for sort in ("stated", "superseding")]
    return "".join(rules)
