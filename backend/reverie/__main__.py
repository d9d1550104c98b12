"""``python -m reverie``."""

from reverie.cli.main import run

run()
