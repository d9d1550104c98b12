"""Collections made by program, to train the ranker on more kinds of memory than people have collected questions for.

- chats: two people over months (`bench/text.py`), short turns.
- sessions: a user works on projects with an assistant, whose long answers repeat and pad what the user said.
- manuals: the documentation of Python's standard library (PSF licence), a chunk for each function, asked for by what it
  does, without its name.

The same seed gives the same text; that of the manuals is of the Python that runs.
"""

import importlib
import inspect
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bench import text
from bench.conversations import Asking, Conversation

MADE: Final = "made-"
"""How the names of these collections begin."""

SINGLE_HOP: Final = 4

_PEOPLE: Final = (
    "Ingrid", "Mateo", "Priya", "Olek", "Sunniva", "Bashir", "Clémence", "Takeshi", "Rhiannon", "Emeka", "Zofia",
    "Lars", "Anjali", "Teodor", "Maribel", "Henrik", "Yael", "Cormac", "Nadège", "Samir", "Brigid", "Pavel", "Leilani",
    "Otis",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_TOWNS: Final = (
    "Porto", "Leeds", "Gdańsk", "Utrecht", "Bologna", "Aarhus", "Lyon", "Graz", "Bergen", "Cork", "Tartu", "Split",
    "Basel", "Nantes", "Vilnius", "Turku",
)  # fmt: skip
_TOOLS: Final = (
    "Postgres", "a paper notebook", "Django", "a spreadsheet", "Notion", "Figma", "Flask", "Lightroom", "Zotero",
    "Rust", "Obsidian", "Blender", "Trello", "R", "a label printer", "Grafana",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Project:
    """What a user works on: how facts of it are told and asked for, and what an assistant says to all of them."""

    about: str
    facts: tuple[tuple[str, str], ...]
    advice: tuple[str, ...]


_PROJECTS: Final = (
    _Project(
        "the family budget",
        (
            (
                "we put {amount} euros aside each month since {month}, mostly for {person}'s studies",
                "How large is the sum that is saved monthly at home?",
            ),
            (
                "the rent of the flat in {town} goes up by {small} per cent in {month}",
                "By which share does housing become more expensive?",
            ),
            (
                "{person} and I agreed to look at the accounts every {number} days",
                "How often do we review our finances together?",
            ),
            (
                "I track everything in {tool}, after {person} had shown me how",
                "What do I use for keeping track of expenses, and who taught me?",
            ),
        ),
        (
            "A budget works best when each category has a ceiling that you review.",
            "Separate fixed costs from variable ones before you cut anything.",
            "An emergency fund of three to six months of expenses is a sensible aim.",
            "Automate the transfers on the day your salary arrives.",
            "Look at subscriptions first: they are easy to end.",
        ),
    ),
    _Project(
        "the thesis",
        (
            (
                "my supervisor {person} wants the second chapter by the {number}th of {month}",
                "When is the next part of my dissertation due?",
            ),
            ("I interviewed {number} nurses in {town} for the study", "How many people did I talk to for my research?"),
            (
                "the literature is sorted in {tool} now, {amount} papers in all",
                "How large is my collection of references, and where do I keep it?",
            ),
            (
                "{person} suggested a mixed-methods design after the talk in {town}",
                "Whose idea was it to combine qualitative and quantitative work?",
            ),
        ),
        (
            "State the question of each chapter in its first paragraph.",
            "Write the method so that another student could repeat it.",
            "Keep a log of every decision about coding and exclusion.",
            "A literature map shows gaps that a list hides.",
            "Ask for feedback on the outline before you write the prose.",
        ),
    ),
    _Project(
        "the web shop",
        (
            (
                "the checkout loses {small} per cent of the visitors since we moved to {tool}",
                "What share of customers abandons their purchase?",
            ),
            (
                "{person} found that pages take {number} tenths of a second longer from {town}",
                "Who noticed the slow loading, and where?",
            ),
            (
                "we release on the {number}th of {month}, with {amount} products",
                "On which day do we go live, and how big is the assortment?",
            ),
            (
                "the login is done by {person}, who prefers sessions over tokens",
                "Who is responsible for authentication?",
            ),
        ),
        (
            "Measure before you optimise: the slowest query is rarely where you expect it.",
            "Cache what does not depend on the visitor.",
            "Validate on the server whatever the browser has checked.",
            "Add an index for each filter that is used often.",
            "Write a test for every bug before you mend it.",
            "Roll out to a small share of visitors.",
        ),
    ),
    _Project(
        "the half marathon",
        (
            (
                "my coach {person} lets me run {number} kilometres a week until {month}",
                "What is my weekly training volume at the moment?",
            ),
            ("the race in {town} begins at {small} in the morning", "What time does the competition start?"),
            (
                "my left knee hurts since the long run with {person}",
                "Which injury do I have, and how did it come about?",
            ),
            ("I want to stay under {amount} minutes this time", "What finishing time am I aiming for?"),
        ),
        (
            "Increase the distance by no more than a tenth each week.",
            "Easy runs should allow a conversation.",
            "Strength work twice a week protects the joints.",
            "Sleep is the cheapest way to recover.",
            "Practise what you will eat on the day of the race.",
            "A taper of two weeks keeps the legs fresh.",
        ),
    ),
    _Project(
        "the move abroad",
        (
            ("I start in {town} in {month}, in the team of {person}", "Where and when do I begin my new job?"),
            ("the movers want {amount} euros for {number} boxes", "What does the transport of our things cost?"),
            ("{person} takes over my contract for the flat from {month} on", "Who is going to be the next tenant?"),
            ("the cat needs its papers {number} days before we leave", "What has to be ready for the pet, and when?"),
        ),
        (
            "Register within the first week: everything else depends on it.",
            "Keep copies of all papers in two places.",
            "Open the account before the first salary is due.",
            "Ask your insurer for a certificate of earlier years.",
            "Learn the hundred words that the market needs.",
            "Cancel contracts in writing and keep the answer.",
        ),
    ),
    _Project(
        "the photo exhibition",
        (
            (
                "the gallery of {person} in {town} shows {number} of my prints from {month} on",
                "Whose rooms will my pictures hang in?",
            ),
            (
                "I edit everything in {tool} and print at {amount} dots an inch",
                "Which software and which resolution do I work with?",
            ),
            ("{person} writes the text for the catalogue, about {small} pages", "Who is the author of the booklet?"),
            (
                "the opening is on the {number}th of {month}, with a trio from {town}",
                "Who plays music at the vernissage, and what day is it?",
            ),
        ),
        (
            "Hang the strongest picture where the visitor turns.",
            "Light from two sides avoids reflections.",
            "Number the prints and note the paper of each.",
            "A short text says why, not what.",
            "Invite the neighbours first.",
            "Photograph the hanging before the doors open.",
        ),
    ),
)
_ASIDES: Final = (
    "Here is what I have so far, so that you have the whole context.",
    "I am not sure that I explained it well last time.",
    "Could you go through it step by step?",
    "It has been a long week, sorry for the wall of text.",
    "I would rather keep it simple.",
    "What would you do first?",
    "Please be honest, I can take it.",
    "I tried two things already and neither worked.",
    "Can you give me an example that I can copy?",
    "Let me know if something is missing.",
)
_OPENINGS: Final = (
    "Great question! Here is how I would think about {about}.",
    "Thanks for the details about {about}.",
    "You are making real progress with {about}.",
    "Let us break {about} down into parts.",
    "That is a common situation with {about}.",
)

_MODULES: Final = (
    "argparse", "asyncio", "base64", "bisect", "calendar", "collections", "configparser", "contextlib", "copy", "csv",
    "datetime", "decimal", "difflib", "email.message", "enum", "fnmatch", "fractions", "functools", "getpass", "glob",
    "gzip", "hashlib", "heapq", "html", "http.client", "imaplib", "inspect", "io", "ipaddress", "itertools", "json",
    "locale", "logging", "lzma", "mailbox", "math", "mimetypes", "multiprocessing", "operator", "os", "os.path",
    "pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "secrets", "select", "selectors", "shelve",
    "shlex", "shutil", "signal", "smtplib", "socket", "sqlite3", "ssl", "statistics", "string", "struct", "subprocess",
    "sys", "tarfile", "tempfile", "textwrap", "threading", "time", "timeit", "traceback", "types", "unicodedata",
    "unittest.mock", "urllib.parse", "urllib.request", "uuid", "warnings", "weakref", "xml.dom.minidom", "zipfile",
    "zlib",
)  # fmt: skip
_ASKING_FOR: Final = ("How do I {what}?", "What was it that can {what}?", "I need to {what}. Which one is that?")
_LEAST_WORDS: Final = 5
_LEAST_CHARS: Final = 120


def made(seed: int = 0, scale: float = 1.0) -> list[Conversation]:
    """All kinds: at ``scale`` 1 three chats, four users with their sessions, and one of manuals."""
    rng = random.Random(f"made {seed}")
    chats = [_chat(seed * 100 + number, round(320 * scale)) for number in range(3)]
    users = [_sessions(rng, number, round(16 * scale)) for number in range(4)]
    return [*chats, *users, _manuals(rng, round(500 * scale), round(160 * scale))]


def _chat(seed: int, turns: int) -> Conversation:
    talk = text.conversation(seed, turns, turns // 3)
    traces = [
        {
            "external_id": turn.external_id,
            "content": turn.content,
            "speaker": turn.speaker,
            "role": "user",
            "conversation_id": turn.session,
            "occurred_at": turn.occurred_at.isoformat(),
        }
        for turn in talk.turns
    ]
    questions = [Asking(one.text, SINGLE_HOP, frozenset({one.evidence})) for one in talk.questions]
    return Conversation(f"chat-{seed}", f"{MADE}chats", traces, questions)


def _sessions(rng: random.Random, number: int, sessions: int) -> Conversation:
    """A user and an assistant: every session is about one project, every user's turn tells a fact of it in passing."""
    traces: list[dict[str, Any]] = []
    asked: list[Asking] = []
    told: dict[str, set[str]] = {}
    filler = list(_documentation(rng))
    moment = datetime(2024, 2, 1, 9, tzinfo=UTC)
    for session in range(1, sessions + 1):
        project = rng.choice(_PROJECTS)
        moment += timedelta(days=rng.randint(2, 12), minutes=rng.randrange(600))
        for turn in range(1, rng.randint(4, 8)):
            fact, question = rng.choice(project.facts)
            said = fact.format_map(_slots(rng))
            name = f"D{session}:{2 * turn - 1}"
            told.setdefault(question, set()).add(name)
            own = [rng.choice(_ASIDES), _sentence(said), rng.choice(_ASIDES), *rng.sample(filler, rng.randint(0, 2))]
            reply = [
                rng.choice(_OPENINGS).format(about=project.about),
                f"You mentioned that {said}." if rng.random() < 0.5 else "",
                *rng.sample(project.advice, 3), *rng.sample(filler, rng.randint(2, 5)), rng.choice(project.advice),
            ]  # fmt: skip
            for place, (role, parts) in enumerate((("user", own), ("assistant", reply))):
                traces.append(
                    {
                        "external_id": f"D{session}:{2 * turn - 1 + place}",
                        "content": "\n\n".join(part for part in parts if part),
                        "speaker": role,
                        "role": role,
                        "conversation_id": f"session_{session}",
                        "occurred_at": (moment + timedelta(minutes=2 * turn + place)).isoformat(),
                    }
                )
            specific = f"{question[:-1]}, at the time of {moment:%B %Y}?" if rng.random() < 0.2 else question
            asked.append(Asking(specific, SINGLE_HOP, frozenset({name})))
    # A question that several turns answer is asked once, with all of them.
    once = {one.text: Asking(one.text, SINGLE_HOP, frozenset(told.get(one.text, one.evidence))) for one in asked}
    return Conversation(f"user-{number}", f"{MADE}sessions", traces, list(once.values()))


def _manuals(rng: random.Random, chunks: int, questions: int) -> Conversation:
    entries = list(_entries())
    chosen = rng.sample(entries, min(chunks, len(entries)))
    traces, asked = [], []
    for number, (name, content) in enumerate(chosen):
        traces.append({"external_id": str(number), "content": f"{name}\n{content}", "kind": "chunk"})
        what = _purpose(name, content)
        if what is not None:
            asked.append(Asking(rng.choice(_ASKING_FOR).format(what=what), SINGLE_HOP, frozenset({str(number)})))
    return Conversation("manuals", f"{MADE}manuals", traces, rng.sample(asked, min(questions, len(asked))))


def _entries() -> Iterator[tuple[str, str]]:
    """(name, docstring) of the functions and classes of the standard library, in a fixed order."""
    seen = set[str]()
    for module_name in _MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(name for name in vars(module) if not name.startswith("_")):
            found = getattr(module, name)
            content = inspect.getdoc(found) if inspect.isroutine(found) or inspect.isclass(found) else None
            if content is not None and len(content) >= _LEAST_CHARS and content not in seen:
                seen.add(content)
                yield f"{module_name}.{name}", content


def _purpose(name: str, content: str) -> str | None:
    """What an entry says that it does, in lower case and without its name; None where it does not say."""
    first = re.split(r"(?<=[.:])\s|\n\n", content, maxsplit=1)[0].replace("\n", " ").rstrip(".: ")
    words = first.split()
    if len(words) < _LEAST_WORDS or not words[0].isalpha() or name.rsplit(".", 1)[-1].lower() in first.lower():
        return None
    verb = words[0].lower()
    return " ".join([verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb, *words[1:]])


def _documentation(rng: random.Random) -> Iterator[str]:
    """Paragraphs to pad long turns with."""
    paragraphs = [part for _, content in _entries() for part in content.split("\n\n") if 200 < len(part) < 900]
    yield from rng.sample(paragraphs, min(400, len(paragraphs)))


def _slots(rng: random.Random) -> dict[str, str]:
    return {
        "person": rng.choice(_PEOPLE),
        "month": rng.choice(_MONTHS),
        "town": rng.choice(_TOWNS),
        "tool": rng.choice(_TOOLS),
        "number": str(rng.randint(2, 28)),
        "small": str(rng.randint(3, 11)),
        "amount": str(rng.randint(40, 900)),
    }


def _sentence(said: str) -> str:
    return f"{said[0].upper()}{said[1:]}."
