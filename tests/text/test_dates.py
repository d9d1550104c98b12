"""The times that a question names, seen from Wednesday, 20 May 2026."""

from datetime import UTC, datetime, timedelta

import pytest

from reverie.text.dates import MOST_CHARS, MOST_SPANS, mentioned, read
from reverie.text.spans import EARLIEST, LATEST

NOW = datetime(2026, 5, 20, 14, 30, tzinfo=UTC)

NEAR = [
    ("What did I eat yesterday?", "2026-05-19", "2026-05-20"),
    ("What is on today?", "2026-05-20", "2026-05-21"),
    ("And tonight?", "2026-05-20", "2026-05-21"),
    ("What happens tomorrow", "2026-05-21", "2026-05-22"),
    ("Who called the day before yesterday?", "2026-05-18", "2026-05-19"),
    ("Who calls the day after tomorrow?", "2026-05-22", "2026-05-23"),
    ("What did we hear last night?", "2026-05-19T18:00", "2026-05-20T06:00"),
    ("Who came two hours ago?", "2026-05-20T12:00", "2026-05-20T13:00"),
    ("Whom did I meet the other day?", "2026-05-13", "2026-05-20"),
    ("What did I do 5 days ago?", "2026-05-15", "2026-05-16"),
    ("What did I do a few days ago?", "2026-05-15", "2026-05-19"),
    ("What did I read a week ago?", "2026-05-10", "2026-05-17"),
    ("What did I read two weeks ago?", "2026-05-03", "2026-05-10"),
    ("Where was I a couple of weeks ago?", "2026-05-03", "2026-05-10"),
    ("Where was I 3 months ago?", "2026-02-01", "2026-03-01"),
    ("Where was I six months ago?", "2025-11-01", "2025-12-01"),
    ("Where was I half a year ago?", "2025-11-01", "2025-12-01"),
    ("Where did Ada live 4 years ago?", "2022-01-01", "2023-01-01"),
    ("What comes two weeks from now?", "2026-05-31", "2026-06-07"),
    ("What comes in 3 days?", "2026-05-23", "2026-05-24"),
]
WEEKS = [
    ("What did Bo say last week?", "2026-05-11", "2026-05-18"),
    ("What did Bo say last week's meeting?", "2026-05-11", "2026-05-18"),
    ("What is due this week?", "2026-05-18", "2026-05-25"),
    ("What is due next week?", "2026-05-25", "2026-06-01"),
    ("What did he say the week before last?", "2026-05-04", "2026-05-11"),
    ("What did he say in the past week?", "2026-05-13", "2026-05-21"),
    ("What did he say in the last two weeks?", "2026-05-06", "2026-05-21"),
    ("What did he say over the last 10 days?", "2026-05-10", "2026-05-21"),
    ("What did he say in the past few months?", "2025-12-20", "2026-05-21"),
    ("Where did I hike last weekend?", "2026-05-16", "2026-05-18"),
    ("Where did I hike over the weekend?", "2026-05-16", "2026-05-18"),
    ("Where do I hike this weekend?", "2026-05-23", "2026-05-25"),
    ("Where do I hike next weekend?", "2026-05-30", "2026-06-01"),
    ("Whom did I meet on Friday?", "2026-05-15", "2026-05-16"),
    ("Whom did I meet on Wednesday?", "2026-05-20", "2026-05-21"),
    ("Whom did I meet last Wednesday?", "2026-05-13", "2026-05-14"),
    ("Whom did I meet last Friday?", "2026-05-15", "2026-05-16"),
    ("Whom do I meet next Friday?", "2026-05-22", "2026-05-23"),
    ("Whom do I meet this Sunday?", "2026-05-24", "2026-05-25"),
    ("Whom did I meet on Tuesday of last week?", "2026-05-12", "2026-05-13"),
    ("What was said in the week of 5 June 2023?", "2023-06-05", "2023-06-12"),
    ("What was said the week of June 7?", "2025-06-02", "2025-06-09"),
    ("Where was Tim in the week before 16 November 2023?", "2023-11-09", "2023-11-16"),
    ("Which city in the second week of November?", "2025-11-08", "2025-11-15"),
    ("Which city in the last week of February 2024?", "2024-02-23", "2024-03-01"),
    ("The Sunday before October 25, 2022?", "2022-10-23", "2022-10-24"),
    ("What on the first Monday of June 2023?", "2023-06-05", "2023-06-06"),
    ("What on the last Friday in May 2023?", "2023-05-26", "2023-05-27"),
    ("What on the first weekend of July 2023?", "2023-07-01", "2023-07-03"),
]
MONTHS = [
    ("Where was I last May?", "2025-05-01", "2025-06-01"),
    ("Where was I in May?", "2026-05-01", "2026-06-01"),
    ("Where was I in June?", "2025-06-01", "2025-07-01"),
    ("Where was I last month?", "2026-04-01", "2026-05-01"),
    ("Where am I next June?", "2026-06-01", "2026-07-01"),
    ("Where am I next May?", "2027-05-01", "2027-06-01"),
    ("Where was I this May?", "2026-05-01", "2026-06-01"),
    ("What did she do in February?", "2026-02-01", "2026-03-01"),
    ("What deal did John get in December?", "2025-12-01", "2026-01-01"),
    ("What did he win in Sept 2022?", "2022-09-01", "2022-10-01"),
    ("What did he win in the month of March 2022?", "2022-03-01", "2022-04-01"),
    ("What did he win during 2023-04?", "2023-04-01", "2023-05-01"),
    ("Any news as of late August 2023?", "0001-01-01", "2023-09-01"),
    ("Any news in early May 2023?", "2023-05-01", "2023-05-11"),
    ("Any news in mid-May 2023?", "2023-05-11", "2023-05-22"),
    ("Any news at the end of May 2023?", "2023-05-22", "2023-06-01"),
    ("Any news in the beginning of November 2022?", "2022-11-01", "2022-11-11"),
    ("Was the first half of September 2022 good?", "2022-09-01", "2022-09-16"),
    ("What grew in Q3 2022?", "2022-07-01", "2022-10-01"),
    ("What grew in the third quarter of 2022?", "2022-07-01", "2022-10-01"),
    ("What grew last quarter?", "2026-01-01", "2026-04-01"),
]
DAYS = [
    ("What happened on 3 May 2023?", "2023-05-03", "2023-05-04"),
    ("What happened on May 3, 2023?", "2023-05-03", "2023-05-04"),
    ("What happened on May 3rd 2023?", "2023-05-03", "2023-05-04"),
    ("What happened on the 3rd of May, 2023?", "2023-05-03", "2023-05-04"),
    ("What happened on 3 May?", "2026-05-03", "2026-05-04"),
    ("What happened on 3 June?", "2025-06-03", "2025-06-04"),
    ("What happened on the first of June?", "2025-06-01", "2025-06-02"),
    ("What happened on the 5th?", "2026-05-05", "2026-05-06"),
    ("What happened on Wednesday, 3 May 2023?", "2023-05-03", "2023-05-04"),
    ("What happened on 2023-05-03?", "2023-05-03", "2023-05-04"),
    ("What happened at 2023-05-03T10:00:00Z?", "2023-05-03", "2023-05-04"),
    ("What happened on 25/6/2023?", "2023-06-25", "2023-06-26"),
    ("What happened on 25.06.2023?", "2023-06-25", "2023-06-26"),
    ("What happened on March-15-2024?", "2024-03-15", "2024-03-16"),
    ("What of December 1,2023 is left?", "2023-12-01", "2023-12-02"),
    ("And 1:56 pm on 8 May, 2023?", "2023-05-08", "2023-05-09"),
    ("What happened on 29 February?", "2024-02-29", "2024-03-01"),
    ("What happened two weeks before August 11, 2023?", "2023-07-25", "2023-08-01"),
    ("What happened the day after August 11, 2023?", "2023-08-12", "2023-08-13"),
    ("What happened three days after Christmas 2022?", "2022-12-29", "2022-12-30"),
]
LONG = [
    ("What did I do in 2022?", "2022-01-01", "2023-01-01"),
    ("What did I do last year?", "2025-01-01", "2026-01-01"),
    ("What did I do this year?", "2026-01-01", "2027-01-01"),
    ("What did I do in the last year?", "2025-01-01", "2026-01-01"),
    ("What did I do last summer?", "2025-06-01", "2025-09-01"),
    ("What did I do in summer 2021?", "2021-06-01", "2021-09-01"),
    ("What did I do in the fall of 2021?", "2021-09-01", "2021-12-01"),
    ("What did I do in the summer of '69?", "1969-06-01", "1969-09-01"),
    ("What did I do in the spring?", "2026-03-01", "2026-06-01"),
    ("What did I do last winter?", "2025-12-01", "2026-03-01"),
    ("What are the plans for next summer?", "2026-06-01", "2026-09-01"),
    ("What did I do at the end of last year?", "2025-09-01", "2026-01-01"),
    ("What did I hear in the 1990s?", "1990-01-01", "2000-01-01"),
    ("What did I hear in the '80s?", "1980-01-01", "1990-01-01"),
    ("What did I hear in the nineties?", "1990-01-01", "2000-01-01"),
    ("What about Christmas 2022?", "2022-12-24", "2022-12-27"),
    ("What about last Christmas?", "2025-12-24", "2025-12-27"),
    ("What did we do on New Year's Eve?", "2025-12-31", "2026-01-01"),
    ("What did we do at Easter 2023?", "2023-04-07", "2023-04-11"),
    ("What did we do on Thanksgiving?", "2025-11-27", "2025-11-28"),
    ("What did I wear at Halloween last year?", "2025-10-31", "2025-11-01"),
]
RANGES = [
    ("What happened between March and May?", "2026-03-01", "2026-06-01"),
    ("What happened between March and May 2023?", "2023-03-01", "2023-06-01"),
    ("What happened from November to January?", "2025-11-01", "2026-02-01"),
    ("What happened between November 2022 and February?", "2022-11-01", "2023-03-01"),
    ("Where was John between August 11 and August 15 2023?", "2023-08-11", "2023-08-16"),
    ("Where was John between 3 and 10 May 2023?", "2023-05-03", "2023-05-11"),
    ("Where was John 3-10 May 2023?", "2023-05-03", "2023-05-11"),
    ("Where was John from May 3 to 10, 2023?", "2023-05-03", "2023-05-11"),
    ("Where was John from 2020 to 2022?", "2020-01-01", "2023-01-01"),
    ("Where was John 2020–2022?", "2020-01-01", "2023-01-01"),
    ("Where was John from Monday to Tuesday?", "2026-05-18", "2026-05-20"),
    ("What changed since March?", "2026-03-01", "2026-05-21"),
    ("What changed since yesterday?", "2026-05-19", "2026-05-21"),
    ("What changed from March 2023 on?", "2023-03-01", "2026-05-21"),
    ("What changed after 5 June 2023?", "2023-06-06", "2026-05-21"),
    ("How many had he won by July 10, 2022?", "0001-01-01", "2022-07-11"),
    ("What was it like before 2022?", "0001-01-01", "2022-01-01"),
    ("What was it like until May 2022?", "0001-01-01", "2022-06-01"),
]
FOREIGN = [
    ("Was haben wir gestern gegessen?", "2026-05-19", "2026-05-20"),
    ("Wo war ich letzte Woche?", "2026-05-11", "2026-05-18"),
    ("Wo war ich vor 3 Monaten?", "2026-02-01", "2026-03-01"),
    ("Was war im Mai 2023 los?", "2023-05-01", "2023-06-01"),
    ("Was ist am 3. Mai 2023 passiert?", "2023-05-03", "2023-05-04"),
    ("Was hat er im Dezember gesagt?", "2025-12-01", "2026-01-01"),
    ("Qu'est-ce que nous avons fait hier ?", "2026-05-19", "2026-05-20"),
    ("Où était-elle en mai 2023 ?", "2023-05-01", "2023-06-01"),
    ("Qui a appelé le 3 mai 2023 ?", "2023-05-03", "2023-05-04"),
    ("Qui est venu il y a 3 mois ?", "2026-02-01", "2026-03-01"),
    ("Qui est venu la semaine dernière ?", "2026-05-11", "2026-05-18"),
    ("¿Qué hicimos ayer?", "2026-05-19", "2026-05-20"),
    ("¿Dónde estaba en mayo de 2023?", "2023-05-01", "2023-06-01"),
    ("¿Qué hizo el 3 de mayo de 2023?", "2023-05-03", "2023-05-04"),
    ("Wen traf ich letzten Freitag?", "2026-05-15", "2026-05-16"),
    ("Was war vor zwei Jahren?", "2024-01-01", "2025-01-01"),
    ("Que s'est-il passé le 1er mai 2023 ?", "2023-05-01", "2023-05-02"),
    ("Qui avons-nous rencontré vendredi dernier ?", "2026-05-15", "2026-05-16"),
    ("¿Qué pasó hace dos semanas?", "2026-05-04", "2026-05-11"),
    ("¿Qué pasó el viernes pasado?", "2026-05-15", "2026-05-16"),
    ("¿Qué hizo hace 3 meses?", "2026-02-01", "2026-03-01"),
    ("¿Qué hizo la semana pasada?", "2026-05-11", "2026-05-18"),
]
NOTHING = [
    "What is the cat called?",
    "May I ask what she may do?",
    "How did the march go, and will the troops march on?",
    "What did April say to June?",
    "Who wrote about the fall of Rome?",
    "What do you do between 3 and 5 pm?",
    "When was the last time we met for the second week on the job?",
    "Did he fall into the water of a spring?",
    "How many days passed between the two?",
    "How many weeks did it take?",
    "What happened on 31 February 2023?",
    "What happened on 2023-13-45?",
    "What happened on 45/45/2023?",
    "Who wrote 2000 words for $2022, 60% of 3,600?",
    "What is version v2022 of D1:12?",
    "Where is here, and what is hier?",
    "Was she the last one?",
    "Day after day, year after year",
    "",
]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("question", "since", "until"), [*NEAR, *WEEKS, *MONTHS, *DAYS, *LONG, *RANGES, *FOREIGN], ids=lambda value: value
)
def test_what_a_question_means(question: str, since: str, until: str) -> None:
    (span,) = mentioned(question, NOW)
    assert (span.since, span.until) == (moment(since), moment(until))
    assert span.text in question.replace("–", "-")


@pytest.mark.parametrize("question", NOTHING)
def test_what_names_no_time(question: str) -> None:
    assert read(question, NOW) == ([], [])


def test_a_span_says_how_exact_it_is_and_in_which_words() -> None:
    spans = mentioned("In 2022, last May, on 3 June 2023 or the week of 5 June?", NOW)
    assert [(span.kind, span.text) for span in spans] == [
        ("year", "2022"), ("month", "last May"), ("day", "3 June 2023"), ("week", "week of 5 June")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "since"),
    [
        ("What was his issue last week, as mentioned on November 6, 2023?", "2023-10-30"),
        ("What did Maria do last weekend before April 10, 2023?", "2023-04-08"),
        ("What did Joanna finish last Friday on 24 January, 2022?", "2022-01-21"),
        ("Where had she moved from 4 years ago, on 2 June 2023?", "2019-01-01"),
    ],
)
def test_relative_words_are_counted_from_the_one_full_date_beside_them(question: str, since: str) -> None:
    assert mentioned(question, NOW)[0].since == moment(since)


def test_a_date_in_figures_is_read_both_ways_where_both_are_dates() -> None:
    spans = mentioned("What happened on 5/6/2023?", NOW)
    assert {span.since for span in spans} == {moment("2023-05-06"), moment("2023-06-05")}
    assert len(mentioned("What happened on 5/5/2023?", NOW)) == 1


@pytest.mark.parametrize(
    ("question", "yearly"),
    [
        ("in May", True),
        ("on 3 May", True),
        ("in the summer", True),
        ("at Christmas", True),
        ("the first week of May", True),
        ("in May 2023", False),
        ("last May", False),
        ("last summer", False),
        ("Wo war ich im Dezember?", True),
        ("Wo war ich im Mai 2023?", False),
        ("yesterday", False),
        ("on Friday", False),
        ("between March and May", True),
        ("in 2022", False),
    ],
)
def test_what_names_no_year_may_mean_another(question: str, yearly: bool) -> None:
    (span,) = mentioned(question, NOW)
    assert span.yearly is yearly


RELATIVES = [
    ("What did I buy two weeks before the wedding?", -14, "wedding", "week"),
    ("Who came the day after my birthday party?", 1, "birthday party", "day"),
    ("Where did we eat on the day of the concert?", 0, "concert", "day"),
    ("Where did we eat the week after she adopted Coco?", 7, "adopted Coco", "week"),
    ("A month prior to our move, what did I sell?", -30, "move", "month"),
    ("3 days after the accident what did the doctor say?", 3, "accident", "day"),
    ("What did he say the night before the interview?", -1, "interview", "day"),
    ("How did it look a few days after the storm?", 3.5, "storm", "day"),
]


@pytest.mark.parametrize(("question", "offset", "anchor", "kind"), RELATIVES)
def test_what_is_told_by_an_event(question: str, offset: float, anchor: str, kind: str) -> None:
    found = read(question, NOW)
    assert found.spans == []
    (relative,) = found.relatives
    assert (relative.offset, relative.anchor, relative.kind) == (timedelta(days=offset), anchor, kind)
    assert relative.text in question


def test_days_are_those_of_utc() -> None:
    evening_in_america = datetime.fromisoformat("2026-05-20T20:30:00-05:00")
    assert mentioned("yesterday", evening_in_america)[0].since == moment("2026-05-20")


def test_of_a_long_question_the_beginning_and_the_end_are_read() -> None:
    filler = "and so it went on " * 10_000
    spans = mentioned(f"In 2021 {filler} in 2022 {filler} in 2023?", NOW)
    assert [span.text for span in spans] == ["2021", "2023"]
    assert len(mentioned("in 2022 or " * MOST_CHARS, NOW)) == MOST_SPANS


@pytest.mark.parametrize("year", [1, 2, 9998, 9999])
def test_at_the_ends_of_time_what_does_not_fit_is_left_out(year: int) -> None:
    now = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    said = "last year, next year, 10 years ago, in the last 5 decades, next winter, last Christmas, this week, tomorrow"
    for span in mentioned(said, now):
        assert EARLIEST <= span.since < span.until <= LATEST
