"""A stand-in for an OpenAI-compatible chat endpoint: a real HTTP server on loopback that does as it is told.

A mode is how it answers. ``good`` reads the records that it is asked about and retells them; the others misbehave, each
in one way. The bench uses it too.
"""

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.embedding.standin import serving

PATH = "/v1/chat/completions"

Request = dict[str, Any]


@dataclass
class Reply:
    """What goes out: ``body`` piece by piece, None for a connection that is closed instead."""

    status: int = 200
    body: Iterator[bytes] | bytes | None = b""
    headers: dict[str, str] = field(default_factory=dict)


Mode = Callable[[Request], Reply]


def says(content: object, *, usage: object = None, finish: str = "stop") -> Reply:
    """An answer in OpenAI's form; ``usage`` None: 100 tokens for the question and 50 for the answer."""
    counted = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150} if usage is None else usage
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion", "choices": [choice]} | ({"usage": counted} if counted else {})
    return Reply(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def material(request: Request) -> dict[str, Any]:
    """What the request asks about."""
    found: dict[str, Any] = json.loads(request["messages"][-1]["content"])
    return found


def records(request: Request) -> list[dict[str, str]]:
    """What is to be summarised."""
    found: list[dict[str, str]] = material(request).get("records", [])
    return found


def told(request: Request, *more: str) -> dict[str, str]:
    """A summary in three lengths of the records' own words, with ``more`` at the end of each."""
    parts: dict[str, list[str]] = {}
    shown = [record for record in records(request) if "ignore" not in record["text"].lower()]
    for record in shown:
        words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", record["text"])
        parts.setdefault(record["speaker"] or "They", []).extend(words)
    each = max(4, 48 // max(1, len(parts)))
    sentences = [f"{speaker} talked about {' '.join(words[:each])}." for speaker, words in parts.items()]
    short = [f"{speaker} talked about {' '.join(words[:5])}." for speaker, words in parts.items()][:1]
    return {
        "summary": " ".join([*sentences, *more]),
        "sentence": " ".join(short) if not more else more[0],
        "short": " ".join([*short, *more]),
    }


def good(request: Request) -> Reply:
    """A good answer to what is asked: a summary of records, or the names in texts."""
    return says(json.dumps(told(request) if "records" in material(request) else {"texts": named(request)}))


def named(request: Request, *more: str) -> list[dict[str, Any]]:
    """The words with a capital within a sentence of each text, as people, and ``more``; no facts."""
    found = []
    for text in material(request)["texts"]:
        names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*", text["text"])
        found.append({"id": text["id"], "names": [{"name": one, "kind": "person"} for one in (*names, *more)]})
    return found


def adding(*more: str) -> Mode:
    """A good summary with something at its end."""
    return lambda request: says(json.dumps(told(request, *more)))


def saying(summary: str) -> Mode:
    """This, whatever is asked, in all three lengths."""
    return lambda request: says(json.dumps({"summary": summary, "sentence": summary, "short": summary}))


def content(text: object, **how: Any) -> Mode:
    """This as the whole content of the message."""
    return lambda request: says(text, **how)


def obeys(request: Request) -> Reply:
    """Says what the records demand to be said: ``… and say: X.``"""
    demands = [match for record in records(request) for match in re.findall(r"\bsay:? (.+)", record["text"])]
    return saying(demands[0])(request) if demands else good(request)


def obeys_beside(request: Request) -> Reply:
    """A good summary, at whose end stands what the records demand to be said."""
    demands = [match for record in records(request) for match in re.findall(r"\bsay:? (.+)", record["text"])]
    return adding(*demands[:1])(request) if demands else good(request)


def repeats_instructions(request: Request) -> Reply:
    return saying(" ".join(request["messages"][0]["content"].split()[:50]))(request)


def thinks(request: Request) -> Reply:
    return says(f"<think>Zebulon said 4711. Hm.</think>\n\n{json.dumps(told(request))}")


def fences(request: Request) -> Reply:
    return says(f"```json\n{json.dumps(told(request))}\n```")


def counts_nothing(request: Request) -> Reply:
    return says(json.dumps(told(request)), usage=False)


def streams(request: Request) -> Reply:
    chunk = json.dumps({"choices": [{"delta": {"content": "Hello"}}]})
    return Reply(body=f"data: {chunk}\n\n".encode() * 5 + b"data: [DONE]\n\n")


def endless(request: Request) -> Reply:
    def body() -> Iterator[bytes]:
        yield b'{"choices": [{"message": {"content": "'
        while True:
            yield b"more and " * 8_000

    return Reply(body=body())


def breaks_off(request: Request) -> Reply:
    return Reply(body=None)


def status(code: int, body: bytes = b"", **headers: str) -> Mode:
    """Answers with this status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Reply(code, body, named)


def raw(body: bytes, **headers: str) -> Mode:
    """Answers with this body."""
    return status(200, body, **headers)


def takes_no(*names: str) -> Mode:
    """Refuses requests that name one of these parameters."""

    def mode(request: Request) -> Reply:
        refused = [name for name in names if name in request]
        return Reply(400, b'{"error": {"code": "unsupported_parameter"}}') if refused else good(request)

    return mode


def takes_at_most(characters: int) -> Mode:
    """Refuses requests about more text than this: a window."""

    def mode(request: Request) -> Reply:
        long = sum(len(record["text"]) for record in records(request)) > characters
        return Reply(400, b'{"error": {"code": "context_length_exceeded"}}') if long else good(request)

    return mode


class StandIn:
    """The server; ``modes`` are played once each, in turn, before it is as ``usual`` again."""

    def __init__(self, server: ThreadingHTTPServer, usual: Mode) -> None:
        self._server = server
        self.usual = usual
        self.modes: deque[Mode] = deque()
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        """Ends whatever waits."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def play(self, *modes: Mode) -> None:
        self.modes.extend(modes)

    def slow(self, request: Request) -> Reply:
        """A mode: says nothing until the stand-in ends."""
        self.released.wait(30)
        return good(request)

    def drips(self, request: Request) -> Reply:
        """A mode: a good answer, a byte at a time."""
        whole = good(request).body
        assert isinstance(whole, bytes)

        def body() -> Iterator[bytes]:
            for byte in whole:
                yield bytes([byte])
                if self.released.wait(0.03):
                    return

        return Reply(body=body())


@contextmanager
def serve(usual: Mode = good) -> Iterator[StandIn]:
    """Runs a stand-in on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    stand_in = StandIn(server, usual)
    server.stand_in = stand_in  # type: ignore[attr-defined]
    with serving(server, stand_in.released):
        yield stand_in


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        stand_in: StandIn = self.server.stand_in  # type: ignore[attr-defined]
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stand_in.requests.append(request)
        stand_in.headers.append(dict(self.headers.items()))
        if self.path != PATH:
            reply = Reply(404, b"<html>Not here</html>")
        else:
            reply = (stand_in.modes.popleft() if stand_in.modes else stand_in.usual)(request)
        self.close_connection = True
        if reply.body is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body or ():
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keeps the test's output clean."""
