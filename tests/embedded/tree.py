"""The process tree of ``reverie up`` with stand-ins for the API and the worker: ``python tree.py HOME PORT EVENTS``.

Prints what is said and, once all runs, a line of JSON with the URLs. The stand-ins write to EVENTS when they end.
"""

import asyncio
import json
import sys
from pathlib import Path

from reverie.core.config import load_settings
from reverie.core.errors import StartError
from reverie.embedded.supervisor import Program, run_until_stopped, running

API = """
import datetime, http.server, os, signal, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["REVERIE_PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
with open(sys.argv[1], "a") as events:
    print("API", datetime.datetime.now(datetime.UTC).isoformat(), file=events)
"""

WORKER = """
import datetime, os, signal, sys
assert os.environ["DATABASE_URL"].startswith("postgresql://") and os.environ["REDIS_URL"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    signal.pause()
finally:
    with open(sys.argv[1], "a") as events:
        print("worker", datetime.datetime.now(datetime.UTC).isoformat(), file=events)
"""


def say(line: str) -> None:
    print(line, flush=True)


async def main(home: Path, port: int, events: str) -> None:
    settings = load_settings(reverie_home=home, reverie_port=port)
    async with running(settings, say) as servers:
        environment = servers.environment()
        api = Program("API", [sys.executable, "-c", API, events], environment)
        worker = Program("worker", [sys.executable, "-c", WORKER, events], environment)
        await servers.start(api)
        await servers.start(worker)
        await servers.ready(api, f"http://127.0.0.1:{port}/health/live")
        say(json.dumps({"database": servers.settings.database_url, "redis": servers.settings.redis_url}))
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        number = run_until_stopped(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
    except StartError as error:
        sys.exit(str(error))
    say(f"ended by {number.name if number else 'itself'}")
