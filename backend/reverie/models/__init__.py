"""The tables. Importing this package registers all of them with ``Base.metadata``."""

from reverie.models.base import Base
from reverie.models.body import MemoryBody
from reverie.models.edge import MemoryEdge
from reverie.models.embedding import MemoryEmbedding, Model, Reembedding
from reverie.models.index import MemoryIndex
from reverie.models.operation import IdempotencyKey, Operation
from reverie.models.partition import MemoryPartition
from reverie.models.receipt import ForgetReceipt
from reverie.models.space import ApiKey, Space
from reverie.models.trace import MemoryTrace
from reverie.models.user import MemoryUser

__all__ = [
    "ApiKey",
    "Base",
    "ForgetReceipt",
    "IdempotencyKey",
    "MemoryBody",
    "MemoryEdge",
    "MemoryEmbedding",
    "MemoryIndex",
    "MemoryPartition",
    "MemoryTrace",
    "MemoryUser",
    "Model",
    "Operation",
    "Reembedding",
    "Space",
]
