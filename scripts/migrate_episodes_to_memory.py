#!/usr/bin/env python3
"""Brings a PostgreSQL table of episodes into Reverie; --help and docs/migrating.md say how."""

from reverie.cli.episodes import main

if __name__ == "__main__":
    main()
