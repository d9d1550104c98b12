"""The numbers of a text, in digits and in words, as values that can be compared. Pure functions."""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

_MOST_DIGITS: Final = 40
"""Of one number; a longer run of digits is compared as it is written."""

_FIGURE = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?!\d)"
    r"|(?P<grouped>\d{1,3}(?:(?P<mark>[.,'’ ])\d{3})(?:(?P=mark)\d{3})*)(?!\d)(?:[.,](?P<rest>\d+))?"
    r"|(?P<dotted>\d+(?:\.\d+){2,})"
    r"|(?P<whole>\d+)(?:[.,](?P<decimals>\d+))?"
)
"""Of text in NFKC, in which the narrow spaces between groups of digits are plain ones."""

_CLOCK = re.compile(r"\s?(?:[ap]\.?m\b|o['’]clock\b|uhr\b|h\b)", re.IGNORECASE)
_SCALE = re.compile(r"\s?(k|thousand|m|million|mio|b|bn|billion|mrd)\b", re.IGNORECASE)
_SCALES: Final = {
    "k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000, "mio": 1_000_000, "b": 10**9, "bn": 10**9,
    "billion": 10**9, "mrd": 10**9,
}  # fmt: skip

_UNITS: Final = {
    "english": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen",
    "german": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn"
    " siebzehn achtzehn neunzehn",
    "dutch": "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien"
    " zeventien achttien negentien",
    "french": "zéro un deux trois quatre cinq six sept huit - dix onze douze treize quatorze quinze seize",
    "spanish": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis"
    " diecisiete dieciocho diecinueve",
    "italian": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici"
    " sedici diciassette diciotto diciannove",
    "portuguese": "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze dezesseis"
    " dezessete dezoito dezenove",
}
"""The words from 0 on; one that is more often another word (the French ``neuf``) is left out."""

_TENS: Final = {
    "english": "twenty thirty forty fifty sixty seventy eighty ninety",
    "german": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "dutch": "twintig dertig veertig vijftig zestig zeventig tachtig negentig",
    "french": "vingt trente quarante cinquante soixante",
    "spanish": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "italian": "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    "portuguese": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
}
_HUNDREDS: Final = {
    "english": {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9},
    "german": {"hundert": 100, "tausend": 1_000, "million": 1_000_000, "millionen": 1_000_000},
    "dutch": {"honderd": 100, "duizend": 1_000, "miljoen": 1_000_000},
    "french": {"cent": 100, "mille": 1_000, "million": 1_000_000, "millions": 1_000_000},
    "spanish": {"cien": 100, "ciento": 100, "mil": 1_000, "millón": 1_000_000, "millones": 1_000_000},
    "italian": {"cento": 100, "mille": 1_000, "mila": 1_000, "milione": 1_000_000, "milioni": 1_000_000},
    "portuguese": {"cem": 100, "cento": 100, "mil": 1_000, "milhão": 1_000_000, "milhões": 1_000_000},
}
_ORDINALS: Final = {
    "english": "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
    " sixteenth seventeenth eighteenth nineteenth",
    "german": "dritt viert fünft sechst siebt acht neunt zehnt elft zwölft",
}
"""From the third on: the first and the second are said of more than numbers."""

_TENTHS: Final = {"english": "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"}
_OTHERS: Final = {"english": {"dozen": 12, "twice": 2, "thrice": 3, "quadruple": 4}}

_VAGUE: Final = frozenset({Decimal(0), Decimal(1)})
"""They are said without a number being meant: one of them, at 3:00."""

_WORD = re.compile(r"[^\W\d_]+(?:[-‐‑][^\W\d_]+)*")
_APART = re.compile(r"[-‐‑]")


class Figure(NamedTuple):
    """A number in digits: its most likely values (several of a time or a date), and what else it can be read as."""

    values: tuple[Decimal, ...]
    others: tuple[Decimal, ...] = ()


def numbers(text: str, language: str = "english") -> frozenset[str]:
    """The numbers that a text states, each as its value: ``twenty-three`` and ``23.0`` are ``23``.

    Those that are stated without meaning a number (0, 1) are left out. ``language``: a text-search configuration, of
    which the words are read; digits are read in every script.
    """
    figures, rest = _figures(unicodedata.normalize("NFKC", text))
    found = {value for figure in figures for value in figure.values} | set(_words(rest, language))
    return frozenset(_written(value) for value in found if value not in _VAGUE)


def meant(text: str, language: str = "english") -> frozenset[str]:
    """Every value that the numbers of a text can be read as: of ``1.500`` two, of ``3 pm`` two.

    A number that is told elsewhere stands in the text if it is among them.
    """
    figures, _ = _figures(unicodedata.normalize("NFKC", text))
    others = {_written(value) for figure in figures for value in figure.others}
    words = {match.casefold() for match in _WORD.findall(text)} if language == "english" else set()
    return numbers(text, language) | others | {value for word, value in _LOOSE.items() if word in words}


_LOOSE: Final = {
    "second": "2",
    "couple": "2",
    "both": "2",
    "pair": "2",
    "double": "2",
    "half": "0.5",
    "fortnight": "14",
}
"""What may be retold as a number."""


def _figures(text: str) -> tuple[list[Figure], str]:
    """What is written in digits, and the text without it."""
    found: list[Figure] = []
    rest, end = [], 0
    for match in _FIGURE.finditer(text):
        scale = _SCALE.match(text, match.end())
        found.append(_figure(match, _SCALES[scale[1].casefold()] if scale else 1, _CLOCK.match(text, match.end())))
        rest.append(text[end : match.start()])
        end = scale.end() if scale else match.end()
    return found, " . ".join([*rest, text[end:]])


def _figure(match: re.Match[str], scale: int, clock: re.Match[str] | None) -> Figure:
    if match["hour"]:
        return Figure((_value(match["hour"]), _value(match["minute"])), _other_clock(_value(match["hour"])))
    if match["dotted"]:
        return Figure(tuple(_value(part) for part in match["dotted"].split(".")))
    if match["grouped"]:
        parts = re.findall(r"\d+", match["grouped"])
        decimal = (_value(*parts),) if len(parts) == 2 and match["mark"] in ".," else ()
        apart = tuple(_value(part) for part in parts) if match["mark"] == " " else ()
        return Figure((_value("".join(parts), match["rest"]) * scale,), (*decimal, *apart))
    value = _value(match["whole"], match["decimals"]) * scale
    if clock and value <= 24:
        return Figure((value,), _other_clock(value))
    short = len(match[0]) == 4 and match[0].isdigit() and match[0][-1] == "0"
    return Figure((value,), (_value(match[0][2:]),) if short else ())


def _other_clock(hour: Decimal) -> tuple[Decimal, ...]:
    """The same hour as a clock of 24 or of 12 hours has it."""
    return tuple(other for other in (hour + 12, hour - 12) if 0 <= other <= 24)


def _value(whole: str, fraction: str | None = None) -> Decimal:
    digits = "".join(str(unicodedata.digit(one)) for one in whole[:_MOST_DIGITS])
    rest = "".join(str(unicodedata.digit(one)) for one in (fraction or "")[:_MOST_DIGITS])
    return Decimal(f"{digits}.{rest}" if rest else digits)


def _written(value: Decimal) -> str:
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _words(text: str, language: str) -> Iterator[Decimal]:
    """What is written in words: runs of number words, each read as the numbers that it states."""
    values = _VALUES.get(language, {})
    run: list[int] = []
    end = 0
    text = text.casefold()
    for match in _WORD.finditer(text):
        read, beside = _read(match[0], values), not text[end : match.start()].strip()
        if run and beside and not read and match[0] in _AND and run[-1] in _WHOLE:
            end = match.end()
            continue
        if run and not (read and beside):
            yield from _stated(run)
            run = []
        run += read
        end = match.end()
    yield from _stated(run)


_WHOLE: Final = frozenset({100, 1_000, 1_000_000, 10**9})
_AND: Final = frozenset({"and", "und", "en", "et", "y", "e"})


def _read(word: str, values: dict[str, int]) -> list[int]:
    """The values of a word, of ``twenty-three`` two; none where a part of it is none."""
    if word in values:
        return [values[word]]
    parts = [values.get(part) for part in _APART.split(word)]
    return [] if None in parts else [part for part in parts if part is not None]


def _stated(run: list[int]) -> Iterator[Decimal]:
    """The numbers that a run of number words states."""
    total, current, last = 0, 0, 0
    for value in run:
        if value >= 1_000 and value in _WHOLE:
            total, current = total + max(1, current) * value, 0
        elif value == 100:
            current = max(1, current) * value
        elif current == 0 or (last == 100 and value < 100) or (last in range(20, 91, 10) and value < 10):
            current += value
        elif 13 <= current <= 20 and 10 <= value <= 99:
            current = current * 100 + value
        else:
            yield Decimal(total + current)
            total, current = 0, value
        last = value
    if run:
        yield Decimal(total + current)


def _table(language: str) -> dict[str, int]:
    values = {word: at for at, word in enumerate(_UNITS[language].split()) if word != "-"}
    tens = {word: at * 10 for at, word in enumerate(_TENS[language].split(), start=2)}
    if language in ("german", "dutch"):
        joint = "und" if language == "german" else "en"
        units = {"ein": 1} | {word: value for word, value in values.items() if 2 <= value <= 9}
        values |= {f"{unit}{joint}{ten}": one + of for unit, one in units.items() for ten, of in tens.items()}
    ordinals = {word: at for at, word in enumerate(_ORDINALS.get(language, "").split(), start=3)}
    if language == "german":
        ordinals = {f"{stem}{end}": at for stem, at in ordinals.items() for end in ("e", "en", "er", "es", "em")}
    tenths = {word: at * 10 for at, word in enumerate(_TENTHS.get(language, "").split(), start=2)}
    return values | tens | ordinals | tenths | _HUNDREDS[language] | _OTHERS.get(language, {})


_VALUES: Final = {language: _table(language) for language in _UNITS}
