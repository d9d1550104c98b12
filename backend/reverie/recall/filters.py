"""The filter of a recall over ``meta``, compiled to one SQL/JSON path predicate. Pure functions."""

import json
from typing import Any

OPERATORS = {"$eq": "==", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
MOST_CONDITIONS = 32
MOST_CHOICES = 1000
MOST_SEGMENTS = 32


def jsonpath(conditions: dict[str, Any]) -> str:
    """``{"meta.a.b": value | {"$gt": 3, …}}`` as a jsonpath predicate (ISO/IEC 9075-2, lax mode).

    In lax mode a condition on a list holds if it holds for one of its elements.

    Raises:
        ValueError: the end of a sentence about the field ``filter``.
    """
    if not 1 <= len(conditions) <= MOST_CONDITIONS:
        raise ValueError(f"takes 1 to {MOST_CONDITIONS} conditions")
    return " && ".join(_condition(name, wanted) for name, wanted in conditions.items())


def _condition(name: str, wanted: object) -> str:
    first, *keys = name.split(".")
    shown = name[:60]
    if first != "meta" or not 1 <= len(keys) <= MOST_SEGMENTS or not all(keys):
        raise ValueError(f"takes conditions on meta.<key>, not on {shown!r}")
    path = "$" + "".join(f".{json.dumps(key)}" for key in keys)
    if not isinstance(wanted, dict):
        return f"{path} == {_literal(shown, wanted)}"
    if not wanted:
        raise ValueError(f"takes an operator for {shown}: {', '.join([*OPERATORS, '$in'])}")
    return " && ".join(_comparison(shown, path, operator, value) for operator, value in wanted.items())


def _comparison(name: str, path: str, operator: str, value: object) -> str:
    if operator == "$in":
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_CHOICES:
            raise ValueError(f"takes a list of 1 to {MOST_CHOICES} values for $in of {name}")
        return "(" + " || ".join(f"{path} == {_literal(name, one)}" for one in value) + ")"
    if operator not in OPERATORS:
        raise ValueError(f"takes one of {', '.join([*OPERATORS, '$in'])} for {name}, not {operator[:60]!r}")
    return f"{path} {OPERATORS[operator]} {_literal(name, value)}"


def _literal(name: str, value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value)
    raise ValueError(f"takes text, a number, true, false or null for {name}")
