"""What a text tells of how much it is worth keeping: whole days, in the order in which they are weighed."""

from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.text.salience import NEUTRAL, USUAL, Features, Said, estimate, features, weigh

TALK = [
    ("Ada", "Hey Ben! How have you been?"),
    ("Ben", "Pretty good, thanks! And you?"),
    ("Ada", "I moved to Trondheim on 3 May with my sister Clara, who found a flat near the harbour."),
    ("Ben", "Wow, that's amazing!"),
    ("Ada", "Thanks, that means a lot."),
    ("Ben", "What do you do there all day?"),
    ("Ada", "I repair violins in a workshop, and we rehearse a quartet every Thursday evening."),
    ("Ben", "Sounds lovely. Keep it up!"),
]


def said(*turns: tuple[str, str], role: str = "user", language: str = "english") -> list[Said]:
    return [Said(text, language, role, speaker) for speaker, text in turns]


def alone(text: str, **more: str) -> float:
    """The salience of a text that is said by itself."""
    [[number]] = weigh([[Said(text, **more)]])
    return number


def told(text: str, before: Sequence[Said] = (), **more: str) -> Features:
    [[found]] = features([[Said(text, **more)]], before)
    return found


def test_what_somebody_states_of_their_life_is_above_what_is_said_to_be_nice() -> None:
    [numbers] = weigh([said(*TALK)])
    assert all(0 <= number <= 1 for number in numbers)
    facts, rest = {2, 6}, {0, 1, 3, 4, 5, 7}
    assert min(numbers[n] for n in facts) > 0.7
    assert max(numbers[n] for n in rest) < 0.45


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("The gate opens at half past six on Friday.", "The gate opens."),
        ("I met Ingrid Solberg in Bergen.", "I met somebody somewhere."),
        ("I sold my boat, a small yawl with a leaking hull.", "Do I sell my boat, a small yawl with a leaking hull?"),
        ("We planted quince and medlar trees.", "You planted quince and medlar trees."),
        ("We planted quince and medlar trees.", "Great, lovely, wonderful trees, congrats!"),
    ],
    ids=["times and numbers", "names", "a statement, a question", "ours, yours", "courtesy"],
)
def test_what_counts(more: str, less: str) -> None:
    assert alone(more) > alone(less)


def test_what_an_assistant_explains_is_below_what_it_was_told() -> None:
    text = "I have signed the lease for the shop in Elm Street from 1 March."
    assert alone(text, role="user") > alone(text, role="assistant")
    assert alone(text, role="tool") == alone(text, role="assistant")
    assert told("No.", role="system").retold == 1


def test_what_answers_a_question_is_above_the_same_unasked() -> None:
    answer = ("Ada", "A beagle from the shelter.")
    [[_, asked]] = weigh([said(("Ben", "What did you get?"), answer)])
    [[_, unasked]] = weigh([said(("Ben", "You got something."), answer)])
    assert asked > unasked
    # Not who answers himself, nor one who is asked all day long.
    [[_, own]] = features([said(("Ada", "What did I get?"), answer)])
    assert own.answers == 0
    [[_, assistant]] = features([[Said("Why?", role="user"), Said("Because of the tide.", role="assistant")]])
    assert assistant.answers == 0
    # Another conversation of the same day asked.
    [[_], [other]] = features([said(("Ben", "What did you get?")), said(answer)])
    assert other.answers == 0


def test_of_a_sentence_that_asks_what_it_tells_before_counts() -> None:
    packed = told("I want to restore a harpsichord from 1780, can you tell me how?")
    bare = told("How would you restore a harpsichord from 1780?")
    assert packed.news > bare.news == 0
    assert packed.exact > bare.exact == 0


def test_words_that_were_said_before_tell_less() -> None:
    text = "The heron nests behind the sawmill."
    before = [Said("The heron nests behind the sawmill again."), Said("Rain all day."), Said("The ferry was late.")]
    assert told(text, before).news < told(text, before[1:]).news
    # Those of the same day are known to what comes after them, and not to what came before.
    [numbers] = features([[Said(text), Said("Something else entirely."), Said(text)]])
    assert numbers[0].news > numbers[2].news
    # A word that stands everywhere says little, new or not.
    common = [Said("The heron came.") for _ in range(40)]
    assert told("A heron.", common).news < told("A bittern.", common).news / 2


def test_the_days_to_come_change_nothing() -> None:
    first, second = said(*TALK[:4]), said(*TALK[4:])
    [before] = weigh([first])
    weigh([second], first)
    assert weigh([first]) == [before]


def test_names_of_those_who_speak_tell_nothing() -> None:
    [[called]] = features([said(("Ada", "So Ada and Ben it is."))])
    assert called.exact == told("So Ada and she it is.", speaker="Ada").exact + 0.25
    [found] = features([said(("Ada", "Then came Ben with Ada."), ("Ben", "Hm."))])
    assert found[0].exact == 0


@pytest.mark.parametrize(
    ("language", "more", "less"),
    [
        ("german", "Wir ziehen am 3. Mai nach Trondheim in die Kongens gate 12.", "Ja."),
        ("spanish", "El 12 de marzo compramos una casa con un limonero en Cádiz.", "¿Sí?"),
        ("simple", "五月三日に大阪から東京へ引っ越しました。", "はい。"),
        ("russian", "Мы купили дачу под Тверью за 900000 рублей.", "Да."),
    ],
)
def test_another_language_is_told_by_its_words_alone(language: str, more: str, less: str) -> None:
    found = told(more, language=language)
    assert (found.own, found.yours, found.polite) == (USUAL.own, USUAL.yours, USUAL.polite)
    assert found.exact > USUAL.exact or language == "simple"
    assert alone(more, language=language) > alone(less, language=language)


def test_english_words_in_a_text_of_another_language_count_for_nothing() -> None:
    assert told("Thanks great wow last Monday", language="german").polite == USUAL.polite


@pytest.mark.parametrize("text", ["", " ", "…", "```\nprint(1)\n```", "| a | b |", "?", "\n\n", "🙂"])
def test_what_says_nothing_is_little(text: str) -> None:
    assert alone(text) < 0.35


def test_a_long_text_is_told_by_its_beginning() -> None:
    beginning = "I inherited my uncle's vineyard near Graz in April. " * 8
    assert alone(beginning + "Thanks! Great! Wow! " * 1000) == alone(beginning + "Zygote quoll xylem. " * 1000)


def test_the_middle_is_about_the_middle() -> None:
    assert estimate(Features()) < NEUTRAL
    assert 0 < estimate(Features(polite=1, yours=1, retold=1)) < 0.05
    assert 0.95 < estimate(Features(news=1, exact=1, own=1, answers=1)) < 1


@given(
    st.lists(st.lists(st.tuples(st.text(max_size=80), st.sampled_from(["english", "german", "simple"])), max_size=4))
)
def test_any_text_has_a_salience_and_always_the_same(day: list[list[tuple[str, str]]]) -> None:
    conversations = [
        [Said(text, language, speaker=str(n % 2)) for n, (text, language) in enumerate(one)] for one in day
    ]
    numbers = weigh(conversations)
    assert [len(one) for one in numbers] == [len(one) for one in conversations]
    assert all(0 <= number <= 1 for number in chain.from_iterable(numbers))
    assert weigh(conversations) == numbers
    assert all(0 <= value <= 1 for one in chain.from_iterable(features(conversations)) for value in one)


def test_a_megabyte_takes_no_time() -> None:
    for text in ("a" * 1_000_000, "`" * 1_000_000, "? " * 500_000, "I, " * 300_000, "- " * 500_000, "A, B " * 200_000):
        assert 0 <= alone(text) <= 1
