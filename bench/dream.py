"""How well the summaries that a night writes tell what was said.

Every session of the conversations is summarised as the night does it, in the order of their days and with word
statistics of earlier days alone, and compared at equal budgets with the first sentences, with sentences by chance and
with LexRank (`bench/extracts.py`): by what they share with the summary that a person would write (ROUGE, and the
likeness of their vectors), by the names and numbers of the session that they keep, and by how many of the sessions that
answer a question are among the first three that a search of the summaries alone finds (`bench/finding.py`).

With --stored a service remembers the conversations with their own dates and dreams every night of them; what is
measured then are the summaries that it has, and the search is its own recall.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer

from bench import options
from bench.client import client_of
from bench.conversations import Asking, Conversation, read_collection
from bench.extracts import by_chance, lead, lexrank, said
from bench.finding import Encoded, best, likeness
from bench.gather import dream as dream_nights
from bench.gather import load, user_of
from bench.report import Bar, Report, Spread, new_report, print_table
from bench.rouge import rouge_l, rouge_n, words
from bench.service import Service, named, service_at
from bench.train import Data, Run
from reverie.text.entities import entities
from reverie.text.languages import detect
from reverie.text.names import name_words
from reverie.text.summaries import Turn, WordCounts, summarise

BUDGETS: Final = (60, 110)
"""Words of a summary."""

SEARCHED: Final = 60
"""The budget of the summaries that are searched."""

FIRST: Final = 3
ASKED: Final = 10
"""Summaries that recall is asked for: among them may be those of whole days."""

LEAST_FOUND: Final = 0.50
"""Of the sessions that answer a question, so many must be among the first three."""

DRAWS: Final = 3
"""Sentences by chance are drawn so many times, and the mean counts."""

RESAMPLES: Final = 10_000
ENGLISH: Final = "english"

NIGHT, LEAD, CHANCE, LEXRANK, PERSON = "night", "lead", "random", "LexRank", "a person"
OTHERS: Final = (LEAD, CHANCE, LEXRANK)

METRICS: Final = ("ROUGE-1", "ROUGE-1 recall", "ROUGE-L", "likeness", "names and numbers")
FOUND: Final = f"found in {FIRST}"

_FIGURES = re.compile(r"\d+(?:[.,:]\d+)*")

Key = tuple[str, str]
Column = npt.NDArray[np.float64]
Texts = Mapping[Key, str]


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation of one day: its key, the turns, and what a person would write of it."""

    key: Key
    day: date
    turns: list[Turn[str]]
    reference: str | None


@dataclass(slots=True)
class Measured:
    """``sessions`` has a value for each session that it can be said of, ``questions`` for each question."""

    words: float
    sessions: dict[str, dict[Key, float]] = field(default_factory=dict)
    questions: dict[tuple[str, int], float] = field(default_factory=dict)

    def values(self, metric: str) -> Mapping[Any, float]:
        return self.questions if metric == FOUND else self.sessions[metric]


def dream(
    data: Data,
    stored: Annotated[
        bool, typer.Option("--stored", help="Have a service dream, and measure the summaries that it keeps.")
    ] = False,
    run: Run = None,
    url: options.Url = None,
    key: options.Key = None,
    database_url: options.DatabaseUrl = None,
    json: options.Json = None,
    check: options.Check = False,
) -> None:
    """Measures the summaries that a night writes.

    Example: bench/dream --data locomo.json
    """
    place = named(url, key, database_url)
    report = new_report("dream", {"data": [path.name for path in data], "budgets": BUDGETS, "stored": stored})
    conversations = [one for path in data for one in read_collection(path)]
    dreamt: Dreamt | None = None
    if stored or place is not None:
        with service_at(place) as service:
            report.ask_versions(service.database_url)
            dreamt = dream_of(service, run, conversations)
    else:
        report.ask_versions(None)
    with closing(Encoded()) as encoded, options.progress() as begin:
        budgets = BUDGETS if dreamt is None else (SEARCHED,)
        advance = begin("measure", len(budgets) * (len(OTHERS) + 2))
        for budget in budgets:
            found = {}
            for name, texts in written(conversations, budget, dreamt.texts if dreamt else None):
                found[name] = measured(conversations, texts, encoded)
                advance(1)
            if dreamt is not None:
                found[NIGHT].questions = dreamt.questions
            show(report, budget, found, recalled=dreamt is not None)
    report.print_bars()
    options.finish(report, json, check=check)


@dataclass(frozen=True, slots=True)
class Dreamt:
    """What a service keeps: the summary of each session, and what its recall finds of them for each question."""

    texts: dict[Key, str]
    questions: dict[tuple[str, int], float]


def dream_of(service: Service, run: str | None, conversations: Sequence[Conversation]) -> Dreamt:
    """Has a service remember conversations (unless it has them, as ``run``) and dream every night of them.

    Raises:
        CannotMeasure: it does not do so.
    """
    found = Dreamt({}, {})
    with options.progress() as begin, client_of(service) as client:
        if run is None:
            run = "dream"
            load(client, run, conversations, begin("remember", sum(len(one.traces) for one in conversations)))
        dream_nights(service, client, run, conversations, begin("dream", len(conversations)))
        advance = begin("ask", sum(len(one.questions) for one in conversations))
        for conversation in conversations:
            user = user_of(run, conversation)
            summaries = [one for one in client.traces(user, "summary") if one["conversation_id"] is not None]
            found.texts.update({(conversation.name, one["conversation_id"]): one["content"] for one in summaries})
            for number, asked in enumerate(conversation.questions):
                results, _ = client.ask(user, asked.text, kinds=["summary"], k=ASKED, touch=False)
                # A day of several sessions has a summary of its own, in no conversation.
                first = [one["conversation_id"] for one in results if one["conversation_id"] is not None][:FIRST]
                found.questions[conversation.name, number] = share(conversation, asked, first)
                advance(1)
    return found


def sessions_of(conversation: Conversation) -> list[Session]:
    """The sessions of a conversation in the order of their days."""
    found = []
    for name, traces in groupby(conversation.traces, key=lambda trace: str(trace["conversation_id"])):
        turns = list(traces)
        found.append(
            Session(
                (conversation.name, name),
                datetime.fromisoformat(turns[0]["occurred_at"]).date(),
                [_turn(trace) for trace in turns],
                conversation.references.get(name),
            )
        )
    return sorted(found, key=lambda one: one.day)


def _turn(trace: Mapping[str, Any]) -> Turn[str]:
    text = trace["content"]
    return Turn(trace["external_id"], trace["speaker"], text, detect(text) or ENGLISH)


def written(
    conversations: Sequence[Conversation], budget: int, dreamt: Texts | None = None
) -> Iterator[tuple[str, list[Texts]]]:
    """(method, the texts of each of its draws) by every method; ``dreamt`` in place of what a night would write."""
    sessions = {one.name: sessions_of(one) for one in conversations}
    flat = [session for some in sessions.values() for session in some]
    told = {one.key: said([(turn.speaker or "", turn.text) for turn in one.turns]) for one in flat}
    if dreamt is None:
        dreamt = dict(pair for some in sessions.values() for pair in by_night(some, budget))
    # Of what nobody said anything in there is no summary.
    yield NIGHT, [{one.key: dreamt.get(one.key, "") for one in flat}]
    yield LEAD, [{key: lead(sentences, budget) for key, sentences in told.items()}]
    yield (
        CHANCE,
        [
            {key: by_chance(sentences, budget, f"{draw} {key}") for key, sentences in told.items()}
            for draw in range(DRAWS)
        ],
    )
    yield LEXRANK, [{key: lexrank(sentences, budget) for key, sentences in told.items()}]
    if all(one.reference for one in flat):
        yield PERSON, [{one.key: one.reference or "" for one in flat}]


def by_night(sessions: Sequence[Session], budget: int) -> Iterator[tuple[Key, str]]:
    """(key, summary) of the sessions of one user, each day's with the words of earlier days alone."""
    known = WordCounts()
    for _, of_a_day in groupby(sessions, key=lambda one: one.day):
        day = list(of_a_day)
        for session in day:
            yield session.key, summarise(session.turns, budget, known=known).text
        for session in day:
            known.add(session.turns)


def measured(conversations: Sequence[Conversation], draws: Sequence[Texts], encoded: Encoded) -> Measured:
    """All that is measured of the summaries of every session, the mean of several draws."""
    all_draws = [_measured(conversations, texts, encoded) for texts in draws]
    first = all_draws[0]
    return Measured(
        float(np.mean([one.words for one in all_draws])),
        {
            metric: {key: float(np.mean([one.sessions[metric][key] for one in all_draws])) for key in values}
            for metric, values in first.sessions.items()
        },
        {key: float(np.mean([one.questions[key] for one in all_draws])) for key in first.questions},
    )


def _measured(conversations: Sequence[Conversation], texts: Texts, encoded: Encoded) -> Measured:
    found = Measured(float(np.mean([len(text.split()) for text in texts.values()])))
    found.sessions = {metric: {} for metric in METRICS}
    for conversation in conversations:
        sessions = sessions_of(conversation)
        for one in sessions:
            if one.reference:
                _add_rouge(found, one.key, words(texts[one.key]), words(one.reference))
            wanted = names_and_numbers(one)
            if wanted:
                found.sessions["names and numbers"][one.key] = kept(wanted, texts[one.key])
        judged = [one for one in sessions if one.reference]
        if judged:
            alike = likeness(encoded, [texts[one.key] for one in judged], [one.reference or "" for one in judged])
            found.sessions["likeness"] |= dict(zip((one.key for one in judged), alike.tolist(), strict=True))
        found.questions |= _found(conversation, [(one.key[1], texts[one.key]) for one in sessions], encoded)
    return found


def _add_rouge(found: Measured, key: Key, summary: Sequence[str], reference: Sequence[str]) -> None:
    by_words = rouge_n(summary, reference, 1)
    found.sessions["ROUGE-1"][key] = by_words.f1
    found.sessions["ROUGE-1 recall"][key] = by_words.recall
    found.sessions["ROUGE-L"][key] = rouge_l(summary, reference).f1


def names_and_numbers(session: Session) -> frozenset[str]:
    """The names in what is said, without the speakers, and the figures."""
    speakers = frozenset(word for turn in session.turns for word in name_words(turn.speaker or ""))
    found: set[str] = set()
    for turn in session.turns:
        found |= {one.key for one in entities(turn.text) if one.sure and not name_words(one.name) <= speakers}
        found.update(_FIGURES.findall(turn.text))
    return frozenset(found)


def kept(wanted: frozenset[str], text: str) -> float:
    """The share of names and numbers whose words a text has."""
    there = name_words(text) | set(_FIGURES.findall(text))
    return float(np.mean([one in there or name_words(one) <= there for one in wanted]))


def _found(
    conversation: Conversation, texts: Sequence[tuple[str, str]], encoded: Encoded
) -> dict[tuple[str, int], float]:
    """For each question, how many of the sessions that answer it are among the first that a search finds."""
    ranked = best(encoded, [text for _, text in texts], [one.text for one in conversation.questions], FIRST)
    return {
        (conversation.name, number): share(conversation, asked, [texts[place][0] for place in places])
        for number, (asked, places) in enumerate(zip(conversation.questions, ranked, strict=True))
    }


def share(conversation: Conversation, asked: Asking, found: Sequence[str]) -> float:
    """The share of the sessions that answer a question among those that were found."""
    of_trace = {trace["external_id"]: str(trace["conversation_id"]) for trace in conversation.traces}
    evidence = {of_trace[one] for one in asked.evidence}
    return len(evidence.intersection(found)) / len(evidence)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean with its 95 % interval, by a bootstrap (Efron and Tibshirani, 1993) with a fixed seed."""
    column: Column = np.array(values, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(column), (RESAMPLES, len(column)))
    means = column[drawn].mean(axis=1)
    return float(column.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def show(report: Report, budget: int, found: Mapping[str, Measured], *, recalled: bool) -> None:
    """Prints what was measured at a budget, and adds it to the report with its bars.

    Where recall found the night's summaries (``recalled``), another search found those of the others.
    """
    metrics = [metric for metric in (*METRICS, FOUND) if found[NIGHT].values(metric)]
    table = []
    for name, one in found.items():
        means = {metric: float(np.mean(list(one.values(metric).values()))) for metric in metrics}
        report.rows.append({"budget": budget, "by": name, "words": one.words, **means})
        table.append([name, f"{one.words:.1f}", *(f"{value:.3f}" for value in means.values())])
    print_table([f"{budget} words", "words", *metrics], table, "Summaries of sessions")
    gains = [
        [metric, *(_gain(report, budget, metric, found[NIGHT], name, found[name]) for name in OTHERS)]
        for metric in metrics
        if metric != FOUND or not recalled
    ]
    print_table([f"{budget} words: more than", *OTHERS], gains, "Differences with their 95 % intervals")
    if budget == SEARCHED:
        mean, low, high = interval(list(found[NIGHT].questions.values()))
        report.bars.append(
            Bar(
                f"sessions found among the first {FIRST}",
                mean,
                "at least",
                LEAST_FOUND,
                spread=Spread(mean, low, high),
            )
        )


def _gain(report: Report, budget: int, metric: str, ours: Measured, name: str, theirs: Measured) -> str:
    """The mean gain over another method, session by session or question by question."""
    gains = [value - theirs.values(metric)[key] for key, value in ours.values(metric).items()]
    gain, low, high = interval(gains)
    report.rows.append(
        {"budget": budget, "by": NIGHT, "than": name, "metric": metric, "gain": gain, "low": low, "high": high}
    )
    if metric == "ROUGE-1":
        what = f"{budget} words: lower bound of ROUGE-1 more than {name}"
        report.bars.append(Bar(what, low, "at least", 0, spread=Spread(gain, low, high)))
    return f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    options.run(dream)
