"""The tables. Importing this package registers all of them with ``Base.metadata``."""

from reverie.models.access import MemoryAccess
from reverie.models.base import Base
from reverie.models.body import MemoryBody
from reverie.models.cold import ColdGarbage, ColdRemoval, ColdSegment, MemoryDigest
from reverie.models.dismissal import MemoryDismissal
from reverie.models.dream import DreamAside, DreamControl, DreamDay, DreamNight, DreamRun, DreamStage, DreamUser
from reverie.models.edge import MemoryEdge
from reverie.models.embedding import MemoryEmbedding, Model, Reembedding
from reverie.models.entity import EntityName
from reverie.models.index import MemoryIndex
from reverie.models.operation import IdempotencyKey, Operation
from reverie.models.partition import MemoryPartition, TierChange, TierControl, TierRun
from reverie.models.receipt import ForgetReceipt, Rebuild, StoreSecret, Tombstone
from reverie.models.retention import Retention
from reverie.models.settings import AiSettings
from reverie.models.space import ApiKey, Space
from reverie.models.trace import MemoryTrace
from reverie.models.user import MemoryUser

__all__ = [
    "AiSettings",
    "ApiKey",
    "Base",
    "ColdGarbage",
    "ColdRemoval",
    "ColdSegment",
    "DreamAside",
    "DreamControl",
    "DreamDay",
    "DreamNight",
    "DreamRun",
    "DreamStage",
    "DreamUser",
    "EntityName",
    "ForgetReceipt",
    "IdempotencyKey",
    "MemoryAccess",
    "MemoryBody",
    "MemoryDigest",
    "MemoryDismissal",
    "MemoryEdge",
    "MemoryEmbedding",
    "MemoryIndex",
    "MemoryPartition",
    "MemoryTrace",
    "MemoryUser",
    "Model",
    "Operation",
    "Rebuild",
    "Reembedding",
    "Retention",
    "Space",
    "StoreSecret",
    "TierChange",
    "TierControl",
    "TierRun",
    "Tombstone",
]
