"""Dates in German, French and Spanish: the words that make up a date are cut out here and read by ``dateparser``."""

import re
from collections.abc import Callable, Iterator, Sequence, Set
from datetime import date, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from reverie.text.date_words import words_of
from reverie.text.spans import Span, day_of, month, quarter, week_of, years

if TYPE_CHECKING:
    from dateparser.date import DateDataParser  # type: ignore[import-untyped]

MOST_PHRASES: Final = 3
MOST_WORDS: Final = 8
MOST_CACHED: Final = 1024


class Language(NamedTuple):
    """The words of a language: names of months and of days, units, what makes a unit a date, numbers, what may stand
    between, and words by which the language is known."""

    code: str
    months: frozenset[str]
    names: frozenset[str]
    units: frozenset[str]
    signals: frozenset[str]
    numbers: dict[str, str]
    between: frozenset[str]
    marks: frozenset[str]


def _language(
    code: str, months: str, others: str, units: str, signals: str, numbers: str, between: str, marks: str
) -> Language:
    counted = {word: str(number) for number, word in enumerate(numbers.split(), 2)}
    return Language(
        code,
        months=words_of(months),
        names=words_of(f"{months} {others}"),
        units=words_of(units),
        signals=words_of(signals),
        numbers=counted,
        between=words_of(between),
        marks=words_of(marks),
    )


LANGUAGES: Final = MappingProxyType(
    {
        one.code: one
        for one in (
            _language(
                "de",
                "januar jänner februar märz april mai juni juli august september oktober november dezember",
                "montag dienstag mittwoch donnerstag freitag samstag sonntag gestern vorgestern heute übermorgen",
                "tag tage tagen woche wochen monat monate monaten jahr jahre jahren",
                "vor letzte letzten letzter letztes letztem vorige vorigen voriger voriges vorigem diese diesen dieser "
                "dieses diesem nächste nächsten nächster nächstes",
                "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
                "im den der einem einer ein eine",
                "wann wer wie wo warum was welche welcher welches welchen ich wir ihr und ist hat habe haben hatte "
                "hatten mein meine meinen meinem unser unsere der das dem im am vom nicht mit über für war waren ging "
                "wen wem",
            ),
            _language(
                "fr",
                "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
                "lundi mardi mercredi jeudi vendredi samedi dimanche hier avant-hier aujourd'hui",
                "jour jours semaine semaines mois an ans année années l'année",
                "il y a dernier dernière derniers dernières passé passée prochain prochaine cette ce",
                "deux trois quatre cinq six sept huit neuf dix onze douze",
                "le la du un une er",
                "quand qui quoi que quel quelle quels quelles est où pourquoi nous vous je j'ai avons avez avait a "
                "fait le les une du des dans avec ai qu ce mon ma mes notre en elle était",
            ),
            _language(
                "es",
                "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
                "lunes martes miércoles jueves viernes sábado domingo ayer anteayer hoy",
                "día días semana semanas mes meses año años",
                "hace pasado pasada pasados pasadas último última próximo próxima este esta",
                "dos tres cuatro cinco seis siete ocho nueve diez once doce",
                "el la de del un una",
                "cuándo cuando qué quién quiénes dónde cómo por porque cuál hicimos el los las una del en con mi mis "
                "fue fui hizo hice pasó está estaba que nuestro nuestra yo nosotros",
            ),
        )
    }
)

_ENGLISH: Final = words_of(
    "what when who whom whose where why how which did does do is are the of and were with my her his to in on at has "
    "have had for about their our from"
)
GATE: Final = frozenset().union(*(one.names | one.units for one in LANGUAGES.values()))
_PERIODS: Final[dict[str, Callable[[date], Span]]] = {
    "week": week_of,
    "month": lambda day: month(day.year, day.month),
    "quarter": lambda day: quarter(day.year, (day.month + 2) // 3),
    "year": lambda day: years(day.year),
}
_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d{1,4}(?!\d)|\S")
_YEAR = re.compile(r"\b\d{4}\b")


def language_of(words: Set[str]) -> Language | None:
    """The language of a question's words in lower case, of those that are read here; None if it is English or another.

    Only by common words, and only where a word of a date occurs.
    """
    if GATE.isdisjoint(words):
        return None
    found = max(LANGUAGES.values(), key=lambda one: len(words & one.marks))
    return found if len(words & found.marks) > len(words & _ENGLISH) else None


def spans(text: str, language: Language, now: datetime) -> list[Span]:
    """What a text in that language names; relative dates are counted from ``now`` (UTC)."""
    found = []
    for phrase in _phrases(text, language):
        for tried in _shorter(phrase):
            span = _read(tried.lower(), language.code, now.date())
            if span is not None:
                found.append(span._replace(text=phrase))
                break
    return found


def warm() -> None:
    """Loads the parser, and what it makes of each language when it first meets a name."""
    for code, language in LANGUAGES.items():
        for phrase in ("1.1.2000", *language.names):
            _read(phrase, code, date(2000, 1, 1))


def _phrases(text: str, language: Language) -> list[str]:
    """The runs of words that may be a date, at most :data:`MOST_PHRASES`."""
    phrases: list[str] = []
    run: list[re.Match[str]] = []
    for token in [*_TOKEN.finditer(text), None]:
        if token is not None and _belongs(token[0].lower(), run, language):
            run.append(token)
            continue
        if _is_date({one[0].lower() for one in run}, language):
            phrases.append(text[run[max(0, len(run) - MOST_WORDS)].start() : run[-1].end()].rstrip(" ."))
            if len(phrases) == MOST_PHRASES:
                break
        run = []
    return phrases


def _belongs(word: str, run: Sequence[re.Match[str]], language: Language) -> bool:
    return (
        word.isdigit()
        or word in language.names
        or word in language.units
        or word in language.signals
        or word in language.between
        or word in language.numbers
        or (word == "." and bool(run) and run[-1][0].isdigit())
    )


def _is_date(said: set[str], language: Language) -> bool:
    return not said.isdisjoint(language.names) or not (
        said.isdisjoint(language.units) or said.isdisjoint(language.signals)
    )


def _shorter(phrase: str) -> Iterator[str]:
    """A phrase, and what is left of it without one or two of its outer words, which the parser may not know."""
    words = phrase.split()
    for first, behind in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1)):
        if len(words) > first + behind:
            yield " ".join(words[first : len(words) - behind])


@lru_cache(maxsize=MOST_CACHED)
def _read(phrase: str, code: str, today: date) -> Span | None:
    """What the parser makes of a phrase, as exact as it says it is."""
    numbers = LANGUAGES[code].numbers
    said = " ".join(numbers.get(word, word) for word in phrase.split())
    try:
        found = _parser(code, today).get_date_data(said)
        if found.date_obj is None:
            return None
        span = _PERIODS.get(found.period, day_of)(found.date_obj.date())
    except (ValueError, OverflowError):
        return None
    named = not LANGUAGES[code].months.isdisjoint(said.split()) and _YEAR.search(said) is None
    return span._replace(yearly=named)


@lru_cache(maxsize=len(LANGUAGES))
def _parser(code: str, today: date) -> "DateDataParser":
    from dateparser.date import DateDataParser

    settings = {
        # The parser wants it without a zone.
        "RELATIVE_BASE": datetime(today.year, today.month, today.day, 12),  # noqa: DTZ001
        "PREFER_DATES_FROM": "past",
        "PREFER_DAY_OF_MONTH": "first",
        "TIMEZONE": "UTC",
        "RETURN_AS_TIMEZONE_AWARE": False,
    }
    return DateDataParser(languages=[code], settings=settings)
