"""A stand-in for an OpenAI-compatible endpoint: a real HTTP server on loopback with a small real embedding.

Its vectors are counts of hashed words, so that texts which share words are similar; as a reranker it counts the words
that a text shares with the question. It misbehaves on demand.
"""

import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIM = 96
WINDOW_CHARS = 3000

Answer = tuple[int, dict[str, str], bytes]
Trick = Callable[[dict[str, Any]], Answer]


def embed(text: str, dim: int = DIM) -> list[float]:
    """Counts of hashed words; the first component is never zero."""
    vector = [0.0] * dim
    vector[0] = 0.25
    for word in text.lower().split():
        vector[1 + zlib.crc32(word.strip(".,?!").encode()) % (dim - 1)] += 1.0
    return vector


def answer(vectors: Sequence[Sequence[float]], *, reverse: bool = False) -> Answer:
    """An answer in OpenAI's form."""
    data = [{"object": "embedding", "index": at, "embedding": list(vector)} for at, vector in enumerate(vectors)]
    body = json.dumps({"object": "list", "data": data[::-1] if reverse else data})
    return 200, {"Content-Type": "application/json"}, body.encode()


def honest(request: dict[str, Any]) -> Answer:
    """Vectors for every text, the last one first; texts beyond the window are refused."""
    texts = request["input"]
    if not texts or any(not text or len(text) > WINDOW_CHARS for text in texts):
        return 400, {}, b'{"error": {"message": "input is empty or too long"}}'
    return answer([embed(text) for text in texts], reverse=True)


def ranked(scores: Sequence[float]) -> Answer:
    """An answer in the form of the common rerank API: the best first."""
    results = [{"index": at, "relevance_score": score} for at, score in enumerate(scores)]
    results.sort(key=lambda result: result["relevance_score"], reverse=True)
    body = json.dumps({"model": "words", "results": results, "usage": {"total_tokens": 1}})
    return 200, {"Content-Type": "application/json"}, body.encode()


def shared(question: str, text: str) -> float:
    """The share of the question's words that the text holds, 0 to 1."""
    asked = {word.strip(".,?!") for word in question.lower().split()}
    return len(asked & {word.strip(".,?!") for word in text.lower().split()}) / max(1, len(asked))


def judges(request: dict[str, Any]) -> Answer:
    """Scores of all documents, the best first; documents beyond the window are refused."""
    texts = request.get("documents")
    if not texts or not request["query"] or any(not text or len(text) > WINDOW_CHARS for text in texts):
        return 400, {}, b'{"error": {"message": "a document is empty or too long"}}'
    return ranked([shared(request["query"], text) for text in texts])


class StandIn:
    """The server; ``tricks`` are played once each, in turn, before it is honest again."""

    def __init__(self, server: ThreadingHTTPServer, path: str = "/v1/embeddings", usual: Trick = honest) -> None:
        self._server = server
        self.path = path
        self.usual = usual
        self.tricks: deque[Trick] = deque()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def play(self, *tricks: Trick) -> None:
        self.tricks.extend(tricks)


def says(status: int, body: bytes = b"", **headers: str) -> Trick:
    """Answers with this, whatever is asked."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: (status, named, body)


def drips() -> Trick:
    """Answers with a head of which every line comes a tenth of a second after the former, ten seconds long."""
    return says(200, b"", **{f"Drip_{at}": "x" for at in range(100)})


@contextmanager
def serve(path: str = "/v1/embeddings", usual: Trick = honest) -> Iterator[StandIn]:
    """Runs a stand-in on a free port of loopback, which answers at ``path`` as ``usual`` says."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    stand_in = StandIn(server, path, usual)
    server.stand_in = stand_in  # type: ignore[attr-defined]
    with serving(server, stand_in.released):
        yield stand_in


@contextmanager
def serving(server: ThreadingHTTPServer, released: threading.Event) -> Iterator[None]:
    """Serves meanwhile; at the end ``released`` lets go of whoever still waits."""
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        stand_in: StandIn = self.server.stand_in  # type: ignore[attr-defined]
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stand_in.requests.append(request)
        stand_in.headers.append(dict(self.headers.items()))
        if self.path != stand_in.path:
            status, headers, body = 404, {"Content-Type": "text/html"}, b"<html>Not here</html>"
        else:
            trick = stand_in.tricks.popleft() if stand_in.tricks else stand_in.usual
            status, headers, body = trick(request)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
                if name.startswith("Drip"):
                    self.flush_headers()
                    stand_in.released.wait(0.1)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(body, stand_in)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, body: bytes, stand_in: StandIn) -> None:
        if b"DRIP" not in body:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if stand_in.released.wait(0.03):
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keeps the test's output clean."""
