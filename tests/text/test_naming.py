"""What kind of thing a name names, and which names are spellings of one another."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.text.naming import KINDS, Here, Kind, decide, folded, kind_in, prior, same_here, spelled_alike, typo_keys


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("My sister Quenby is ill.", "Quenby", "person"),
        ("Hey Quenby! How are you?", "Quenby", "person"),
        ("Quenby's birthday is near.", "Quenby", "person"),
        ("I told Quenby about it.", "Quenby", "person"),
        ("We flew to Vellano last week.", "Vellano", "place"),
        ("I grew up in Vellano.", "Vellano", "place"),
        ("They live near Vellano.", "Vellano", "place"),
        ("She works at Hexaly as a nurse.", "Hexaly", "organisation"),
        ("I joined Hexaly in spring.", "Hexaly", "organisation"),
        ("I am reading Solaris again.", "Solaris", "thing"),
        ("He watched the movie Solaris.", "Solaris", "thing"),
        ("Then Quenby.", "Quenby", None),
        ("Nobody here.", "Quenby", None),
    ],
)
def test_what_stands_around_a_name_tells_its_kind(text: str, name: str, kind: Kind | None) -> None:
    assert kind_in(text, name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Lisbon", "place"),
        ("Lake Vellano", "place"),
        ("Vellano Street", "place"),
        ("Anna", "person"),
        ("Anna Quenby", "person"),
        ("Dr Quenby", "person"),
        ("Google", "organisation"),
        ("Quenby Ltd", "organisation"),
        ("University of Vellano", "organisation"),
        ("Thanksgiving", "date"),
        ("5 May 1990", "date"),
        ("2021", "date"),
        ("German", "thing"),
        ("Model 3000", "thing"),
        ("vellano.example", "thing"),
        ("@quenby", "person"),
        ("Quenby", None),
        ("", None),
    ],
)
def test_the_form_of_a_name_and_what_all_know_tell_it_too(name: str, kind: Kind | None) -> None:
    assert decide(name, {}) == kind


def test_texts_overrule_what_a_name_looks_like() -> None:
    assert decide("Paris", {"person": 2}) == "place"
    assert decide("Paris", {"person": 9}) == "person"
    assert decide("Quenby", {"place": 1, "person": 2}) == "person"
    assert decide("Quenby", {"nonsense": 5}) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("josé", "jose"),
        ("jean-luc", "jean luc"),
        ("dr smith", "smith"),
        ("hexaly inc", "hexaly"),
        ("door dash", "doordash"),
        ("quenbyland", "quenbylnad"),
        ("vellanotown", "velanotown"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert spelled_alike(one, other)
    assert spelled_alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("christina", "christine"),  # the last letter
        ("roberta", "alberta"),
        ("catherine", "katherine"),  # the first
        ("marlene", "marleen"),  # short
        ("model 1000", "model 1001"),
        ("slovakia", "slovenia"),
        ("austria", "australia"),
        ("vellanos", "vellano"),
        ("", ""),
        ("@ann", "ann"),
    ],
)
def test_names_that_only_look_alike(one: str, other: str) -> None:
    assert not spelled_alike(one, other)


def here(*names: tuple[str, Kind | None, set[int]]) -> list[Here]:
    return [Here(name.lower(), name, kind, frozenset(traces)) for name, kind, traces in names]


@pytest.mark.parametrize(
    ("names", "speakers", "same"),
    [
        ([("Mel", None, {1})], ["melanie", "bob"], {"mel": "melanie"}),
        ([("Mel", None, {1})], ["melanie", "melissa"], {}),
        ([("Caro", "person", {1})], ["caroline"], {"caro": "caroline"}),
        ([("Jon", "person", {1})], ["jonathan"], {"jon": "jonathan"}),
        ([("Mel", None, {1})], ["bob"], {}),
        ([("Bob", "person", {1}), ("Robert", "person", {2})], [], {"bob": "robert"}),
        ([("Bob", "person", {1}), ("Robert", "person", {1})], [], {}),
        ([("Bob", "person", {1}), ("Robert", "place", {2})], [], {}),
        ([("Sam", "person", {1}), ("Samuel", "person", {2}), ("Samantha", "person", {3})], [], {}),
        ([("Tamara", "person", {1}), ("Tamara Novak", "person", {1, 2})], [], {"tamara": "tamara novak"}),
        ([("Bob Novak", "person", {1}), ("Robert Novak", "person", {2})], [], {"bob novak": "robert novak"}),
        ([("J Novak", "person", {1}), ("Jane Novak", "person", {2})], [], {"j novak": "jane novak"}),
        ([("Dr Novak", "person", {1}), ("Jane Novak", "person", {2})], [], {"dr novak": "jane novak"}),
        ([("UVH", None, {1}), ("University of Vellano Hills", "organisation", {2})], [],
         {"uvh": "university of vellano hills"}),
        ([("Paris", "place", {1}), ("Paris Hilton", "person", {2})], [], {}),
        ([("Bob", "person", {1}), ("Robert", "person", {2})], ["bob", "robert"], {}),
    ],
)  # fmt: skip
def test_what_is_short_for_what_in_a_conversation(
    names: list[tuple[str, Kind | None, set[int]]], speakers: list[str], same: dict[str, str]
) -> None:
    assert same_here(here(*names), speakers) == same


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["Anna", "Dr.", "of", "Ltd", "J.", "é", "'s", "2020", "Lake", "@x", "-", " "])).map(
        " ".join
    ),
)


@given(TEXTS, TEXTS)
def test_they_hold_for_any_text(one: str, other: str) -> None:
    assert decide(one, {}) in (*KINDS, None)
    assert kind_in(one, other or "x") in (*KINDS, None)
    assert spelled_alike(one, other) == spelled_alike(other, one)
    assert folded(folded(one)) == folded(one) or one.startswith("@")
    if spelled_alike(one, other) and folded(one) != folded(other):
        assert typo_keys(one) == typo_keys(other)
    assert isinstance(prior(one), tuple)


def test_many_places_of_a_name_take_no_longer() -> None:
    began = time.process_time()
    kind_in("Anna " * 200_000, "Anna")
    assert time.process_time() - began < 0.5
