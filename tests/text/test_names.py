import pytest

from reverie.text.names import is_name, name_words


def test_the_words_of_a_text() -> None:
    assert name_words("What did Ada’s sister, Zoë, tell Bob's dog?") == {
        "what", "did", "ada", "sister", "zoë", "tell", "bob", "dog"
    }  # fmt: skip
    assert name_words("") == set()


@pytest.mark.parametrize("speaker", ["Ada", "Ada Lovelace", "assistant Ada", "李"])
def test_names(speaker: str) -> None:
    assert is_name(speaker)


@pytest.mark.parametrize("speaker", [None, "", "user", "Assistant", "AI bot", " - "])
def test_what_names_nobody(speaker: str | None) -> None:
    assert not is_name(speaker)
