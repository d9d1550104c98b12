"""Languages that PostgreSQL's text search knows. Pure functions."""

CONFIGURATIONS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch",
    "en": "english", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german", "el": "greek",
    "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian",
    "ne": "nepali", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""ISO 639-1 codes and the text-search configurations of PostgreSQL 16 to 18."""

SIMPLE = "simple"
"""No stemming and no stop words: for a language that PostgreSQL does not know."""


def configuration(language: str) -> str:
    """The text-search configuration of a code or English name (``de``, ``de-AT``, ``German``).

    Raises:
        ValueError: it is none of them; the message is the end of a sentence about the field.
    """
    name = language.strip().lower()
    if name == SIMPLE or name in CONFIGURATIONS.values():
        return name
    code = name.replace("_", "-").split("-", 1)[0]
    if code in CONFIGURATIONS:
        return CONFIGURATIONS[code]
    raise ValueError("takes an ISO 639-1 code such as en, an English name such as german, or simple")
