import pytest

from reverie.language.numbers import meant, numbers


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("twenty-three apples and twenty three pears", {"23"}),
        ("one hundred and five", {"105"}),
        ("two thousand twenty-three", {"2023"}),
        ("nineteen ninety-nine", {"1999"}),
        ("three hundred thousand", {"300000"}),
        ("1,500 and 1.5 million and 10k", {"1500", "1500000", "10000"}),
        ("1'234.50 and 99 999", {"1234.5", "99999"}),
        ("at 7:30 pm on 2023-05-08", {"7", "30", "2023", "5", "8"}),
        ("the 3rd of May, and a third", {"3"}),
        ("on 8.5.2023", {"8", "5", "2023"}),
        ("two, three and four", {"2", "3", "4"}),
        ("twenty and five", {"20", "5"}),
        ("half a dozen, twice", {"12", "2"}),
        ("$3.50 or 3.5", {"3.5"}),
        ("٣٤ and ２３", {"34", "23"}),
        ("one of them, first, at 12:00", {"12"}),
        ("", set()),
        ("9" * 5000, None),
    ],
)
def test_digits_and_words_become_values(text: str, values: set[str] | None) -> None:
    found = numbers(text)
    assert values is None or found == values


@pytest.mark.parametrize(
    ("language", "text", "values"),
    [
        ("german", "dreiundzwanzig Leute am dritten Mai, hundert Katzen", {"23", "3", "100"}),
        ("french", "trois amis et vingt livres, un neuf", {"3", "20"}),
        ("spanish", "siete gatos y treinta perros", {"7", "30"}),
        ("dutch", "drieentwintig mensen", {"23"}),
        ("simple", "dreiundzwanzig 17", {"17"}),
    ],
)
def test_words_are_those_of_the_language(language: str, text: str, values: set[str]) -> None:
    assert numbers(text, language) == values


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("It is at 3 pm.", "at 15:00"),
        ("It is at 15:00.", "at 3 pm"),
        ("We paid 1.500 for it.", "1.5"),
        ("In the 1990s.", "in the 90s"),
        ("A couple of weeks.", "two weeks"),
        ("A fortnight.", "fourteen days"),
        ("10k steps", "10,000 steps"),
    ],
)
def test_what_is_told_in_another_way_is_meant(source: str, told: str) -> None:
    assert numbers(told) <= meant(source)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("It costs 1,500.", "500"),
        ("It is the 3rd.", "15"),
        ("In 2023.", "23"),
        ("Twenty-three.", "twenty"),
        ("Version 3.14", "14"),
    ],
)
def test_a_part_of_a_number_is_another(source: str, told: str) -> None:
    assert not numbers(told) <= meant(source)
