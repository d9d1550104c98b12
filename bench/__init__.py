"""Measuring commands: each prints a table against its floor and the bars, and writes JSON on request."""
