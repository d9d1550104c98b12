"""The question of docs/dream.md: "What do I know about …"."""

import re
from pathlib import Path

import httpx
from tests.conftest import Remember
from tests.dream.days import MONDAY, NIGHT, TUESDAY

from reverie.runtime import Runtime

DOCUMENT = (Path(__file__).parents[2] / "docs" / "dream.md").read_text(encoding="utf-8")
SAID = re.findall(r"^> (.+)$", DOCUMENT, re.MULTILINE)
TABLE = DOCUMENT.partition("| entity |")[2].partition("\n\n")[0].splitlines()[2:]


async def test_what_is_known_of_somebody(caller: httpx.AsyncClient, remember: Remember, runtime: Runtime) -> None:
    for text, day in zip(SAID, (MONDAY, TUESDAY), strict=True):
        turn = {"content": text, "role": "user", "speaker": "Mara", "conversation_id": day}
        await remember("mara", turn | {"occurred_at": f"{day}T09:00:00Z"})
    await runtime.dreams.run(as_of=NIGHT)
    asked = {"user_id": "mara", "q": "What do I know about Mara?", "kinds": ["entity"], "recipe": "thorough"}
    answer = (await caller.post("/memory/recall", json=asked)).json()
    names = {one["trace_id"]: one["content"] for one in answer["results"]}
    types, stated, who = dict[str, str](), set[tuple[str, str, str]](), ""
    for line in TABLE:
        entity, kind, edge, to = (cell.strip(" `") for cell in line.strip("|").split("|"))
        who = entity or who
        types |= {entity: kind} if entity else {}
        stated |= {(who, edge, to)} if edge else set()
    assert {one["content"]: one["meta"]["type"] for one in answer["results"]} == types
    assert {(names[one["src"]], one["type"], names[one["dst"]]) for one in answer["edges"]} == stated
    turns = (await caller.post("/memory/recall", json=asked | {"kinds": ["entity", "turn"]})).json()["results"]
    newer, older = (one for one in turns if one["kind"] == "turn")
    assert (newer["content"], older["content"]) == (SAID[1], SAID[0])
    assert older["superseded_by"] == newer["trace_id"]
