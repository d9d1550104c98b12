"""Conversations of two people, made by program: the same seed gives the same text on every machine.

They have the size and the texture of long chats between friends: some 400 to 700 turns in sessions over months, turns
of 15 to 45 words, names, places, hobbies, numbers, and questions about what was said.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

FEWEST_TURNS: Final = 400
MOST_TURNS: Final = 700
"""The size of a conversation, where none is asked for."""

FEWEST_WORDS: Final = 15
MOST_WORDS: Final = 45
"""The length of a turn."""

_TYPICAL_WORDS: Final = 20.0
_WORDS_SPREAD: Final = 0.35
"""Median and sigma of the log-normal that a turn's length is drawn from, before its last sentence is completed."""

_NAMES: Final = (
    "Agnes", "Bruno", "Celia", "Dmitri", "Edda", "Farouk", "Greta", "Hamid", "Ines", "Jonas", "Katya", "Leopold",
    "Mirela", "Nuno", "Odile", "Piotr", "Quentin", "Rosalind", "Stellan", "Tamsin", "Ulrike", "Viggo", "Wanda", "Yusuf",
)  # fmt: skip
_RELATIONS: Final = (
    "my sister", "my brother", "my cousin", "my neighbour", "my old flatmate", "a colleague", "my aunt", "my godson",
    "my running partner", "the new trainee", "my landlady", "my best friend from school", "my father-in-law",
)  # fmt: skip
_PLACES: Final = (
    "Trondheim", "Ghent", "the harbour", "Lisbon", "the community centre", "the old mill", "Kraków", "the lake house",
    "Valparaíso", "the botanical garden", "the night market", "Bristol", "the mountain hut", "Tbilisi", "the library",
    "Lake Bled", "the allotment", "Galway", "the railway museum", "Oaxaca", "the town hall", "Naples", "the quarry",
)  # fmt: skip
_OBJECTS: Final = (
    "a secondhand cello", "a folding bike", "a box of tulip bulbs", "a sourdough starter", "a film camera",
    "an enamel teapot", "a pair of climbing shoes", "a weaving loom", "a leaky kayak", "a set of watercolours",
    "a hand-drawn map", "a telescope", "a wool coat", "a bread oven", "three rescue hens", "a puppy called Biscuit",
    "a record player", "a sewing machine", "a greenhouse heater", "a chess clock", "a beehive", "a pottery wheel",
)  # fmt: skip
_HOBBIES: Final = (
    "pottery", "bouldering", "birdwatching", "choir practice", "beekeeping", "life drawing", "open-water swimming",
    "woodcarving", "salsa", "astronomy", "bookbinding", "orienteering", "baking", "fencing", "letterpress printing",
    "improv theatre", "mushroom hunting", "crochet", "chess", "sailing", "volunteering at the shelter", "gardening",
)  # fmt: skip
_EVENTS: Final = (
    "the autumn fair", "a half marathon", "the street concert", "a poetry evening", "the school reunion",
    "a cooking course", "the village wedding", "a charity auction", "the science festival", "a job interview",
    "the housewarming", "a first-aid training", "the film premiere", "a board-game weekend", "the kite festival",
)  # fmt: skip
_DISHES: Final = (
    "mushroom risotto", "plum dumplings", "fish tacos", "lentil soup", "a walnut cake", "pickled herring",
    "saffron buns", "a goat's cheese tart", "peanut noodles", "rhubarb crumble", "a huge paella", "beetroot salad",
)  # fmt: skip
_MONTHS_AGO: Final = ("last week", "on Saturday", "two days ago", "last month", "yesterday evening", "this morning")
_OPENERS: Final = (
    "Oh, that sounds wonderful!", "Hey {listener}, good to hear from you again!", "Ha, I can picture that.",
    "Thanks for asking, {listener}!", "Honestly, it has been a strange few days.", "You will not believe this.",
    "Right, I keep meaning to tell you.", "That makes two of us, I think.",
    "Wow, {listener}, I did not expect that at all.",
    "Sorry for the late answer, work has been eating all my evenings.", "Yes, exactly!",
    "Hm, I am not so sure about it.",
)  # fmt: skip
_FEELINGS: Final = (
    "I was nervous at first, but it went far better than I had feared.",
    "It reminded me how much I had missed having something of my own.",
    "Still, I cannot stop smiling when I think of it.",
    "We laughed so hard that the people next to us started laughing too.",
    "It was exhausting, to be fair, and my back still hurts.",
    "I suppose that is what getting older feels like.",
    "Money is tight at the moment, so I have to plan it properly.",
    "The weather did what it wanted, of course.",
    "I took far too many pictures and will send you the best ones.",
    "For once everything worked out the way I had hoped.",
    "Part of me wants to do it all over again next year.",
    "It rained the whole time and nobody cared.",
)
_ASIDES: Final = (
    "How about you?", "What do you think?", "Have you ever tried {hobby}?", "Did you get any further with {hobby}?",
    "You should come along next time, {listener}.", "Do you still see {person} these days?",
    "Remind me, when are you off to {place}?", "Anyway, enough of me.", "Let me know if you want the address.",
    "I would love to hear your side of it.", "Tell me everything about {event}!",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kind:
    """A sort of fact: how it is told by its speaker, and how it is asked for."""

    told: str
    asked: tuple[str, ...]


_FACTS: Final = (
    _Kind(
        "I went to {event} in {place} with {person} {when}, and there must have been {number} people there.",
        ("Who went to {event} with {speaker}?", "How many people were at {event} in {place}, according to {speaker}?"),
    ),
    _Kind(
        "{Relation} {person} gave me {object} {when}, because I had helped with the move to {place}.",
        ("Who gave {speaker} {object}?", "Why did {person} give {speaker} {object} after the move to {place}?"),
    ),
    _Kind(
        "I signed up for {hobby} at {place}; it costs {number} euros a month and {person} teaches it.",
        ("How much does {speaker} pay for {hobby} at {place}?", "Who teaches {hobby} where {speaker} goes?"),
    ),
    _Kind(
        "I cooked {dish} for {number} guests {when} and {person} asked for the recipe twice.",
        ("What did {speaker} cook for {number} guests?", "When did {person} ask {speaker} for the recipe of {dish}?"),
    ),
    _Kind(
        "I finally bought {object} for {number} euros from a man in {place}, after {person} had talked me into it.",
        ("What did {speaker} pay for {object}?", "Where did {speaker} buy {object} when {person} insisted?"),
    ),
    _Kind(
        "{person} and I drove {number} kilometres to {place} {when}, only to find that {event} had been moved.",
        ("Where did {speaker} and {person} drive in vain?", "How far did {speaker} drive with {person} to {place}?"),
    ),
    _Kind(
        "after {number} weeks of {hobby} I can say that {person} from {place} was right about it.",
        ("How long has {speaker} been doing {hobby} with {person}?", "What was {person} from {place} right about?"),
    ),
    _Kind(
        "I met {person} at {event} {when}, and we talked about {hobby}.",
        ("What did {speaker} and {person} talk about at {event}?", "Whom did {speaker} meet at {event}?"),
    ),
    _Kind(
        "I am off to {place} for {number} days with {object}.",
        ("How long will {speaker} be in {place}?", "What does {speaker} take to {place}?"),
    ),
    _Kind(
        "{person} makes {dish} every Sunday since we started {hobby} together.",
        ("Who makes {dish} for {speaker} on Sundays?", "With whom does {speaker} go to {hobby}?"),
    ),
    _Kind(
        "{relation} {person} starts a new job in {place} in {number} days and has left {object} with me.",
        ("What did {person} leave with {speaker}?", "When does {person} start the new job in {place}?"),
    ),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of the two said."""

    external_id: str
    session: str
    speaker: str
    content: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the turn that answers it (its ``external_id``)."""

    text: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation over months; no question stands in it twice."""

    speakers: tuple[str, str]
    turns: list[Turn]
    questions: list[Question]


def conversation(seed: int, turns: int | None = None, questions: int = 200) -> Conversation:
    """A conversation that ``seed`` decides.

    Args:
        seed: another seed is another conversation.
        turns: how many; by default between FEWEST_TURNS and MOST_TURNS.
        questions: how many at most; a short conversation has no more than two for each turn.
    """
    rng = random.Random(f"conversation {seed}")
    first, second = rng.sample(_NAMES, 2)
    speakers = (first, second)
    count = turns if turns is not None else rng.randint(FEWEST_TURNS, MOST_TURNS)
    made: list[Turn] = []
    asked: dict[str, Question] = {}
    for position, (session, number, moment) in enumerate(_moments(rng, count)):
        speaker, listener = speakers if position % 2 == 0 else speakers[::-1]
        slots = _slots(rng, speaker, listener)
        fact = rng.choice(_FACTS)
        turn = Turn(f"D{session}:{number}", f"session_{session}", speaker, _turn(rng, fact, slots), moment)
        made.append(turn)
        for template in fact.asked:
            text = template.format_map(slots)
            asked.setdefault(text, Question(text, turn.external_id))
    chosen = rng.sample(list(asked.values()), min(questions, len(asked)))
    return Conversation(speakers, made, chosen)


def sentences(seed: int) -> Iterator[str]:
    """Single facts, one after another without end."""
    rng = random.Random(f"sentences {seed}")
    while True:
        speaker, listener = rng.sample(_NAMES, 2)
        yield _sentence(rng.choice(_FACTS).told.format_map(_slots(rng, speaker, listener)))


def _moments(rng: random.Random, count: int) -> Iterator[tuple[int, int, datetime]]:
    """(session, number within it, time) of each turn: sessions of 12 to 34 turns, 2 to 16 days apart."""
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=rng.randrange(300), minutes=rng.randrange(480, 1320))
    session, number, length = 0, 0, 0
    for _ in range(count):
        if number == length:
            session, number, length = session + 1, 0, rng.randint(12, 34)
            moment += timedelta(days=rng.randint(2, 16), minutes=rng.randrange(-240, 240))
        number += 1
        moment += timedelta(seconds=rng.randint(20, 240))
        yield session, number, moment


def _slots(rng: random.Random, speaker: str, listener: str) -> dict[str, str]:
    relation = rng.choice(_RELATIONS)
    return {
        "speaker": speaker,
        "listener": listener,
        "person": rng.choice([name for name in _NAMES if name not in (speaker, listener)]),
        "relation": relation,
        "Relation": _sentence(relation),
        "place": rng.choice(_PLACES),
        "object": rng.choice(_OBJECTS),
        "hobby": rng.choice(_HOBBIES),
        "event": rng.choice(_EVENTS),
        "dish": rng.choice(_DISHES),
        "when": rng.choice(_MONTHS_AGO),
        "number": str(rng.randint(3, 480)),
    }


def _turn(rng: random.Random, fact: _Kind, slots: dict[str, str]) -> str:
    """The fact among small talk: as many sentences as it takes to reach the length drawn, in a natural order."""
    wanted = min(max(rng.lognormvariate(0, _WORDS_SPREAD) * _TYPICAL_WORDS, FEWEST_WORDS), MOST_WORDS)
    parts = [_sentence(fact.told.format_map(slots))]
    for place, pool in zip((0, 2, 2, 3), (_OPENERS, _FEELINGS, _ASIDES, _FEELINGS), strict=True):
        if _words(parts) >= wanted:
            break
        part = rng.choice(pool).format_map(slots)
        if part not in parts and _words(parts) + _words([part]) <= MOST_WORDS:
            parts.insert(place, part)
    return " ".join(parts)


def _words(parts: Sequence[str]) -> int:
    return sum(len(part.split()) for part in parts)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
