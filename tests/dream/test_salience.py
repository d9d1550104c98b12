"""The night weighs what came without a word about its salience: once, by its words and those of earlier days."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import Remember
from tests.dream.days import MONDAY, rows, talk

from reverie.core.database import Connection
from reverie.dream.salience import LOOK_BACK
from reverie.runtime import Runtime

NIGHT = datetime(2026, 3, 3, 4, tzinfo=UTC)


async def saliences(owner: Connection, kinds: tuple[str, ...] = ("turn", "note", "fact", "chunk")) -> dict[str, float]:
    """The stored salience of each trace, by its text."""
    found = await rows(
        owner,
        "SELECT b.content, round(t.salience::numeric, 6)::float8 FROM memory_trace t"
        " JOIN memory_body b ON b.trace_id = t.id WHERE t.kind = ANY(%s)",
        list(kinds),
    )
    return dict(found)


async def test_what_nobody_weighed_is_weighed_and_what_was_given_stays(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    given: dict[str, Any] = {
        "content": "Hm, thanks!",
        "kind": "turn",
        "salience": 0.9,
        "occurred_at": f"{MONDAY}T09:00:00Z",
    }
    neutral: dict[str, Any] = {
        "content": "My passport number is 4711.",
        "salience": 0.5,
        "occurred_at": f"{MONDAY}T09:01:00Z",
    }
    await remember("ann", *talk("c1"), given, neutral)
    [(version,)] = await rows(owner, "SELECT version FROM memory_user")
    outcome = await runtime.dreams.run(as_of=NIGHT)
    did = outcome.stages["salience"].did
    assert (outcome.state, did.saw, did.changed) == ("done", 7, 5), outcome
    found = await saliences(owner)
    assert found[given["content"]] == 0.9
    assert found[neutral["content"]] == 0.5
    told = talk("c1")
    adopted, lovely = told[0]["content"], told[1]["content"]
    assert found[adopted] > 0.7 > 0.45 > found[lovely]
    assert (await rows(owner, "SELECT count(*) FROM memory_trace WHERE updated_at IS NOT NULL AND kind = 'turn'")) == [
        (0,)
    ]
    # Recall weighs by it, so answers that are kept are made anew.
    assert (await rows(owner, "SELECT version FROM memory_user"))[0][0] > version


async def test_it_is_weighed_once(
    caller: httpx.AsyncClient, remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    await remember("ann", *talk("c1"))
    await runtime.dreams.run(as_of=NIGHT)
    first = await saliences(owner)
    # The day is dreamt again, for there is more of it: words that were new are not so new any more.
    late = {"content": "The beagle Otis chewed shoes in Lisbon with Clara.", "occurred_at": f"{MONDAY}T08:00:00Z",
            "kind": "turn", "role": "user"}  # fmt: skip
    await remember("ann", late)
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert outcome.stages["salience"].did.changed == 1
    again = await saliences(owner)
    assert {text: again[text] for text in first} == first
    assert again[late["content"]] != 0.5


async def test_what_is_set_down_on_purpose_is_never_little_and_documents_are_left(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    times = {"occurred_at": f"{MONDAY}T09:00:00Z"}
    await remember(
        "ann",
        {"content": "OK, thanks.", "kind": "turn"} | times,
        {"content": "Sure, great.", "kind": "note"} | times,
        {"content": "Yes, good.", "kind": "fact"} | times,
        {"content": "Mother's surgery is on 4 April in Leiden.", "kind": "note"} | times,
        {"content": "Press the red button twice.", "kind": "chunk"} | times,
    )
    outcome = await runtime.dreams.run(as_of=NIGHT)
    found = await saliences(owner)
    assert found["OK, thanks."] < 0.3
    assert found["Sure, great."] == found["Yes, good."] == found["Press the red button twice."] == 0.5
    assert found["Mother's surgery is on 4 April in Leiden."] > 0.6
    assert outcome.stages["salience"].did.changed == 2


async def test_words_of_earlier_days_count_and_of_later_ones_do_not(
    remember: Remember, owner: Connection, runtime: Runtime
) -> None:
    text = "The heron nests behind the sawmill."

    def on(day: int, content: str) -> dict[str, Any]:
        return {"content": content, "kind": "turn", "role": "user", "occurred_at": f"2026-03-{day:02}T10:00:00Z"}

    await remember("first", on(2, f"{text} Quince."))
    await remember("second", on(1, text), on(2, f"{text} Medlar."))
    await remember("third", on(2, f"{text} Sorrel."), on(3, text))
    await runtime.dreams.run(as_of=NIGHT + timedelta(days=2))
    found = await saliences(owner)
    assert found[f"{text} Medlar."] < found[f"{text} Quince."]
    assert found[f"{text} Sorrel."] == found[f"{text} Quince."]


@pytest.mark.parametrize("count", [1, LOOK_BACK + 1])
async def test_any_number_of_earlier_traces_is_looked_back_on(
    remember: Remember, owner: Connection, runtime: Runtime, count: int
) -> None:
    day = {"kind": "turn", "occurred_at": "2026-03-01T10:00:00Z"}
    await remember("ann", *({"content": f"Bell {n}.", "embedding": [1.0] * 384} | day for n in range(count)))
    await remember("ann", {"content": "A bell rang.", "kind": "turn", "occurred_at": f"{MONDAY}T10:00:00Z"})
    outcome = await runtime.dreams.run(as_of=NIGHT)
    assert outcome.state == "done"
    assert 0 < (await saliences(owner))["A bell rang."] < 0.5
