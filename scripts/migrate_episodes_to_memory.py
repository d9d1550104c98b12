#!/usr/bin/env python3
"""Brings a PostgreSQL table of episodes into Reverie; --help and docs/migrating.md say how."""

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PYTHON = PROJECT / ".venv" / "bin" / "python"

try:
    from reverie.cli.episodes import main
except ModuleNotFoundError as missing:
    # Not the Python that Reverie was installed for: the project's own has it.
    if missing.name != "reverie" or not PYTHON.exists() or Path(sys.prefix) == PYTHON.parent.parent:
        sys.exit(f"{missing}: run scripts/setup first.")
    os.execv(PYTHON, [PYTHON, *sys.argv])  # noqa: S606 - the same script

if __name__ == "__main__":
    main()
