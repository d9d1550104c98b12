"""The lexical arm by itself: languages, phrases, odd questions, and what is found and left out of very large users."""

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.conftest import Api, Remember
from tests.memories.helpers import post, rows
from tests.waiting import PATIENCE

from reverie.auth.service import DEFAULT_SPACE, KeyService
from reverie.core import clock
from reverie.core.config import Settings
from reverie.core.database import Database
from reverie.core.ids import lower_bound, user_uuid
from reverie.core.kinds import KINDS, RECALLED_KINDS
from reverie.recall import lexical
from reverie.recall.types import Bounds, Found, Question, trace_of

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Asking:
    """Asks the arm itself."""

    database: Database
    space_id: UUID

    async def __call__(self, user: str, q: str, *, depth: int = 50, **bounds: Any) -> Found:
        kinds = [KINDS[kind] for kind in RECALLED_KINDS]
        given: dict[str, Any] = {"user_ids": [user_uuid(self.space_id, user)], "kinds": kinds, "heads": [0]} | bounds
        question = Question(q, "english", Bounds(**given), 10, clock.now())
        return await lexical.search(self.database, self.database, self.space_id, question, depth, 30.0)

    async def order(self, user: str, q: str, **more: Any) -> list[str]:
        """The ids, best first."""
        return [str(trace_of(key)) for key in (await self(user, q, **more)).scores]


@pytest.fixture(scope="module")
async def asking(api: Api) -> Asking:
    keys: KeyService = api.app.state.keys
    return Asking(api.app.state.database, await keys.ensure_space(DEFAULT_SPACE))


async def stored(remember: Remember, user: str, *texts: str, **common: Any) -> list[str]:
    """The ids of texts that were remembered without vectors."""
    return [one["trace_id"] for one in await remember(user, *texts, **{"salience": 0} | common)]


async def languages_of(settings: Settings, user: str) -> list[str]:
    ((languages,),) = await rows(settings, "SELECT languages FROM memory_user WHERE external_id = %s", (user,))
    return list(languages)


# Languages


async def test_a_question_is_read_in_the_language_of_the_traces(remember: Remember, asking: Asking, user: str) -> None:
    train, cat = await stored(remember, user, "Die Züge fahren auch nachts.", "Die Katzen schlafen.", language="de")
    assert await asking.order(user, "Welcher Zug fährt in der Nacht?") == [train]
    assert await asking.order(user, "Wo schläft die Katze?") == [cat]


async def test_of_several_languages_each_is_read(remember: Remember, asking: Asking, user: str) -> None:
    (german,) = await stored(remember, user, "Der Kater wohnt in Lüneburgs Gassen.", language="de")
    (french,) = await stored(remember, user, "Les chevaux couraient à Lüneburg.", language="fr")
    (english,) = await stored(remember, user, "Berries ripened in Lüneburg.")
    assert await asking.order(user, "Welche Gasse war das?") == [german]
    assert await asking.order(user, "le cheval qui courait") == [french]
    assert await asking.order(user, "a ripe berry") == [english]
    assert set(await asking.order(user, "Lüneburg")) >= {french, english}


async def test_small_words_of_the_question_are_no_rare_words_elsewhere(
    remember: Remember, asking: Asking, user: str
) -> None:
    (quote,) = await stored(remember, user, "„What is the name of this?“ steht auf dem Schild.", language="de")
    cat, *_ = await stored(remember, user, "The cat is called Miso.", "The dog sleeps.", "It rains.")
    assert await asking.order(user, "What is the cat called?") == [cat]
    assert await asking.order(user, "Was steht auf dem Schild?") == [quote]


async def test_a_word_in_several_languages_counts_once(remember: Remember, asking: Asking, user: str) -> None:
    ids = await stored(remember, user, "Walking tours", "Long walks", "Rain")
    before = await asking(user, "walking in the rain")
    await stored(remember, user, "Nebel", language="de")
    after = await asking(user, "walking in the rain")
    assert set(await asking.order(user, "walking in the rain")) == set(ids)
    # A further trace makes the words a little rarer; the reading of them in German adds no others.
    assert before.most < after.most < before.most * 1.5


async def test_the_languages_of_a_user_are_kept(
    remember: Remember, caller: httpx.AsyncClient, asking: Asking, user: str, settings: Settings
) -> None:
    ids = await stored(remember, user, "Die Katzen schlafen.", language="de")
    assert await languages_of(settings, user) == ["german"]
    await stored(remember, user, "The cats sleep.")
    assert await languages_of(settings, user) == ["english", "german"]
    patch = {"language": "nl", "content": "De katten slapen."}
    answer = await caller.patch(f"/memory/traces/{ids[0]}", params={"user_id": user}, json=patch)
    assert answer.status_code == 200
    assert await languages_of(settings, user) == ["dutch", "english", "german"]
    assert await asking.order(user, "een kat") == ids


async def test_a_language_that_nobody_named_is_told_from_the_text(
    remember: Remember, asking: Asking, user: str, settings: Settings
) -> None:
    train, sleep, unsure = await stored(
        remember, user, "Die Züge fahren auch nachts durch das Tal.", "The cats were asleep in the sun.", "Miso 7"
    )
    assert await languages_of(settings, user) == ["english", "german"]
    assert await asking.order(user, "Welcher Zug fährt nachts?") == [train]
    assert await asking.order(user, "Was the cat asleep?") == [sleep]
    assert await asking.order(user, "miso") == [unsure]


# Phrases and names


async def test_a_quoted_phrase_comes_first_and_the_rest_follows(remember: Remember, asking: Asking, user: str) -> None:
    scattered, phrase, other = await stored(
        remember,
        user,
        "Train after train, night after night: night and day the train leaves.",
        "We slept well on the way there, I remember, for the night train leaves late and arrives early, unlike others.",
        "The bus leaves at noon.",
    )
    assert (await asking.order(user, "when does the night train leave?"))[0] == scattered
    for marks in ('"{}"', "“{}”", "„{}“", "«{}»"):
        question = f"when does the {marks.format('night train')} leave?"
        assert await asking.order(user, question) == [phrase, scattered, other]
    found = await asking(user, 'when does the "night train" leave?')
    assert max(found.scores.values()) <= found.most


async def test_a_phrase_that_nobody_said_changes_nothing(remember: Remember, asking: Asking, user: str) -> None:
    await stored(remember, user, "The night train leaves late.", "The bus leaves at noon.")
    plain, marked = await asking(user, "the late night bus leaves"), await asking(user, 'the "late night" bus leaves')
    assert marked.scores == plain.scores
    assert marked.most == plain.most


@pytest.mark.parametrize("phrase", ["the", "to be or not to be", "🦊", " ", "'", "&|!", "a <-> b", "\\", ":*"])
async def test_a_phrase_without_words_changes_nothing(
    remember: Remember, asking: Asking, user: str, phrase: str
) -> None:
    await stored(remember, user, "The night train leaves late.", "The bus leaves at noon.")
    assert (await asking(user, f'leaves "{phrase}"')).scores == (await asking(user, "leaves")).scores


async def test_a_single_word_in_quotes_is_preferred_too(remember: Remember, asking: Asking, user: str) -> None:
    both, quoted = await stored(remember, user, "ferry ferry ferry boat", "A long text about a harbour and its boat.")
    assert (await asking.order(user, "ferry harbour"))[0] == both
    assert (await asking.order(user, 'ferry "harbour"'))[0] == quoted


async def test_a_name_of_several_words_helps_the_traces_that_hold_it(
    remember: Remember, asking: Asking, user: str
) -> None:
    split, name = await stored(
        remember, user, "William saw the fort.", "The path ends at Fort William, by the long loch."
    )
    assert (await asking.order(user, "how far is fort william?"))[0] == split
    assert await asking.order(user, "How far is Fort William?") == [name, split]


# Odd questions


ODD = [
    "the of and what is it",
    "😀🦊🎈",
    "!!! ... ---",
    "'; DROP TABLE memory_body; --",
    "fox & !(bear | wolf) <-> :*AB",
    '"unfinished',
    '"" "" \'\' «»',
    "猫はどこですか",
    "고양이는 어디에 있습니까",
    "где кот и что он ел вчера",
    "أين القطة",
    "\u0001\u0002 \u200f\ufeff",
    "fox\u0000"[:3],
    "x" * 100_000,
    "fox " * 25_000,
    '"fox" ' * 16_000,
    " ".join(f"w{n:x}" for n in range(17_000)),
]


@pytest.mark.parametrize("q", ODD, ids=[one[:20].encode("unicode_escape").decode() for one in ODD])
@pytest.mark.parametrize("cap", [lexical.CAP, 1], ids=["whole", "bounded"])
async def test_any_question_is_answered(
    remember: Remember, asking: Asking, user: str, q: str, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"A fox met bear {n}." for n in range(12)]
    ids = await stored(remember, user, *texts, "猫はどこですか", "Где был кот вчера?", "x" * 2000)
    await stored(remember, user, "Der Fuchs", language="de")
    monkeypatch.setattr(lexical, "CAP", cap)
    found = await asking.order(user, q)
    assert set(found) <= set(ids)
    assert bool(set(found) & set(ids[:12])) == ("fox" in q)


# Very large users


WORDS = [f"word{n}" for n in range(400)]


@dataclass(slots=True)
class Large:
    """A user whom a small bound makes large."""

    name: str
    ids: list[str]
    texts: list[list[str]]

    def question(self, chance: random.Random) -> str:
        words = chance.choice(self.texts)
        return " ".join(chance.sample(words, min(len(words), chance.randint(2, 5))))


SIZE, CAP = 600, 50


@pytest.fixture(scope="module")
async def large(remember: Remember) -> Large:
    chance = random.Random(11)  # noqa: S311
    weights = [1 / (n + 3) for n in range(len(WORDS))]
    texts = [chance.choices(WORDS, weights, k=chance.randint(4, 14)) for _ in range(SIZE)]
    name = f"large {uuid4().hex}"
    ids = []
    for start in range(0, SIZE, 200):
        with clock.as_of(datetime.now(UTC) - timedelta(hours=3 - start // 200)):
            ids += await stored(
                remember, name, *(" ".join(words) for words in texts[start : start + 200]), language="simple"
            )
    return Large(name, ids, texts)


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "CAP", CAP)


async def statistics(settings: Settings, user: str) -> tuple[int, int, int]:
    """(traces, counted, terms kept) of a user."""
    ((traces, counted, kept),) = await rows(
        settings, "SELECT traces, counted, cardinality(terms) FROM memory_user WHERE external_id = %s", (user,)
    )
    return traces, counted, kept


async def until_counted(asking: Asking, settings: Settings, user: str, question: str) -> None:
    """Asks until the terms of a user are counted as they are."""
    end = clock.now() + timedelta(seconds=PATIENCE)
    while (numbers := await statistics(settings, user))[0] != numbers[1]:
        assert clock.now() < end, numbers
        assert (await asking(user, question)).scores
        await asyncio.sleep(0.1)


async def test_of_a_large_user_the_best_are_found(
    asking: Asking, large: Large, settings: Settings, bounded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until_counted(asking, settings, large.name, "word0")
    chance = random.Random(5)  # noqa: S311
    shares = []
    for _ in range(40):
        question = large.question(chance)
        found = await asking(large.name, question, depth=40)
        monkeypatch.setattr(lexical, "CAP", SIZE)
        exact = await asking(large.name, question, depth=SIZE)
        monkeypatch.setattr(lexical, "CAP", CAP)
        # All that is not rare was counted, and the rest is: the scores are those of all traces.
        assert found.most == pytest.approx(exact.most, rel=1e-6)
        for key, score in found.scores.items():
            assert score == pytest.approx(exact.scores[key], rel=1e-5)
        assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
        best = list(exact.scores)[:10]
        shares.append(len(set(best) & set(list(found.scores)[:10])) / len(best))
    assert sum(shares) / len(shares) > 0.95


async def test_terms_are_counted_when_a_large_user_is_asked_and_again_when_it_has_grown(
    asking: Asking, remember: Remember, settings: Settings, user: str, bounded: None
) -> None:
    texts = [f"heron {'ibis' if n % 3 else 'stork'} n{n}" for n in range(501)]
    ids = await stored(remember, user, *texts)
    assert (await statistics(settings, user))[1:] == (0, 0)
    assert len(await asking.order(user, "heron stork", depth=600)) >= 100
    await until_counted(asking, settings, user, "heron")
    ((counts,),) = await rows(
        settings,
        "SELECT array_agg(u.term_traces[array_position(u.terms, reverie_term_key(w))] ORDER BY w) FROM memory_user u,"
        " unnest(ARRAY['heron', 'ibi', 'n7', 'stork']) w WHERE u.external_id = %s",
        (user,),
    )
    assert counts == [501, 334, None, 167]
    assert set((await asking.order(user, "stork n9 n42", depth=5))[:2]) == {ids[9], ids[42]}
    await stored(remember, user, *(f"crane {n}" for n in range(200)))
    assert (await statistics(settings, user))[:2] == (701, 501)
    await until_counted(asking, settings, user, "heron")


async def test_large_users_are_counted_before_anybody_asks(
    asking: Asking, remember: Remember, settings: Settings, user: str, bounded: None
) -> None:
    await stored(remember, user, *(f"heron n{n}" for n in range(501)))
    await lexical.count_due(asking.database)
    assert (await statistics(settings, user))[:2] == (501, 501)


async def test_small_users_are_not_counted(asking: Asking, remember: Remember, settings: Settings, user: str) -> None:
    await stored(remember, user, "heron")
    await asking(user, "heron")
    await lexical.count_terms(asking.database, asking.space_id, user_uuid(asking.space_id, user))
    await lexical.count_due(asking.database)
    assert await statistics(settings, user) == (1, 0, 0)


async def test_terms_are_counted_within_the_space(asking: Asking, large: Large, settings: Settings) -> None:
    before = await rows(settings, "SELECT counted FROM memory_user WHERE external_id = %s", (large.name,))
    await lexical.count_terms(asking.database, uuid4(), user_uuid(asking.space_id, large.name))
    assert await rows(settings, "SELECT counted FROM memory_user WHERE external_id = %s", (large.name,)) == before


async def test_a_large_user_of_another_space_is_not_found(asking: Asking, large: Large, bounded: None) -> None:
    stranger = Asking(asking.database, uuid4())
    user_id = user_uuid(asking.space_id, large.name)
    assert (await asking(large.name, "word0 word5")).scores
    assert (await stranger(large.name, "word0 word5", user_ids=[user_id])).scores == {}


async def test_filters_hold_within_the_bound(
    asking: Asking, remember: Remember, large: Large, settings: Settings, bounded: None
) -> None:
    """What few traces pass is found though common words of others would fill the bound many times."""
    happened = datetime(2020, 5, 1, tzinfo=UTC)
    (old,) = await stored(
        remember, large.name, "word0 word1 word2", language="simple", occurred_at=happened.isoformat()
    )
    (fact,) = await stored(remember, large.name, "word0 word1 word3", language="simple", kind="fact")
    chosen = [large.ids[n] for n in range(0, SIZE, 60)]
    cases: Iterable[tuple[dict[str, Any], set[str]]] = [
        ({"since": happened, "until": happened + timedelta(days=1)}, {old}),
        ({"until": happened + timedelta(days=1)}, {old}),
        ({"until": happened}, set()),
        ({"kinds": [KINDS["fact"]]}, {fact}),
        ({"kinds": [KINDS["fact"]], "since": happened}, {fact}),
        ({"kinds": [KINDS["summary"]]}, set()),
        ({"only": frozenset(map(UUID, chosen))}, set(chosen)),
        ({"only": frozenset(map(UUID, chosen)), "kinds": [KINDS["fact"]]}, set()),
        ({"only": frozenset()}, set()),
        ({"before": lower_bound(datetime.now(UTC) - timedelta(hours=2.5))}, set(large.ids[:200])),
    ]
    for bounds, allowed in cases:
        found = await asking.order(large.name, "word0 word1", **bounds)
        assert set(found) <= allowed, bounds
        assert bool(found) == bool(allowed), bounds
    within = set(await asking.order(large.name, "word0", only=frozenset(map(UUID, chosen))))
    assert within == {one for one in chosen if "word0" in large.texts[large.ids.index(one)]}


async def test_a_phrase_is_found_beyond_the_bound(
    asking: Asking, remember: Remember, large: Large, bounded: None
) -> None:
    (phrase,) = await stored(remember, large.name, "word1 word2 word0 unheard", language="simple")
    assert (await asking.order(large.name, 'word0 word1 "word2 word0 unheard"'))[0] == phrase


async def test_large_and_small_users_are_asked_together(
    asking: Asking, remember: Remember, large: Large, user: str, bounded: None
) -> None:
    (mine,) = await stored(remember, user, "word0 only here", language="simple")
    both = [user_uuid(asking.space_id, one) for one in (large.name, user)]
    found = await asking.order(user, "word0 here", user_ids=both)
    assert found[0] == mine
    assert set(found[1:]) <= set(large.ids)
    assert len(found) > 10


async def test_a_long_question_to_a_large_user(asking: Asking, large: Large, bounded: None) -> None:
    found = await asking.order(large.name, " ".join(WORDS), depth=10)
    assert len(found) == 10


async def test_scores_of_the_service_stay_within_one(caller: httpx.AsyncClient, remember: Remember, user: str) -> None:
    await post(caller, user, "The night train leaves late.", "Night falls.")
    answer = await caller.post(
        "/memory/recall", json={"user_id": user, "q": '"night train" to Fort William', "recipe": "lexical"}
    )
    scores = [one["score"] for one in answer.json()["results"]]
    assert len(scores) == 2
    assert 0 < scores[1] < scores[0] < 1
