import pytest

from reverie.embedding.heads import semantic_text


def test_the_speaker_goes_before_what_is_said() -> None:
    assert semantic_text("I like tea.", "Ada") == "Ada: I like tea."


@pytest.mark.parametrize("speaker", [None, "", "user", "Assistant"])
def test_without_a_name_the_text_stands_alone(speaker: str | None) -> None:
    assert semantic_text("I like tea.", speaker) == "I like tea."
