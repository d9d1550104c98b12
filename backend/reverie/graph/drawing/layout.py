"""Where nodes stand, so that what hangs together is near and nothing overlaps. Pure, and the same each time.

Each connected part is laid out by itself: classical scaling of the distances along edges (Torgerson, 1952) for the
beginning, then forces between nodes (Fruchterman and Reingold, 1991), then boxes that overlap are moved apart. The
parts are packed side by side, the largest first.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ROUNDS: Final = 300
GAP: Final = 14.0
"""Between two boxes, in the picture's own units."""

PART_GAP: Final = 44.0
WIDE: Final = 1.5
"""How much wider than high a picture is."""


class Box(NamedTuple):
    """The size of what is drawn for a node, around its place."""

    width: float
    height: float


def laid_out(boxes: Sequence[Box], edges: Sequence[tuple[int, int, float]]) -> Floats:
    """The place of each node, as rows of (x, y) from (0, 0) on.

    Args:
        boxes: what has to fit around each node.
        edges: places of two nodes each, and how strongly they are drawn together, above 0 to 1.
    """
    sizes = np.array([(box.width, box.height) for box in boxes], dtype=np.float64).reshape(-1, 2)
    places = np.zeros((len(boxes), 2))
    parts = components(len(boxes), edges)
    for part in parts:
        inner = {node: n for n, node in enumerate(part)}
        own = [(inner[a], inner[b], weight) for a, b, weight in edges if a in inner and a != b]
        places[part] = _laid_out_part(sizes[part], own)
    _pack(places, sizes, parts)
    return places


def components(count: int, edges: Sequence[tuple[int, int, float]]) -> list[list[int]]:
    """The connected parts, the largest first; within one, and among equals, by the order of the nodes."""
    root = list(range(count))

    def find(one: int) -> int:
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        return one

    for a, b, _ in edges:
        first, second = sorted((find(a), find(b)))
        root[second] = first
    parts: dict[int, list[int]] = {}
    for node in range(count):
        parts.setdefault(find(node), []).append(node)
    return sorted(parts.values(), key=lambda part: (-len(part), part[0]))


def _laid_out_part(sizes: Floats, edges: Sequence[tuple[int, int, float]]) -> Floats:
    count = len(sizes)
    if count == 1:
        return np.zeros((1, 2))
    pull = np.zeros((count, count))
    for a, b, weight in edges:
        pull[a, b] = pull[b, a] = max(pull[a, b], weight)
    # So far that the boxes have room: of an even square, each has its own and as much again.
    length = float(np.sqrt((sizes + GAP).prod(axis=1).mean() * 2.2))
    places = _scaled(pull) * length
    places = _forced(places, pull, length)
    places -= places.mean(axis=0)
    return _apart(_turned(places), sizes)


def _scaled(pull: Floats) -> Floats:
    """The beginning: distances along edges as distances in the plane."""
    count = len(pull)
    steps = np.where(pull > 0, 1.0, np.inf)
    np.fill_diagonal(steps, 0.0)
    for one in range(count):
        steps = np.minimum(steps, steps[:, one, None] + steps[None, one, :])
    # Equal nodes would fall onto one place.
    squared = steps**2 + 0.05 * (1 - np.eye(count))
    centre = np.eye(count) - 1.0 / count
    values, vectors = np.linalg.eigh(-0.5 * centre @ squared @ centre)
    found = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-9))
    # The sign of an eigenvector is anybody's.
    found *= np.where(found[np.abs(found).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    angles = np.arange(count) * 2.399963
    return np.asarray(found + 0.15 * np.column_stack((np.cos(angles), np.sin(angles))))


def _forced(places: Floats, pull: Floats, length: float) -> Floats:
    heat = length
    # What many hang on pulls each of them less, so that it does not swallow the middle.
    eased = pull / np.sqrt(np.maximum(1.0, (pull > 0).sum(axis=1)))[:, None]
    eased = np.maximum(eased, eased.T)
    for turn in range(ROUNDS):
        between = places[:, None, :] - places[None, :, :]
        distance = np.maximum(np.sqrt((between**2).sum(axis=2)), 1e-3)
        away = length**2 / distance**2
        toward = eased * distance / length * 1.6
        moved = (between * (away - toward)[:, :, None]).sum(axis=1) - 0.04 * places
        far = np.maximum(np.sqrt((moved**2).sum(axis=1)), 1e-9)
        places = places + moved / far[:, None] * np.minimum(far, heat)[:, None]
        heat = length * (1 - (turn + 1) / ROUNDS) ** 1.5 + 0.5
    return places


def _turned(places: Floats) -> Floats:
    """The longest side along the page."""
    _, _, axes = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    turned = places @ axes.T
    return np.asarray(turned * np.where(turned[np.abs(turned).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0))


def _apart(places: Floats, sizes: Floats) -> Floats:
    """Boxes that overlap are pushed apart along the shorter way, again and again until none does."""
    wanted = (sizes[:, None, :] + sizes[None, :, :]) / 2 + GAP
    for turn in range(400):
        between = places[:, None, :] - places[None, :, :]
        over = wanted - np.abs(between)
        both = (over > 1e-6).all(axis=2) & ~np.eye(len(places), dtype=bool)
        if not both.any():
            break
        across = over[:, :, 0] < over[:, :, 1]
        # Two on one place part by their order.
        order = np.sign(np.arange(len(places))[:, None] - np.arange(len(places))[None, :])
        sign = np.where(np.abs(between) < 1e-9, order[:, :, None], np.sign(between))
        push = np.zeros_like(between)
        push[:, :, 0] = np.where(both & across, over[:, :, 0] * sign[:, :, 0], 0.0)
        push[:, :, 1] = np.where(both & ~across, over[:, :, 1] * sign[:, :, 1], 0.0)
        places = places + push.sum(axis=1) * (0.5 if turn < 350 else 0.9)
    return places


def _pack(places: Floats, sizes: Floats, parts: Sequence[Sequence[int]]) -> None:
    """Sets the parts side by side in rows, in place."""
    lows = [(places[part] - sizes[part] / 2).min(axis=0) for part in parts]
    spans = [(places[part] + sizes[part] / 2).max(axis=0) - low for part, low in zip(parts, lows, strict=True)]
    area = sum(float((span + PART_GAP).prod()) for span in spans)
    across = max([float(np.sqrt(area * WIDE)), *(float(span[0]) for span in spans)])
    x = y = deep = 0.0
    for part, low, span in zip(parts, lows, spans, strict=True):
        width, height = float(span[0]), float(span[1])
        if x and x + width > across:
            x, y, deep = 0.0, y + deep + PART_GAP, 0.0
        places[part] += np.array((x, y)) - low
        x, deep = x + width + PART_GAP, max(deep, height)
