"""Taking text apart into sentences and words."""

import pytest

from reverie.text.sentences import content_words, length, sentences


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I went home. It rained!  Did you? Yes", ["I went home.", "It rained!", "Did you?", "Yes"]),
        (
            "We met Dr. Bach and J. S. Miller at 5.30 p.m. there.",
            ["We met Dr. Bach and J. S. Miller at 5.30 p.m. there."],
        ),
        ("So do I. We left.", ["So do I.", "We left."]),
        ("Look! [shows a map] Nice", ["Look!", "[shows a map]", "Nice"]),
        ("昨天我去了上海。你呢？好！", ["昨天我去了上海。", "你呢？", "好！"]),
        ("वह घर गया। मैं रुका।", ["वह घर गया।", "मैं रुका।"]),
        ("one line\nanother  line\n\n\nthird", ["one line", "another line", "third"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_sentences_end(text: str, found: list[str]) -> None:
    assert list(sentences(text, "english")) == found


def test_a_number_with_a_full_stop_is_an_ordinal_where_it_is_written_so() -> None:
    assert next(sentences("Am 3. Mai kam sie. Er war da.", "german")) == "Am 3. Mai kam sie."
    assert list(sentences("He turned 30. She left.", "english")) == ["He turned 30.", "She left."]


def test_code_tables_headings_and_lists_are_no_sentences() -> None:
    text = (
        "# Plan\nI use **Flask** for [the app](https://example.org/a).\n```python\nx = 1. y = 2.\n```\n"
        "| a | b |\n|---|---|\n**Steps:**\n- buy milk\n1. call `Peter`\n> quoted. text.\nThat is all."
    )
    assert list(sentences(text, "english")) == ["I use Flask for the app.", "That is all."]
    assert list(sentences(text, "english", items=True)) == [
        "I use Flask for the app.", "buy milk", "call Peter", "That is all.",
    ]  # fmt: skip


def test_what_is_no_word_is_left_out() -> None:
    assert list(sentences(f"The key is {'a1b2' * 50}, keep it.", "english")) == ["The key is keep it."]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("one two  three", 3), ("昨天我去了上海", 4), ("über uns", 2), ("我 like it", 3), ("x" * 60, 4)],
)
def test_how_many_words_a_text_has(text: str, words: int) -> None:
    assert length(text) == words


def test_words_that_say_something() -> None:
    assert content_words("Yeah, I really loved the painted vases!", "english") == {"paint", "vas"}
    assert content_words("He paints; she’s painted.", "english") == {"paint"}
    assert content_words("Ich war in Köln", "german") == {"köln"}
    assert content_words("上海博物馆") == {"上海", "海博", "博物", "物馆"}
    assert content_words("") == set()
