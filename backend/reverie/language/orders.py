"""Remembered text that gives orders to a model, and whether what the model said carries them out. Pure functions.

Such text is no command but something that somebody wrote. A model may obey it all the same; so what it says is compared
with the records that hold an order: nothing of theirs may be in it that stands in no other record.
"""

import re
import unicodedata
from typing import Final

from reverie.language.sources import FEWEST_WORDS, Sources, parts, runs

_GAP: Final = r"(?:\W{1,3}\w+){0,6}?\W{1,3}"
_OVERRIDES: Final = (
    # Verb, and then what it is about: English, German, Dutch, French, Spanish, Italian, Portuguese, Russian.
    rf"(?:ignor\w*|disregard\w*|(?<!n't )(?<!not )(?<!never )forget|overrid\w*|bypass\w*|neglect|discard|drop|disobey"
    rf"|skip){_GAP}"
    r"(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|orders?|commands?|constraints?"
    r"|you(?: were|'ve been| have been| are) told|above|previous|prior|everything)\b",
    rf"(?:ignor\w*|missacht\w*|vergiss|vergessen|überschreib\w*){_GAP}\w*(?:anweisung|vorgabe|regel|befehl|prompt|auftr)",
    rf"(?:negeer\w*|vergeet){_GAP}(?:instructie|opdracht|regel|aanwijzing)",
    rf"(?:ignor\w*|oubli\w*){_GAP}(?:instruction|consigne|règle|directive|ordre)",
    rf"(?:ignor\w*|olvid\w*|omit\w*){_GAP}(?:instruccion|indicacion|regla|orden)",
    rf"(?:ignor\w*|dimentic\w*){_GAP}(?:istruzion|regol|direttiv|indicazion)",
    rf"(?:ignor\w*|esqueç\w*){_GAP}(?:instruç|regra|diretriz|orden)",
    rf"(?:игнорир\w*|забудь\w*){_GAP}(?:инструкц|указани|правил|команд)",
    r"(?:忽略|无视|忘记|忘掉|無視|忽視).{0,16}(?:指令|指示|提示|说明|說明|规则|規則|命令)",
    r"(?:指示|命令|ルール|プロンプト).{0,8}(?:無視|忘れ)",
)
_ADDRESSES: Final = (
    r"(?:system|developer)\W{0,2}(?:prompt|message|instructions?|override|note)\b",
    r"\byour\W{1,2}(?:instructions?|prompt|guidelines|programming|system)\b",
    r"\b(?:new|updated|real|actual|following|important)\W{1,2}(?:instructions?|task|directive)s?\W{0,2}:",
    r"\byou are now (?:an?|the|going|acting|free|to|called|named)\b|\bfrom now on,? you\b",
    r"\bdeveloper mode\b|\bjailbr\w+",
    r"(?:^|\n)\W{0,4}(?:system|assistant|user|instructions?)\W{0,4}:",
    r"<\|?/?(?:im_start|im_end|system|assistant|user|instructions?|s|endoftext|eot_id)\b[^>]{0,40}>|\[/?(?:INST|SYS)\]"
    r"|<</?SYS>>|#{2,}\W{0,2}(?:system|instructions?)\b",
    r"\b(?:to|dear|attention|note to|hey),? (?:the |all |any |whatever )?(?:ais?|llms?|language models?"
    r"|(?:ai )?assistants?|models?|chat ?bots?|bots?|summari[sz]ers?)\b"
    r"(?=\s*[:,(]| (?:that|who|which|reading|processing|summari))",
    r"\bif you are an? (?:ai|llm|language model|assistant|model|bot)\b",
)
_DICTATES: Final = (
    r"\b(?:say|reply|respond|answer|write|output|print|return|repeat|type|echo)\W{1,2}(?:back\W{1,2})?"
    r"(?:only|exactly|just|nothing but|nothing else|verbatim|with exactly|with only|with just|with nothing but"
    r"|the following|with the following|with the (?:word|words|phrase|sentence|text))\b",
    r"\b(?:your|the|this|any|every) (?:entire |whole |only |final |next )?(?:answer|response|output|summary|summaries"
    r"|reply) (?:must|should|has to|have to|shall|needs? to|is to)\b",
    r"\b(?:your|the|this|any|every|each|all) summar(?:y|ies) (?:to|must|should|will|that)\b",
    r"\b(?:end|begin|start|finish|close) (?:your|the|this|every|any|each|all) (?:summar|answer|response|repl|output)",
    r"\b(?:instead of|rather than) (?:a |an |the |your |this |writing |making |giving )?(?:a |an |the )?summar",
    r"\b(?:include|add|put|write|insert|mention|append|say|state|claim)\b[^.!?\n]{0,60} (?:in|into|to|of|at the end of)"
    r" (?:your|the|this|that|every|any|all) (?:summar|response|answer|output|reply)",
    r"\b(?:when|while|before|after|if) (?:you(?:'re| are)? )?(?:asked to )?(?:summari[sz]|condens|extract)\w*",
    r"\b(?:do not|don't|never|stop|refuse to) (?:summari[sz]|reveal|mention this)\w*",
)
_ORDER = re.compile("|".join((*_OVERRIDES, *_ADDRESSES, *_DICTATES)), re.IGNORECASE)

_SHARED_RUN: Final = 8
"""So many words in a row of the instructions, and they were repeated."""


def gives_orders(text: str) -> bool:
    """Whether a text speaks to a model that reads it, rather than to people."""
    seen = "".join(one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf")
    return _ORDER.search(seen) is not None


def obeys(said: str, sources: Sources) -> bool:
    """Whether a text has something that stands only where orders are given: a word or number, or a run of words.

    What the record after an order repeats of it stands only there too. A text that tells of an order in its own words
    is taken for one that obeys: which of the two it is cannot be told, and a summary that tells of orders is no loss.
    """
    naming = {speaker: gives_orders(speaker) for speaker in {record.speaker for record in sources.records}}
    ordering = frozenset(
        at for at, record in enumerate(sources.records) if naming[record.speaker] or gives_orders(record.text)
    )
    if not ordering:
        return False
    near = ordering | {at + 1 for at in ordering}
    words, speakers = parts(said), {word for speaker, orders in naming.items() if not orders for word in parts(speaker)}
    telling = set(words) - sources.small - speakers
    runs_of_it = (run for run in runs(words, FEWEST_WORDS) if any(word not in sources.small for word in run))
    found = (sources.places.get(one, frozenset()) for one in (*((word,) for word in telling), *runs_of_it))
    return any(places & ordering and places <= near for places in found)


def repeats(said: str, instructions: str) -> bool:
    """Whether a text repeats the instructions that it was made by."""
    told = set(runs(parts(instructions), _SHARED_RUN))
    return any(run in told for run in runs(parts(said), _SHARED_RUN))
