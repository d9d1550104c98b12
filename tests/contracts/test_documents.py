"""What is written down is true: settings, routes, commands, versions, and the layers of the house."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import typer
import yaml
from jsonschema import Draft202012Validator

from reverie import __version__
from reverie.cli.main import app as command_line
from reverie.core.config import Settings, load_settings
from tests.contracts.house import ROUTES, WITH_KEY, House, Person, Route, furnish_person, operations

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

CALLERS = {"REVERIE_URL", "REVERIE_KEY", "REVERIE_PROFILE", "REVERIE_CONFIG"}
"""Variables that are no settings of the service: the command line's, and where the settings themselves are."""

COMPOSE = "# --- Docker Compose"
"""Where the variables begin that docker-compose.yml alone reads; test_compose.py holds those to it."""

_ASSIGNMENT = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$")


class TestSettings:
    """.env.example against Settings."""

    TEXT = (ROOT / ".env.example").read_text(encoding="utf-8")
    LINES = TEXT.partition(COMPOSE)[0].splitlines()

    def assignments(self) -> list[tuple[bool, str, str]]:
        """(whether it is commented out, name, value) of each."""
        found = (_ASSIGNMENT.match(line) for line in self.LINES)
        return [(bool(one[1]), one[2], one[3]) for one in found if one]

    @pytest.fixture(autouse=True)
    def bare(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An environment that sets nothing."""
        for name in [*(field.upper() for field in Settings.model_fields), *CALLERS]:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)

    def test_every_setting_is_there_and_nothing_else(self) -> None:
        assert {name for _, name, _ in self.assignments()} == {n.upper() for n in Settings.model_fields} | CALLERS

    def test_what_is_set_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        default = load_settings()
        given = [(name, value) for commented, name, value in self.assignments() if not commented]
        assert len(given) == len(dict(given)) > 20
        for name, value in given:
            monkeypatch.setenv(name, value)
            assert getattr(load_settings(), name.lower()) == getattr(default, name.lower()), name
            assert value == str(getattr(default, name.lower())), name

    def test_what_is_commented_out_has_no_fixed_default_or_is_another_choice(self) -> None:
        default = load_settings()
        fixed = {name for commented, name, _ in self.assignments() if not commented}
        for commented, name, value in self.assignments():
            if commented and name not in fixed | CALLERS | {"REVERIE_HOME"}:
                assert getattr(default, name.lower()) is None, name
            if commented and value:
                load_settings(**{name.lower(): value})

    def test_every_one_has_a_comment(self) -> None:
        for paragraph in self.TEXT.split("\n\n"):
            lines = paragraph.splitlines()
            if any(_ASSIGNMENT.match(line) for line in lines):
                assert lines[0].startswith("# "), paragraph
                assert not _ASSIGNMENT.match(lines[0]), paragraph

    def test_the_alternative_is_what_it_is_said_to_be(self) -> None:
        settings = load_settings(embedding_model="bge-m3", embedding_dim=768)
        assert "# EMBEDDING_MODEL=bge-m3" in self.LINES
        assert "# EMBEDDING_DIM=768" in self.LINES
        assert settings.embedding_model == "BAAI/bge-m3"

    @pytest.mark.parametrize(
        "line",
        [
            "GRAPH_BACKEND=postgres", "MEMORY_HOT_DAYS=30", "MEMORY_K=10", "MEMORY_HNSW=auto",
            "EMBEDDING_PRECISION=fp16",
            "MEMORY_SALIENCE_WRITE_THRESHOLD=0.35", "REDIS_FOCUS_TTL_SECONDS=172800", "# DATABASE_URL=", "# REDIS_URL=",
        ],
    )  # fmt: skip
    def test_the_ones_that_others_rely_on(self, line: str) -> None:
        assert line in self.LINES


@pytest.fixture
async def person(house: House) -> Person:
    """Somebody whose own space may change."""
    return await furnish_person(house.api, f"documented {uuid4()}", "A documented password.")


class TestOpenApi:
    """The document of the API, against itself and against what is answered."""

    @pytest.fixture
    def document(self, house: House) -> dict[str, Any]:
        return house.api.app.openapi()

    def test_it_is_well_formed(self, document: dict[str, Any]) -> None:
        assert document["openapi"].startswith("3.1.")
        assert document["info"]["version"] == __version__
        ids = []
        for path, methods in document["paths"].items():
            for operation in methods.values():
                ids.append(operation["operationId"])
                named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
                assert named == set(re.findall(r"{(\w+)}", path)), path
                names = [(one["name"], one["in"]) for one in operation.get("parameters", [])]
                assert len(names) == len(set(names)), path
                assert operation["summary"]
                assert operation["description"], path
                assert all(response["description"] for response in operation["responses"].values())
                assert bool(operation.get("security")) == (not path.startswith("/health"))
        assert len(ids) == len(set(ids))

    def test_every_schema_is_one(self, document: dict[str, Any]) -> None:
        for name, schema in document["components"]["schemas"].items():
            Draft202012Validator.check_schema(schema)
            assert schema.get("properties") is not None or "enum" in schema, name
        for schema in _values(document["paths"], "schema"):
            Draft202012Validator.check_schema(schema)

    def test_every_reference_resolves_and_every_schema_is_used(self, document: dict[str, Any]) -> None:
        references = set(_values(document, "$ref"))
        names = {reference.removeprefix("#/components/schemas/") for reference in references}
        assert names == set(document["components"]["schemas"])

    def test_every_route_is_described(self, document: dict[str, Any]) -> None:
        text = (ROOT / "docs/http.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| \[`([A-Z]+ /\S+)`\]\(#\w+\) \| (\w*) ?\|", text, re.MULTILINE)
        assert dict(rows) == {route.name: route.scope or "" for route in ROUTES}
        assert {name for name, _ in rows} == operations(document)

    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
    async def test_what_is_answered_is_documented(
        self, house: House, person: Person, document: dict[str, Any], route: Route
    ) -> None:
        responses = document["paths"][route.path][route.method.lower()]["responses"]
        for answer in await _answers(house, person, route):
            documented = responses.get(str(answer.status_code))
            assert documented is not None, f"{answer.status_code} {answer.text}"
            if answer.status_code == 204:
                assert answer.content == b""
                continue
            media = documented["content"][answer.headers["content-type"]]
            whole = {**media["schema"], "components": document["components"]}
            is_json = answer.headers["content-type"].endswith(("/json", "+json"))
            Draft202012Validator(whole).validate(answer.json() if is_json else answer.text)

    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
    async def test_every_path_stands_under_v1_too(self, house: House, route: Route) -> None:
        for client in (house.api.client(), house.poor["read"]):
            path, params = route.at(str(uuid4())), {**route.params, "colour": "blue"}
            here = await client.request(route.method, path, params=params, json=route.json)
            there = await client.request(route.method, f"/v1{path}", params=params, json=route.json)
            assert here.status_code == there.status_code
            if here.status_code >= 400:
                assert here.json()["detail"] == there.json()["detail"]


async def _answers(house: House, person: Person, route: Route) -> list[httpx.Response]:
    """A good request of a route, and one of each way in which it is refused."""
    url, client = route.url(person), person.client

    async def ask(client: httpx.AsyncClient, path: str = url, **given: Any) -> httpx.Response:
        if "content" not in given:
            given.setdefault("json", route.json)
        return await client.request(route.method, path, **{"params": route.params, **given})

    answers = [await ask(client)]
    if route in WITH_KEY:
        answers += [await ask(house.api.client()), await ask(client, params={"colour": "blue"})]
        answers += [await ask(poor) for scope, poor in house.poor.items() if scope != route.scope]
    if "{" in route.path:
        answers.append(await ask(client, route.at(str(uuid4()))))
    if route.json is not None:
        answers += [await ask(client, content=b"{"), await ask(client, content=b" " * (5 * 1024 * 1024))]
        answers.append(await ask(client, json={}))
    return answers


def _values(node: Any, name: str) -> list[Any]:
    """Everything under a name, anywhere in a document."""
    if isinstance(node, list):
        return [value for one in node for value in _values(one, name)]
    if not isinstance(node, dict):
        return []
    own = [node[name]] if name in node else []
    return own + [value for one in node.values() for value in _values(one, name)]


class TestReadme:
    """The commands and links of README.md."""

    SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")

    def test_it_is_one_screen(self) -> None:
        output = re.search(r"<!-- output -->(.*)<!-- /output -->", README, re.DOTALL)
        assert output is not None
        assert len(README.splitlines()) - len(output[1].splitlines()) <= 50

    def test_its_scripts_exist(self) -> None:
        scripts = set(re.findall(r"\./(scripts/\w+)", README))
        assert scripts >= {"scripts/up", "scripts/test"}
        assert all(os.access(ROOT / script, os.X_OK) for script in scripts)

    def test_its_commands_exist(self) -> None:
        group = typer.main.get_command(command_line)
        commands = getattr(group, "commands", {})
        used = re.findall(r"\.venv/bin/reverie (\w+)[^`]*?(--\w+)?", README)
        assert {name for name, _ in used} == {"remember", "recall"}
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        told = set(re.findall(r"`reverie (\w+)`", changelog)) | {"recall", "import", "forget", "key", "remember"}
        assert told <= set(commands)
        options = {option for name in ("remember", "recall") for one in commands[name].params for option in one.opts}
        assert set(re.findall(r"reverie \w+ \"…\" (--\w+)", README)) <= options

    async def test_its_requests_work_as_they_stand(self, house: House) -> None:
        client = await house.api.caller("readers of the README")
        found = []
        for line in (line for line in self.SHELL.splitlines() if line.startswith("curl")):
            words = shlex.split(line.replace("$KEY", "KEY"))
            url = httpx.URL(next(word for word in words if word.startswith("http")))
            assert "Authorization: Bearer KEY" in words
            body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
            answer = await client.request("POST" if body else "GET", url.path, params=url.params, json=body)
            assert answer.status_code in (200, 201), answer.text
            found.append(answer.json())
        assert len(found) == 2
        assert found[1]["results"][0]["trace_id"] == found[0]["traces"][0]["trace_id"]

    @pytest.mark.parametrize(
        "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in DOCUMENTS)]
    )
    def test_links_lead_somewhere(self, name: str) -> None:
        path = ROOT / name
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            file, _, heading = target.partition("#")
            there = path.parent / file if file else path
            assert target.startswith("https://") or there.exists(), target
            if heading and not target.startswith("https://"):
                assert heading in _headings(there.read_text(encoding="utf-8")), target

    def test_the_house_is_as_contributing_draws_it(self) -> None:
        drawn = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        rooms = {path.name for path in (ROOT / "backend/reverie").iterdir() if (path / "__init__.py").exists()}
        assert {room for room in rooms if f"  {room}/" not in drawn} == set()


def _headings(text: str) -> set[str]:
    """The anchors that code hosts give to the headings of a document."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


class TestVersions:
    """One version everywhere, and a licence."""

    def test_the_changelog_has_this_version(self) -> None:
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        versions = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
        assert versions[:2] == ["Unreleased", PYPROJECT["project"]["version"]]
        assert PYPROJECT["project"]["version"] == __version__

    def test_the_licence_is_whole(self) -> None:
        text = (ROOT / "LICENSE").read_text(encoding="utf-8")
        assert PYPROJECT["project"]["license"] == "Apache-2.0"
        assert "Version 2.0, January 2004" in text
        assert "END OF TERMS AND CONDITIONS" in text


class TestHouse:
    """The layers, and the checks before a commit."""

    def test_imports_point_down(self) -> None:
        # A process of its own: import-linter silences every logger of the one it runs in.
        linter = Path(sys.executable).parent / "lint-imports"
        ran = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def test_every_package_with_rooms_of_its_own_is_under_the_contract(self) -> None:
        rooms = {"routes", "jobs", "service", "pipeline", "repository"}
        with_rooms = {
            f"reverie.{path.parent.name}" for path in (ROOT / "backend/reverie").glob("*/*.py") if path.stem in rooms
        }
        contracts = [c for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
        [within] = [c for c in contracts if c["containers"] != ["reverie"]]
        assert set(within["containers"]) == with_rooms

    def test_the_hooks_run_what_is_here(self) -> None:
        config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
        assert [repo["repo"] for repo in config["repos"]] == ["local"]
        for hook in config["repos"][0]["hooks"]:
            tool = Path(hook["entry"].split()[0])
            assert tool.parent == Path(".venv/bin")
            assert (Path(sys.executable).parent / tool.name).exists(), hook["id"]
