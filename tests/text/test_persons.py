"""Telling of somebody what they say of themselves."""

import pytest

from reverie.text.persons import third_person


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I went to the fair.", "Ann went to the fair."),
        ("I love pottery and I'm good at it.", "Ann loves pottery and Ann is good at it."),
        ("I've been busy, but I'll come.", "Ann has been busy, but Ann will come."),
        ("I'd been there, I'd like to return.", "Ann had been there, Ann would like to return."),
        ("I really don't carry cash.", "Ann really doesn't carry cash."),
        ("I need to watch it, I have no time.", "Ann needs to watch it, Ann has no time."),
        ("I carried it, I wash it and I kept it.", "Ann carried it, Ann washes it and Ann kept it."),
        ("The fair was far, Tom and I were late.", "The fair was far, Tom and Ann were late."),
        ("She is taller than me.", "She is taller than Ann."),
        ("My sister gave me her bike.", "Ann's sister gave Ann her bike."),
        ("I lost my job.", "Ann lost their job."),
        ("This ring means a lot to me.", "This ring means a lot to Ann."),
        ("I taught myself to weave.", "Ann taught themself to weave."),
        ("Just bought a loom.", "Ann just bought a loom."),
        ("Been weaving a lot.", "Ann has been weaving a lot."),
        ("I’m tired.", "Ann is tired."),
    ],
)
def test_the_first_person_becomes_the_third(said: str, told: str) -> None:
    assert third_person(said, "Ann") == told


@pytest.mark.parametrize(
    "said",
    [
        "We went to the fair.",
        "I told you about it.",
        "Your words help me.",
        "Gave my sister a ring.",
        "Let me know.",
        "I guess Tom and I run.",
        "I guess Tom and I are late.",
        "Me and Tom went home.",
        "So am I.",
        '"I quit", he said.',
        "The fair was good.",
        "I, for one, stay.",
        "Running helps.",
        "",
    ],
)
def test_what_would_not_surely_be_right_is_left(said: str) -> None:
    assert third_person(said, "Ann") is None


def test_a_name_that_ends_in_s() -> None:
    assert third_person("My dog ran.", "James") == "James' dog ran."
