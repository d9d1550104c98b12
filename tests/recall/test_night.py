"""What summaries say of candidates: of which of them, how much, and when nothing at all."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from tests.recall.test_ranking import arm, pooled, row

from reverie.core.config import load_settings
from reverie.embedding.codes import pack, quantise, signs_of
from reverie.memories.model import Model
from reverie.recall.features import NIGHT_NAMES, Asked
from reverie.recall.night import FEWEST, NAMES, Night, Told, best_by_nights, read, tell
from reverie.recall.ranker import OF_THE_NIGHT, Ranker, load_rankers
from reverie.recall.ranking import Ranking, shortlist
from reverie.recall.strengths import Sheet, Strengths, nights_of, told
from reverie.recall.types import Candidate, key_of

DIM = 8
MODEL = Model(1, "m", DIM, "fp16")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
USER, OTHER = UUID(int=7), UUID(int=8)
VECTOR = np.eye(DIM, dtype=np.float32)[0]


class Summary(NamedTuple):
    """Of a conversation whose last turn was at ``end``; ``like`` how like the question it is."""

    talk: str | None
    end: datetime
    like: float = 0.0
    words: Sequence[int] = ()
    made: float = 0.0
    quoted: Sequence[int] = ()


def packed(summaries: Sequence[Summary]) -> list[Any]:
    """As the query brings them."""
    hot, words, quoted = b"", b"", b""
    for n, one in enumerate(summaries):
        numbers = np.zeros(DIM)
        numbers[:2] = one.like, np.sqrt(1 - one.like**2)
        hot += struct.pack(">ihh", n, DIM, 0) + numbers.astype(">f2").tobytes()
        words += b"".join(struct.pack(">iq", n, word) for word in one.words)
        quoted += b"".join(UUID(int=trace).bytes + struct.pack(">d", one.made) for trace in one.quoted)
    made = b"".join(struct.pack(">d", one.made) for one in summaries)
    return [
        [one.talk for one in summaries],
        [one.end for one in summaries],
        made,
        hot,
        None,
        words or None,
        quoted or None,
    ]


def night(*summaries: Summary) -> Night:
    return read(packed(summaries), MODEL)


def days(count: int = FEWEST, **of_the_first: Any) -> Night:
    """A conversation a day, named by its number."""
    several = [Summary(str(n), NOON + n * DAY) for n in range(count)]
    return night(several[0]._replace(**of_the_first), *several[1:])


def terms(*words: int) -> bytes:
    return struct.pack(f">{len(words)}q", *words)


def turn(n: int, talk: str | None, moment: datetime, user: UUID = USER, **more: Any) -> Candidate:
    return row(n, key=key_of(user, UUID(int=n)), conversation=talk, happened_at=moment, **more)


def said(told: Told | None, *rows: Candidate) -> dict[str, list[float]]:
    assert told is not None
    matrix = told.matrix(rows, np.array([one.role == "assistant" for one in rows]))
    assert matrix is not None
    return {name: matrix[:, n].tolist() for n, name in enumerate(NAMES)}


def test_a_summary_tells_of_the_traces_of_its_conversation_and_day() -> None:
    made = days(like=0.9)
    assert made.place("0", NOON) == 0
    assert made.place("0", NOON - 23 * DAY / 24) == 0
    assert made.place("0", NOON + DAY / 24) == -1
    assert made.place("0", NOON - 2 * DAY) == -1
    assert made.place("1", NOON) == 1
    assert made.place("none", NOON) == -1
    assert made.place(None, NOON) == -1


def test_a_conversation_of_several_days_has_a_summary_of_each() -> None:
    made = night(Summary("c", NOON + DAY), Summary("c", NOON), Summary(None, NOON))
    assert [made.place("c", NOON + n * DAY / 4) for n in range(6)] == [1, 0, 0, 0, 0, -1]
    assert made.place(None, NOON) == 2


def test_what_is_like_the_question_stands_above_the_rest() -> None:
    made = days(like=0.9, words=[1, 2], quoted=[1])
    found = said(tell({USER.bytes: made}, VECTOR, terms(1, 2, 3)), turn(1, "0", NOON), turn(2, "1", NOON + DAY))
    for name in ("summarised", "talk", "talk_z", "talk_words", "talk_words_z", "talk_rank"):
        assert found[name][0] > found[name][1], name
    assert found["talk_rank"][0] == 1
    assert found["summarised"] == [1, 0]
    # A word that no summary has is the rarest of all.
    assert 0.3 < found["talk_words"][0] < 1
    assert found["importance"] == [0, 0]


def test_of_what_is_not_told_of_it_is_as_of_the_others_in_the_mean() -> None:
    made = days(like=0.9, quoted=[1])
    rows = (turn(1, "0", NOON), turn(2, "1", NOON + DAY), turn(3, "today", NOON + 30 * DAY, salience=0.9))
    found = said(tell({USER.bytes: made}, VECTOR, b""), *rows)
    assert found["summarised"] == [1, 0, 0.5]
    assert found["talk"][2] == pytest.approx((found["talk"][0] + found["talk"][1]) / 2)
    assert found["importance"] == [0, 0, 0]


def test_how_much_a_trace_matters_is_told_among_those_that_retell_as_it_does() -> None:
    one, two, three, four = (turn(n, "0", NOON) for n in range(4))
    rows = (
        one._replace(salience=0.9),
        two._replace(salience=0.5),
        three._replace(salience=0.1, role="assistant"),
        four._replace(salience=0.1, role="assistant"),
    )
    found = said(tell({USER.bytes: days()}, VECTOR, b""), *rows)["importance"]
    assert found[0] > 0 > found[1]
    assert found[2:] == [0, 0]


def test_few_summaries_say_nothing() -> None:
    assert tell({USER.bytes: days(FEWEST - 1)}, VECTOR, b"") is None
    assert tell({}, VECTOR, b"") is None
    half = night(*(Summary(str(n), NOON) for n in range(FEWEST // 2)))
    assert tell({USER.bytes: half, OTHER.bytes: half}, VECTOR, b"") is not None


def test_of_many_that_nobody_has_summarised_nothing_is_said() -> None:
    answer = tell({USER.bytes: days()}, VECTOR, b"")
    assert answer is not None
    rows = [turn(1, "0", NOON), turn(2, "today", NOON + 30 * DAY), turn(3, "today", NOON + 30 * DAY)]
    assert answer.matrix(rows, np.zeros(3, dtype=np.bool_)) is None
    assert answer.matrix(rows[:2], np.zeros(2, dtype=np.bool_)) is not None
    assert answer.matrix([], np.zeros(0, dtype=np.bool_)) is None


def test_each_user_has_summaries_of_their_own() -> None:
    ann, ben = days(like=0.9), days(like=0.1)
    both = tell({USER.bytes: ann, OTHER.bytes: ben}, VECTOR, b"")
    found = said(both, turn(1, "0", NOON), turn(2, "0", NOON, OTHER), turn(3, "1", NOON + DAY, OTHER))
    assert found["talk_rank"][0] == 1
    assert found["talk"][0] > found["talk"][1] > found["talk"][2]
    of_ann = tell({USER.bytes: ann}, VECTOR, b"")
    assert of_ann is not None
    assert of_ann.matrix([turn(2, "0", NOON, OTHER)], np.zeros(1, dtype=np.bool_)) is None


def test_as_of_a_moment_what_was_made_later_was_not_there() -> None:
    several = [Summary(str(n), NOON + n * DAY, made=float(n), quoted=[n], words=[n], like=n / 20) for n in range(10)]
    then = night(*several).as_of(9.0)
    assert len(then.made) == 9
    assert [then.place(str(n), NOON + n * DAY) for n in (0, 8, 9)] == [0, 8, -1]
    assert (then.having(8).tolist(), then.having(9).tolist()) == ([8], [])
    assert UUID(int=8).bytes in then.quoted
    assert UUID(int=9).bytes not in then.quoted
    fewer = night(*reversed(several)).as_of(9.0)
    assert fewer.place("0", NOON) == 8
    assert fewer.likeness(VECTOR)[8] == pytest.approx(0, abs=1e-3)


def test_as_of_a_moment_before_the_nights_nothing_is_said() -> None:
    sheets = {USER.bytes: Sheet(night=days(made=0.0).as_of(1.0))}
    arms = {"semantic": arm("semantic", {1: 0.5}), "lexical": arm("lexical", {})}
    assert told(nights_of(sheets, None), arms) is None
    arms["semantic"] = arms["semantic"].__class__("semantic", vector=VECTOR)
    assert told(nights_of(sheets, None), arms) is not None
    assert told(nights_of(sheets, datetime(1970, 1, 1, tzinfo=UTC)), arms) is None
    assert told(nights_of({USER.bytes: Sheet()}, None), arms) is None


def test_warm_vectors_are_decoded() -> None:
    vectors = np.random.default_rng(0).standard_normal((3, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    signs = signs_of(vectors)
    codes = pack(quantise(vectors), signs)
    row = packed([Summary(str(n), NOON) for n in range(3)])
    hot = 4 + 4 + 2 * DIM
    row[3] = row[3][:hot]
    row[4] = b"".join(
        struct.pack(">i16xhi", n, 0, 0) + codes[n].tobytes() + struct.pack(">i", DIM) + signs[n].tobytes()
        for n in (1, 2)
    )
    found = read(row, MODEL).likeness(vectors[2])
    assert found[2] == pytest.approx(1, abs=0.05)
    assert found[1] == pytest.approx(float(vectors[1] @ vectors[2]), abs=0.05)


# The ranking


class Fixed(Ranker):
    """Says one number of everyone, and notes what it was told."""

    def __init__(self, names: tuple[str, ...], score: float):
        self.names = names
        self.score = score
        self.seen: list[Any] = []

    def scores(self, rows: Any) -> Any:
        self.seen.append(rows)
        return np.full(len(rows), self.score)


def test_who_has_no_night_is_ranked_as_ever() -> None:
    rankers = load_rankers(load_settings())
    assert f"balanced{OF_THE_NIGHT}" in rankers
    rows = tuple(turn(n, "0", NOON) for n in range(1, 30))
    found = pooled(*rows, semantic={n: 0.3 + n / 100 for n in range(1, 30)}, lexical={29: 12.0, 3: 2.0})
    asked, strengths = Asked.read("Where is the night train?"), Strengths({}, 0.0)
    plain = {name: one for name, one in rankers.items() if not name.endswith(OF_THE_NIGHT)}
    before = Ranking(asked, found, 29, 29, plain, strengths).ordered
    assert Ranking(asked, found, 29, 29, rankers, strengths).ordered == before
    nobody = tell({OTHER.bytes: days()}, VECTOR, b"")
    assert Ranking(asked, found, 29, 29, rankers, strengths, told=nobody).ordered == before
    dreamt = tell({USER.bytes: days(like=0.9)}, VECTOR, b"")
    assert Ranking(asked, found, 29, 29, plain, strengths, told=dreamt).ordered == before
    assert Ranking(asked, found, 29, 29, rankers, strengths, told=dreamt).ordered != before


def test_candidates_are_chosen_by_what_nights_say_too() -> None:
    first = np.array([0.9, 0.8, 0.1, 0.2, 0.3])
    silent = np.zeros((5, len(NAMES)), dtype=np.float32)
    assert best_by_nights(first, silent, 3).tolist() == [0, 1, 4]
    said = silent.copy()
    said[2] = 9
    # In the order of the arms: the ranker weighs them, whatever that is.
    assert best_by_nights(first, said, 3).tolist() == [0, 1, 2]
    assert best_by_nights(first, said, 9).tolist() == [0, 1, 4, 3, 2]


def test_of_whom_nights_tell_more_is_weighed() -> None:
    rows = tuple(turn(n, str(n % FEWEST), NOON + n % FEWEST * DAY) for n in range(1, 30))
    found = pooled(*rows, semantic={n: 0.3 + n / 100 for n in range(1, 30)}, lexical={})
    dreamt = tell({USER.bytes: days(like=0.9)}, VECTOR, b"")
    places, said = shortlist(found, 10, dreamt, 20)
    assert len(places) == 20
    assert said is not None
    assert said.shape == (20, len(NAMES))
    nobody = tell({OTHER.bytes: days()}, VECTOR, b"")
    for silent in (nobody, None):
        places, said = shortlist(found, 10, silent, 20)
        assert (len(places), said) == (10, None)


def test_a_ranker_of_the_night_is_told_what_the_others_are_and_more() -> None:
    rows = tuple(turn(n, str(n % FEWEST), NOON + n % FEWEST * DAY) for n in range(1, 30))
    found = pooled(*rows, semantic={n: 0.3 + n / 100 for n in range(1, 30)}, lexical={})
    dreamt = tell({USER.bytes: days(like=0.9)}, VECTOR, b"")
    assert dreamt is not None
    rankers = {"balanced": Fixed((), 0.1), f"balanced{OF_THE_NIGHT}": Fixed((), 0.9), "thorough": Fixed((), 0.2)}
    ranking = Ranking(Asked.read("?"), found, 29, 29, rankers, Strengths({}, 0.0), told=dreamt)
    assert {round(one.score, 6) for one in ranking.ordered} == {0.9}
    [seen] = rankers[f"balanced{OF_THE_NIGHT}"].seen
    assert seen.shape == (29, len(NIGHT_NAMES))
    _, wanted = shortlist(found, 29, dreamt, 29)
    assert wanted is not None
    assert seen[:, -len(NAMES) :].tolist() == wanted.tolist()
    # Without a ranker of its own the reranked ones are weighed by the other.
    again = ranking.reranked({one.key: 0.5 for one in ranking.ordered[:5]})
    assert rankers["thorough"].seen[0].shape == (5, len(NIGHT_NAMES) - len(NAMES) + 4)
    assert len(again) == 29
    # Both have a say, and what the second changes is the reranker's share.
    assert [round(one.score, 6) for one in again[:5]] == [round((0.9 * 0.2) ** 0.5, 6)] * 5
    for one in again:
        assert sum(one.shares.values()) == pytest.approx(one.score)
    assert all(one.shares["rerank"] == pytest.approx((0.9 * 0.2) ** 0.5 - 0.9) for one in again[:5])
