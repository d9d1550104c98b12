"""A graph as GraphML (http://graphml.graphdrawing.org), which networkx, igraph, Gephi and yEd read. Pure."""

from typing import Final

from reverie.graph.drawing.picture import Picture
from reverie.graph.drawing.text import xml

_OF_NODES: Final = (("kind", "string"), ("entity_type", "string"), ("label", "string"), ("weight", "double"),
                    ("happened_at", "string"), ("superseded_by", "string"))  # fmt: skip
_OF_EDGES: Final = (("type", "string"), ("weight", "double"))


def graphml(picture: Picture) -> str:
    """The nodes by their ids and the edges between them, directed as they are stored."""
    keys = [
        f'  <key id="{of[0]}_{name}" for="{of}" attr.name="{name}" attr.type="{kind}"/>'
        for of, names in (("node", _OF_NODES), ("edge", _OF_EDGES)) for name, kind in names
    ]  # fmt: skip
    nodes = [f'    <node id="{xml(node.id)}">{_data("n", _OF_NODES, node)}</node>' for node in picture.nodes]
    edges = [
        f'    <edge id="e{number}" source="{xml(edge.src)}" target="{xml(edge.dst)}">'
        f"{_data('e', _OF_EDGES, edge)}</edge>"
        for number, edge in enumerate(picture.edges)
    ]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
            ' xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns'
            ' http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">',
            *keys,
            '  <graph id="reverie" edgedefault="directed">',
            *nodes,
            *edges,
            "  </graph>",
            "</graphml>",
            "",
        ]
    )


def _data(of: str, names: tuple[tuple[str, str], ...], one: object) -> str:
    values = ((name, getattr(one, name)) for name, _ in names)
    return "".join(f'<data key="{of}_{name}">{xml(str(value))}</data>' for name, value in values if value is not None)
