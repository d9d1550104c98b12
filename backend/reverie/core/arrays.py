"""Vectors, and arrays of them and of ids, as PostgreSQL reads them (``array_send``), each written as one block.

psycopg writes lists element by element: ids take ten times as long that way, vectors nearly three times.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_ARRAY: Final = struct.Struct("!iiIii")
"""Dimensions, whether there are nulls, the type of the elements, how many there are, the index of the first."""

_UUID, _UUIDS = 2950, 2951
_UUID_SIZE: Final = b"\x00\x00\x00\x10"


class Uuids(bytes):
    """An array of uuids, made of the 16 bytes of each."""

    def __new__(cls, parts: Iterable[bytes]) -> Self:
        elements = [_UUID_SIZE + one for one in parts]
        return super().__new__(cls, _ARRAY.pack(1, 0, _UUID, len(elements), 1) + b"".join(elements))


class Vectors:
    """An array of ``vector``. ``rows``: float32, each ``[dim]``."""

    kind: ClassVar[str] = "vector"
    numbers: ClassVar[str] = ">f4"

    def __init__(self, rows: "Sequence[npt.NDArray[np.float32]]") -> None:
        self.rows = rows


class HalfVectors(Vectors):
    """An array of ``halfvec``."""

    kind = "halfvec"
    numbers = ">f2"


def as_vector(values: "npt.NDArray[np.float32]", precision: str) -> HalfVector | Vector:
    """A row of float32 as the type of its column: halfvec at fp16, vector at fp32."""
    return HalfVector(values) if precision == "fp16" else Vector(values)


def as_vectors(rows: "Sequence[npt.NDArray[np.float32]]", precision: str) -> Vectors:
    """Rows of float32 as an array of the type of their column."""
    return HalfVectors(rows) if precision == "fp16" else Vectors(rows)


async def register_arrays(connection: AsyncConnection[Any]) -> None:
    """Teaches a connection all of this; its database has pgvector."""
    await register_vector_async(connection)
    connection.adapters.register_dumper(Uuids, _UuidsDumper)
    for kind in (Vectors, HalfVectors):
        known = connection.adapters.types[kind.kind]
        of_kind = {"oid": known.array_oid, "element": known.oid}
        connection.adapters.register_dumper(kind, type(f"_{kind.__name__}Dumper", (_VectorsDumper,), of_kind))


class _UuidsDumper(Dumper):
    """Sends :class:`Uuids` as they are."""

    format = Format.BINARY
    oid = _UUIDS

    def dump(self, obj: Uuids) -> Uuids:
        return obj


class _VectorsDumper(Dumper):
    """Each element is its size, its dimension, two bytes that are not used, and its numbers (``vector_send``)."""

    format = Format.BINARY
    element: ClassVar[int]

    def dump(self, obj: Vectors) -> bytes:
        # Not at import: commands that only read and write rows start without it.
        import numpy as np

        count = len(obj.rows)
        dim = len(obj.rows[0]) if count else 0
        packed = np.zeros(count, [("size", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("numbers", obj.numbers, (dim,))])
        packed["size"] = packed.dtype.itemsize - 4
        packed["dim"] = dim
        if count:
            packed["numbers"] = obj.rows
        return _ARRAY.pack(1, 0, self.element, count, 1) + packed.tobytes()
