"""The generator: the same seed gives the same text, of the size and spread of long chats."""

from itertools import islice
from statistics import fmean, quantiles

import pytest
from bench.text import FEWEST_TURNS, FEWEST_WORDS, MOST_TURNS, MOST_WORDS, conversation, sentences


def test_same_seed_gives_the_same_conversation() -> None:
    assert conversation(7) == conversation(7)


def test_other_seed_gives_another_conversation() -> None:
    one, other = ({turn.content for turn in conversation(seed).turns} for seed in (7, 8))

    assert len(one & other) < len(one) / 100


def test_what_was_measured_once_is_what_is_measured_again() -> None:
    """A change of the generator makes numbers incomparable with those taken before: then this text changes too."""
    turn = conversation(0).turns[0]

    assert turn.content == (
        "Ha, I can picture that. I met Jonas at the street concert this morning, and we talked about fencing."
    )
    assert turn.occurred_at.isoformat() == "2024-09-22T18:10:41+00:00"


@pytest.mark.parametrize("seed", range(6))
def test_conversation_has_the_size_of_a_long_chat(seed: int) -> None:
    talk = conversation(seed)

    assert FEWEST_TURNS <= len(talk.turns) <= MOST_TURNS
    assert {turn.speaker for turn in talk.turns} == set(talk.speakers)
    assert 12 <= len({turn.session for turn in talk.turns}) <= 60
    assert (talk.turns[-1].occurred_at - talk.turns[0].occurred_at).days > 90


@pytest.mark.parametrize("seed", range(6))
def test_lengths_of_turns_spread_as_in_talk(seed: int) -> None:
    words = [len(turn.content.split()) for turn in conversation(seed).turns]
    tenth, *_, ninetieth = quantiles(words, n=10)

    assert min(words) >= FEWEST_WORDS
    assert max(words) <= MOST_WORDS
    assert 23 <= fmean(words) <= 28
    assert tenth <= 20
    assert ninetieth >= 35


def test_time_goes_on_from_turn_to_turn() -> None:
    moments = [turn.occurred_at for turn in conversation(3).turns]

    assert moments == sorted(set(moments))


def test_ids_of_turns_are_unique() -> None:
    turns = conversation(3).turns

    assert len({turn.external_id for turn in turns}) == len(turns)


def test_no_question_is_asked_twice() -> None:
    questions = conversation(3, questions=300).questions

    assert len({question.text for question in questions}) == len(questions) == 300


def test_a_question_is_about_the_turn_that_answers_it() -> None:
    talk = conversation(3)
    said = {turn.external_id: f"{turn.speaker}: {turn.content}" for turn in talk.turns}

    for question in talk.questions:
        names = [word.strip("?,'s") for word in question.text.split()[1:] if word[0].isupper()]
        assert any(name in said[question.evidence] for name in names), question


def test_a_short_conversation_has_as_many_turns_as_were_asked_for() -> None:
    talk = conversation(3, turns=20, questions=1000)

    assert len(talk.turns) == 20
    assert 20 <= len(talk.questions) <= 40


def test_sentences_are_the_same_for_the_same_seed() -> None:
    first, again, other = (list(islice(sentences(seed), 50)) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert all(sentence[0].isupper() for sentence in first if sentence[0].isalpha())
