"""Reverie: the memory of AI agents, kept in PostgreSQL."""

from importlib.metadata import version

__version__ = version("reverie")
