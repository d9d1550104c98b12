"""What is stated of somebody: the predicates, and who is whose. Pure data, and what tells a person's name."""

import re
from typing import Final, Literal, NamedTuple, get_args

from reverie.text.entities import STOP, name_key
from reverie.text.naming import Kind, prior

Predicate = Literal[
    "works_at",
    "works_as",
    "works_with",
    "lives_in",
    "lives_with",
    "from",
    "born_in",
    "born_on",
    "married_to",
    "partner_of",
    "child_of",
    "grandchild_of",
    "sibling_of",
    "relative_of",
    "friend_of",
    "neighbour_of",
    "knows",
    "has_pet",
    "owns",
    "likes",
    "dislikes",
    "plays",
    "does",
    "studies",
    "studied_at",
    "member_of",
    "attends",
    "uses",
    "prefers",
    "visited",
    "speaks",
    "allergic_to",
]
PREDICATES: Final[tuple[Predicate, ...]] = get_args(Predicate)


class Triple(NamedTuple):
    """What is stated of a subject. ``kind`` is that of the object, ``of`` that of the subject, as the predicate has it.

    An object in lower case is a common noun, and its kind a topic.
    """

    subject: str
    predicate: Predicate
    object: str
    kind: Kind | None
    of: Kind = "person"


# Words in capitals, with what joins them: `University of Porto`, `St. Mary's`; not a possessive before something.
_WORD: Final = r"[A-Z][\w&-]*(?:['’](?:s(?= [A-Z])|(?!s\b)[A-Za-z]\w*))?(?:\.(?= [A-Z]))?"
NAME: Final = rf"{_WORD}(?: (?:(?:of|the|de|da|del|la|van|von|for) ){{0,2}}{_WORD}){{0,4}}"

KIN: Final[dict[str, tuple[Predicate, bool]]] = {
    **dict.fromkeys(("wife", "husband", "spouse"), ("married_to", False)),
    **dict.fromkeys(
        ("girlfriend", "boyfriend", "partner", "fiancé", "fiancée", "fiance", "fiancee"), ("partner_of", False)
    ),
    **dict.fromkeys(
        ("son", "daughter", "child", "stepson", "stepdaughter", "kid", "toddler"), ("child_of", True)
    ),
    **dict.fromkeys(
        ("mother", "mom", "mum", "father", "dad", "stepmother", "stepfather", "stepmom", "stepdad"), ("child_of", False)
    ),
    **dict.fromkeys(
        ("grandmother", "grandfather", "grandma", "grandpa", "granny", "nana"), ("grandchild_of", False)
    ),
    **dict.fromkeys(("grandson", "granddaughter", "grandchild"), ("grandchild_of", True)),
    **dict.fromkeys(("sister", "brother", "twin", "stepsister", "stepbrother", "sibling"), ("sibling_of", False)),
    **dict.fromkeys(
        ("aunt", "uncle", "cousin", "niece", "nephew", "mother-in-law", "father-in-law", "sister-in-law",
         "brother-in-law"), ("relative_of", False)
    ),
    **dict.fromkeys(("friend", "bestie", "pal", "buddy"), ("friend_of", False)),
    **dict.fromkeys(("roommate", "flatmate", "housemate"), ("lives_with", False)),
    **dict.fromkeys(
        ("boss", "manager", "supervisor", "colleague", "coworker", "co-worker", "teammate", "assistant"),
        ("works_with", False),
    ),
    **dict.fromkeys(("neighbor", "neighbour"), ("neighbour_of", False)),
    **dict.fromkeys(
        ("teacher", "coach", "mentor", "therapist", "trainer", "tutor", "instructor", "classmate", "dentist"),
        ("knows", False),
    ),
    **dict.fromkeys(
        ("dog", "cat", "puppy", "pup", "kitten", "horse", "pony", "parrot", "rabbit", "hamster", "turtle", "snake",
         "parakeet", "ferret", "lizard", "goldfish", "guinea pig", "bunny", "pet"), ("has_pet", False)
    ),
}  # fmt: skip
"""What somebody is to me → the predicate, and whether they are its subject."""

KIN_WORD: Final = "|".join(sorted(map(re.escape, KIN), key=len, reverse=True))
PETS: Final = "|".join(word for word, (predicate, _) in KIN.items() if predicate == "has_pet" and word != "pet")


def is_person(name: str, *, sure: bool) -> bool:
    words = name_key(name).split()
    if not words or len(words) > 3 or words[0] in STOP or " and " in name:
        return False
    kinds = dict(prior(name))
    return kinds.get("person", 0) > 0 or (sure and not kinds)
