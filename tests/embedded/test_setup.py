"""scripts/setup, on a project so small that it needs nothing from a package registry."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SETUP = Path(__file__).parents[2] / "scripts" / "setup"

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1"
"""

BACKEND = '''
"""Builds an editable wheel that holds nothing but its own name."""
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(folder, "tiny-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        tag = "Root-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\n" + tag)
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return "tiny-1-py3-none-any.whl"
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with scripts/setup, empty locks and a project without dependencies."""
    project = tmp_path / "a project"
    for name, text in {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
        "requirements/uv.txt": "",
        "requirements/runtime.txt": "",
        "requirements/dev.txt": "",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    (project / "scripts").mkdir()
    shutil.copy(SETUP, project / "scripts" / "setup")
    return project


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHON": sys.executable, "PIP_NO_INDEX": "1"} | more


def setup(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [project / "scripts" / "setup", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )


def has_tiny(project: Path) -> bool:
    return subprocess.run([project / ".venv/bin/python", "-c", "import tiny"], check=False).returncode == 0  # noqa: S603


def test_mends_what_was_broken_off_and_then_has_nothing_to_do(project: Path) -> None:
    """Two at once find half a virtual environment; then all is there; then something is missing; then it is moved."""
    break_off(project / ".venv")
    with subprocess.Popen([project / "scripts" / "setup", "--quiet"], env=environment()) as other:  # noqa: S603
        first = setup(project)
    assert (first.returncode, other.returncode) == (0, 0), first.stderr
    assert has_tiny(project)
    assert not (project / ".venv" / "bin" / "garbage").exists()

    assert min(time_of_nothing(project) for _ in range(3)) < 0.1

    lock = project / "requirements" / "runtime.txt"
    lock.write_text("not-there==1 --hash=sha256:" + "0" * 64 + "\n")
    failed = setup(project)
    assert failed.returncode != 0
    assert "not-there" in failed.stderr
    assert (project / ".venv" / "reverie-unfinished").exists()

    lock.write_text("")
    (project / ".venv" / "reverie-unfinished").unlink()
    assert time_of_nothing(project) < 1
    moved = project.rename(project.with_name("moved"))
    assert "found none" in setup(moved, PYTHON="/nonexistent").stderr


def test_what_waits_does_not_run_from_what_the_other_removes(project: Path) -> None:
    """While one makes the virtual environment anew, its ``bin`` goes before the eyes of the one that waits."""
    venv = project / ".venv"
    break_off(venv)
    (venv / "bin" / "python").unlink()
    # Goes as soon as it is run from where the virtual environment has it.
    going = project / "going"
    going.write_text(f'#!/bin/sh\nrm -f "{venv}/bin/python"\nexec "{sys.executable}" "$@"\n')
    going.chmod(0o755)
    (venv / "bin" / "python").symlink_to(going)
    with (venv / "reverie-lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [project / "scripts" / "setup"]
        with subprocess.Popen(  # noqa: S603
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as waiting:
            assert waiting.stdout is not None
            assert "Waiting for another setup" in waiting.stdout.readline()
            fcntl.flock(lock, fcntl.LOCK_UN)
            _, errors = waiting.communicate()
    assert waiting.returncode == 0, errors
    assert has_tiny(project)


def break_off(venv: Path) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "reverie-unfinished").touch()
    (venv / "bin" / "garbage").touch()


def time_of_nothing(project: Path) -> float:
    began = time.perf_counter()
    done = setup(project)
    took = time.perf_counter() - began
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return took


def test_an_old_python_is_refused_with_one_sentence(project: Path, tmp_path: Path) -> None:
    """It answers as an old one does: fails the question for 3.11, and tells its version."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *exit*) exit 1 ;; *) echo 3.9 ;; esac\n')
    old.chmod(0o755)
    done = setup(project, PYTHON=str(old))
    assert done.returncode == 1
    assert done.stderr.startswith("Reverie needs Python 3.11 or newer and found only 3.9: install one, or name it")
    assert len(done.stderr.splitlines()) == 1
    assert not (project / ".venv").exists()


def test_no_python_at_all_is_said(project: Path) -> None:
    done = setup(project, PYTHON="/nonexistent/python")
    assert (done.returncode, done.stdout) == (1, "")
    assert "found none: install one" in done.stderr


def test_a_folder_that_cannot_be_written_is_named(project: Path) -> None:
    (project / ".venv").write_text("in the way")
    done = setup(project)
    assert done.returncode == 1
    assert f"may not write to {project}/.venv" in done.stderr


@pytest.mark.parametrize("script", ["setup", "up", "test", "lock"])
def test_every_script_says_what_it_does(script: str) -> None:
    done = subprocess.run([SETUP.with_name(script), "--help"], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0
    assert f"scripts/{script}" in done.stdout


def test_unknown_options_are_refused(project: Path) -> None:
    done = setup(project, "--devel")
    assert done.returncode == 2
    assert "unknown option --devel" in done.stderr


@pytest.mark.parametrize("lock", ["runtime", "dev", "peers"])
def test_the_lock_holds_what_the_project_asks_for(lock: str) -> None:
    """All of it in a version that fits, and no CUDA; run scripts/lock where this fails."""
    root = SETUP.parents[1]
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    wanted = list(pyproject["project"]["dependencies"])
    if lock == "dev":
        wanted += pyproject["project"]["optional-dependencies"]["models"] + pyproject["dependency-groups"]["dev"]
    if lock == "peers":
        wanted = pyproject["dependency-groups"]["peers"]
    text = (root / "requirements" / f"{lock}.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name == "torch" or requirement.specifier.contains(pinned[name]), name
    assert not {name for name in pinned if name.startswith(("torch", "nvidia", "cuda", "triton"))}
