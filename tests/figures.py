"""Long checks, and the figures that tests print: ``pytest --long`` runs the full size of what is short otherwise."""

from collections.abc import Callable, Generator
from typing import TypeAlias

import pytest

Figure: TypeAlias = Callable[[str, object], None]
"""``figure("kills", 60)``: shown under the test's name when the run ends, whatever the worker it ran on."""

FIGURE = "figure"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of ``scripts/test --long``."""
    parser.addoption("--long", action="store_true", help="run the long checks in full size; takes most of an hour")


@pytest.fixture(scope="session")
def long(pytestconfig: pytest.Config) -> bool:
    """Whether the long checks shall run in full size."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Records what a test measured."""
    return lambda name, value: record_property(FIGURE, f"{name}: {value}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Names what a group of exceptions consists of in the one line of the short summary."""
    report = yield
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and call.excinfo is not None and isinstance(call.excinfo.value, BaseExceptionGroup):
        crash.message = "; ".join([crash.message, *(repr(one) for one in call.excinfo.value.exceptions)])
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows the figures of all tests; where some failed theirs alone, so that what failed stands near the end."""
    failed = {report.nodeid for report in terminalreporter.stats.get("failed", [])}
    told = {
        report.nodeid: found
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
        and report.when == "call"
        and (not failed or report.nodeid in failed)
        and (found := [str(value) for name, value in report.user_properties if name == FIGURE])
    }
    if told:
        terminalreporter.section("figures")
    for test, found in told.items():
        terminalreporter.write_line(test)
        for one in found:
            terminalreporter.write_line(f"    {one}")
