"""Named SQL: a file holds blocks that begin with ``-- name: x`` and can be pasted into psql; Cypher's with ``//``."""

import re
from importlib.resources import files

_NAME = re.compile(r"^(?:--|//) name: (\w+)[ \t]*\n", re.MULTILINE)


class Queries:
    """The blocks of one ``.sql`` file, by name.

    ``text(name, key=value)`` fills ``{key}`` with a literal that the plan needs to see (a model's number, a cast);
    everything else is a parameter of the query. Only identifiers and whole numbers of our own go there.
    """

    def __init__(self, package: str, filename: str = "queries.sql") -> None:
        parts = _NAME.split(files(package).joinpath(filename).read_text(encoding="utf-8"))
        self._blocks = {name: block.strip() for name, block in zip(parts[1::2], parts[2::2], strict=True)}
        # The same object each time: its hash is then computed once, and it is the key of what is prepared.
        self._encoded = {name: block.encode() for name, block in self._blocks.items()}

    def __getitem__(self, name: str) -> bytes:
        return self._encoded[name]

    def text(self, name: str, **literals: int | str) -> bytes:
        """The block with its ``{literals}`` filled in."""
        block = self._blocks[name]
        for key, value in literals.items():
            block = block.replace("{" + key + "}", str(value))
        return block.encode()
