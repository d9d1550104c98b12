"""What sentences state, and what only looks as if they did."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.text.triples import PREDICATES, triples

STATED: list[tuple[str, set[tuple[str, str, str]]]] = [
    ("I work at Hexaly and live in Berlin.", {("Me", "works_at", "Hexaly"), ("Me", "lives_in", "Berlin")}),
    ("I work as a nurse at St. Mary's Hospital.",
     {("Me", "works_as", "nurse"), ("Me", "works_at", "St. Mary's Hospital")}),
    ("I'm a software engineer at Hexaly.", {("Me", "works_as", "software engineer"), ("Me", "works_at", "Hexaly")}),
    ("I got a new job at Hexaly!", {("Me", "works_at", "Hexaly")}),
    ("Bob works for Hexaly.", {("Bob", "works_at", "Hexaly")}),
    ("I've just moved to New York City from Boston.", {("Me", "lives_in", "New York City")}),
    ("I've been living in Tokyo since 2019.", {("Me", "lives_in", "Tokyo")}),
    ("I'm from Sweden originally.", {("Me", "from", "Sweden")}),
    ("I was born in Porto on 5 May 1990.", {("Me", "born_in", "Porto"), ("Me", "born_on", "5 May 1990")}),
    ("My birthday is March 3rd.", {("Me", "born_on", "3 March")}),
    ("My sister Ann lives in Lisbon.", {("Me", "sibling_of", "Ann"), ("Ann", "lives_in", "Lisbon")}),
    ("My son's name is Leo.", {("Leo", "child_of", "Me")}),
    ("Bob's wife Alice is here.", {("Bob", "married_to", "Alice")}),
    ("Ann is my cousin.", {("Me", "relative_of", "Ann")}),
    ("Tanya, my partner of two years, is great.", {("Me", "partner_of", "Tanya")}),
    ("I'm married to Peter.", {("Me", "married_to", "Peter")}),
    ("My dog, Rex, is ill.", {("Me", "has_pet", "Rex")}),
    ("We adopted a little kitten named Miso.", {("Me", "has_pet", "Miso")}),
    ("We have two dogs.", {("Me", "has_pet", "dog")}),
    ("I bought a new car yesterday.", {("Me", "owns", "car")}),
    ("I love hiking and swimming.", {("Me", "likes", "hiking"), ("Me", "likes", "swimming")}),
    ("My favorite food is sushi.", {("Me", "likes", "sushi")}),
    ("I can't stand cilantro.", {("Me", "dislikes", "cilantro")}),
    ("I prefer tea over coffee.", {("Me", "prefers", "tea")}),
    ("I play the piano.", {("Me", "plays", "piano")}),
    ("I do yoga every morning.", {("Me", "does", "yoga")}),
    ("I signed up for a pottery class yesterday.", {("Me", "attends", "pottery class")}),
    ("I joined a book club.", {("Me", "member_of", "book club")}),
    ("I study computer science at the University of Porto.",
     {("Me", "studies", "computer science"), ("Me", "studied_at", "University of Porto")}),
    ("We went to Paris and Rome last summer.", {("Me", "visited", "Paris"), ("Me", "visited", "Rome")}),
    ("I speak German and a little French.", {("Me", "speaks", "German"), ("Me", "speaks", "French")}),
    ("I'm allergic to cats, dust and penicillin.",
     {("Me", "allergic_to", "cats"), ("Me", "allergic_to", "dust"), ("Me", "allergic_to", "penicillin")}),
    ("I'm using Gimbal 2.3 for it, can you help?", {("Me", "uses", "Gimbal")}),
    ("Well, I live in Quito.", {("Me", "lives_in", "Quito")}),
]  # fmt: skip

NOT_STATED = [
    "Do you work at Hexaly?",
    "I don't work at Hexaly.",
    "I never worked at Hexaly.",
    "I used to work at Hexaly.",
    "If I worked at Hexaly, I'd live in Zurich.",
    "I wish I lived in Spain.",
    "I might move to Oslo.",
    "I would love to visit Rome.",
    "We are thinking of moving to Rome.",
    'He wrote "I live in Rome" there.',
    "`I live in Rome`",
    "She works for Hexaly.",
    "You live in Rome.",
    "Is Ann your cousin?",
    "Ann is not my cousin.",
    "Thanks for asking about my dog, Caroline!",
    "I love you.",
    "I love it when you sing.",
    "I love your idea.",
    "I love the view from here.",
    "I love Anna's paintings.",
    "I like to cook.",
    "I like the way you think.",
    "I enjoy getting lost in books.",
    "I love the smell of coffee.",
    "I don't like jazz.",
    "I live in the city.",
    "I work with kids.",
    "I'm not a doctor.",
    "I went to Hexaly for an interview.",
    "I bought a coffee.",
    "My car broke down.",
    "My teacher said I play well.",
    "The company is based in Berlin.",
    "Ich wohne in Berlin.",
]


@pytest.mark.parametrize(("text", "stated"), STATED)
def test_what_is_stated(text: str, stated: set[tuple[str, str, str]]) -> None:
    assert {one[:3] for one in triples(text, speaker="Me", others=["Caroline"])} == stated


@pytest.mark.parametrize("text", NOT_STATED)
def test_what_is_not(text: str) -> None:
    assert triples(text, speaker="Me", others=["Caroline"]) == []


def test_nobody_knows_who_i_am() -> None:
    assert triples("I live in Rome.") == []
    assert [one[:3] for one in triples("Bob lives in Rome.")] == [("Bob", "lives_in", "Rome")]


def test_another_language_passes_through() -> None:
    assert triples("I live in Rome.", speaker="Me", language="german") == []
    assert triples("Vivo en Roma. Me gusta el sol.", speaker="Me") == []


PARTS = [
    "I", "My sister", "Ann", "works at", "Rome", "love", "hiking", ",", ".", "?", "and", "is my", "'s", "not", "“",
    "\n", "if", "the", "a dog named", "born on", "May 5", "```", "(", "e.g", "Dr", ":",
]  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PARTS), max_size=40).map(" ".join)))
def test_what_is_found_holds_for_any_text(text: str) -> None:
    for one in triples(text, speaker="Me", others=["Ann"]):
        assert one.predicate in PREDICATES
        assert one.subject.strip()
        assert one.object.strip()
        assert one.subject != one.object
        assert one.kind == "date" or one.object == "Me" or one.object in text
    assert triples(text, speaker="Me") == triples(text, speaker="Me")


PATTERNS = [
    "I love ", "My sister Ann ", "A ", "a, ", "Ann's ", "I love a, b and ", "A. ", "I work as a b ", "( ", "“",
    "- ", "my dog, A", "and I ", "I am a ", "I was born in A ",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_long_text_takes_no_long_time(pattern: str) -> None:
    began = time.process_time()
    triples(pattern * 20_000, speaker="Me")
    triples(("x. " + pattern * 30)[:4000], speaker="Me")
    assert time.process_time() - began < 1
