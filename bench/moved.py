"""`reverie api` of another day: `python -m bench.moved 2025-11-01T00:00:00+00:00`."""

import sys
from datetime import datetime

from reverie.cli.main import run
from reverie.core import clock

if __name__ == "__main__":
    moment = datetime.fromisoformat(sys.argv.pop())
    sys.argv.append("api")
    with clock.as_of(moment):
        run()
