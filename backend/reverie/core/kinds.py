"""The words of a trace and the small numbers that stand for them in the wide tables."""

KINDS = {"turn": 1, "note": 2, "fact": 3, "chunk": 4, "summary": 5, "entity": 6}
RECALLED_KINDS = ("turn", "note", "fact", "chunk")
"""What recall looks at when ``kinds=`` is not given."""

HEADS = {"semantic": 0, "situation": 1, "entity": 2}
