"""Names in text: what is found, what is not, and that neither takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.figures import Figure

from reverie.text.entities import MOST_CHARS, MOST_NAMES, STOP, entities, name_key


def sure(text: str, **more: object) -> list[str]:
    return [one.name for one in entities(text, **more) if one.sure]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Yesterday Anna went to New York with Dr. Smith. She loves Paris.", ["Anna", "New York", "Smith", "Paris"]),
        ("We met Melanie, Bob and Carla in May.", ["Melanie", "Bob", "Carla"]),
        ("I read \"To Kill a Mockingbird\" and he said \"Hello there!\"", ["To Kill a Mockingbird"]),
        ("We saw Lord of the Rings at the Bank of Ireland.", ["Lord of the Rings", "Bank of Ireland"]),
        ("NASA and the EU met in the U.S. about iPhones on GitHub.", ["NASA", "EU", "U.S", "iPhones", "GitHub"]),
        ("Write to bob@example.org or x@gmail.com, see https://www.acme.io/a?b, @anna_b!",
         ["acme.io", "example.org", "@anna_b"]),
        ("Иван поехал в Москву с Анной.", ["Москву", "Анной"]),
        ("Η Μαρία πήγε στην Αθήνα.", ["Μαρία", "Αθήνα"]),
        ("我喜欢《红楼梦》。", ["红楼梦"]),
        ("It is O'Brien's dog, and Anna's.", ["O'Brien", "Anna"]),
        ("Ask Marie-Claire about AT&T.", ["Marie-Claire", "AT&T"]),
    ],
)  # fmt: skip
def test_names_are_found(text: str, names: list[str]) -> None:
    assert sorted(sure(text)) == sorted(names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nothing here. But Then again, Who knows? I Am Sure It Is OK.",
        "THIS IS SHOUTING ABOUT NASA AND PARIS",
        "Why You Should Never Read Long Headings In Newspapers Which Write Every Single Word In Capitals",
        "# Key Improvements\n**Error Handling:** none\n- **Session Management**: some\n| Name | Value |\n",
        "```\nclass Widget(Base): pass\n```\nand `SomeCode` too",
        "今天天气很好，我们去公园。",
        "สวัสดีครับ ผมชื่อสมชาย",
        "مرحبا كيف حالك اليوم",
        "see you on Monday in December, at 10 AM",
        "192.168.1.1 and http://10.0.0.1/x",
        "mail me at somebody@gmail.com",
        "!!! ... ??? @ @@ @. “” «»",
    ],
)
def test_nothing_is_found_where_nothing_is_named(text: str) -> None:
    assert sure(text) == []


def test_the_start_of_a_sentence_says_nothing_for_sure() -> None:
    assert [(one.key, one.sure) for one in entities("Caroline came. Painting helps.")] == [
        ("caroline", False),
        ("painting", False),
    ]
    assert sure("Caroline came. Then I saw Caroline's dog.") == ["Caroline"]
    assert sure("Tamara Novak came.") == ["Tamara Novak"]
    assert sure("Loving Paris already.") == []


def test_a_language_that_writes_nouns_with_capitals() -> None:
    text = "Ich habe heute einen Hund im Garten gesehen und Frau Müller mit der Katze auf GitHub"
    assert sorted(sure(text, language="german")) == ["Frau Müller", "GitHub"]


def test_known_names_are_taken_however_they_stand() -> None:
    assert sure("Will you come?", known=["Will"]) == ["Will"]
    assert sure("王芳也喜欢", known=["王芳"]) == ["王芳"]
    assert sure("אתמול דנה באה", known=["דנה"]) == ["דנה"]
    assert sure("דנהה באה", known=["דנה"]) == []


def test_the_most_frequent_come_first_and_are_so_many_at_most() -> None:
    text = "and then ".join(f"we saw Aa{chr(97 + n % 26)}{chr(97 + n // 26)} there, " for n in range(300))
    assert len(entities(f"{text} with Zoe, and Zoe, and Zoe")) == MOST_NAMES
    assert entities(f"{text} with Zoe, and Zoe, and Zoe")[0].key == "zoe"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Caroline's", "caroline"), ("CAROLINE", "Caroline"), ("U.S.", "US"), ("Straße", "STRASSE"),
        ("New  York", "new york"), ("Ｔｏｋｙｏ", "Tokyo"), ("@Anna_B", "@anna_b"), ("Anna’s", "Anna"),
    ],
)  # fmt: skip
def test_spellings_of_the_same_name_have_the_same_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_different_names_have_different_keys() -> None:
    names = ["Anna", "@anna", "Anna Smith", "Hannah", "André", "node.js", "node", "王芳", "Москва"]
    assert len({name_key(name) for name in names}) == len(names)


PARTS = [
    "Anna", "Bob", "the", "went", "to", "New", "York", "I", "NASA", "@x_y", "“A B”", "«", "a@b.de", "https://a.b/c",
    ".", ",", "!", "\n", "'s", "iPhone", "# Heading", "**Bold**", "`", "```", "《", "》", "王芳", "Иван", "é", "ß", "İ",
]  # fmt: skip
WORDS = st.sampled_from(PARTS)
TEXTS = st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=60).map(" ".join), st.lists(WORDS).map("".join))


@given(TEXTS)
def test_what_is_found_holds_for_any_text(text: str) -> None:
    found = entities(text, known=["Anna", "王芳"])
    assert found == entities(text, known=["Anna", "王芳"])
    assert len(found) <= MOST_NAMES
    assert len({one.key for one in found}) == len(found)
    for one in found:
        assert 0 < len(one.name) <= MOST_CHARS
        assert one.key == name_key(one.name), one
        assert one.key not in STOP or len(one.name) > 1
        assert "\n" not in one.name


@given(TEXTS)
def test_the_key_of_a_key_is_itself(text: str) -> None:
    key = name_key(text)
    assert name_key(key) == key
    assert len(key) <= MOST_CHARS


PATTERNS = [
    "a", "A", "A b ", "@a", "http://", '"A', "``` ", "A.", "Aa ", "Of The ", " ", "a@b.", "** ", "- **a", "|", "«A",
    "《", "Xy'", "\n# ", "`A", "www.a", "王", "Dr. A ", "and Anna went to ",
]  # fmt: skip


def seconds(pattern: str, size: int) -> float:
    text = (pattern * (size // len(pattern) + 1))[:size]
    began = time.process_time()
    entities(text, known=["Anna"])
    return time.process_time() - began


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_time_grows_with_the_length_alone(pattern: str) -> None:
    # What grows with the square would take 256 times as long.
    assert seconds(pattern, 160_000) < 64 * seconds(pattern, 10_000) + 0.3


def test_a_million_characters(figure: Figure) -> None:
    took = seconds("Then Anna went to Rome with Bob. ", 1_000_000)
    figure("seconds of a million characters", round(took, 2))
    assert took < 20
