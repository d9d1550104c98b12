"""The heads of a trace, and the text that is encoded for each. Pure."""

from reverie.text.names import is_name


def semantic_text(content: str, speaker: str | None) -> str:
    """What is encoded for the head ``semantic``: who speaks, where that is a name, and what is said.

    The speaker in front raises what cosine alone finds of chats among people from 0.43 to 0.59 of the evidence (share
    among the first ten); a date in front lowers it a little. A role word says nothing that the text does not.
    """
    return f"{speaker}: {content}" if is_name(speaker) else content
