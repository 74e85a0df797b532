"""A plugin of pytest that writes rows: one for each file, and one for each comparison of parity.

    python -m pytest -p experiments.gpu.pytest_rows --rows FILE --until TIME --part NAME ...

With pytest-xdist its workers send what they compare to the process that writes.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.gpu.part_process import PartProcess, append_row
from experiments.gpu.summary import share_of_bound
from experiments.harness.records.results import Run

NO_TIME = "no time left"
MOST_FAILURES = 10  # of a file that have rows
COMPARED = "compared"  # the property of a test's report that holds its comparisons


def command(part: PartProcess, *arguments: str) -> list[str]:
    """The command line that runs tests and writes their rows.

    The options of this project's own pytest runs stay away: they ask for beartype, and make errors
    of the warnings of another version of JAX.
    """
    workers = []
    if part.on_gpu and importlib.util.find_spec("xdist"):
        # Each takes some GB of the GPU's memory and compiles on a core or two.
        workers = ["-n", str(max(1, min(8, (os.cpu_count() or 1) // 2)))]
    return [
        *(sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"),
        *("-o", "addopts=--strict-markers", "-o", "filterwarnings=default", "--tb=short"),
        *("-p", "experiments.gpu.pytest_rows", "--rows", str(part.rows), "--part", part.name),
        *("--until", str(part.options.until), *workers, *arguments),
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    for name in ("--rows", "--until", "--part"):
        parser.addoption(name, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Write where pytest collects its reports, not in the workers."""
    if config.getoption("rows") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RowWriter(config))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what there is no time for."""
    until = item.config.getoption("until")
    if until and time.time() > float(until):
        pytest.skip(NO_TIME)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    """Record the comparisons of a test of parity, however it ends."""
    support = sys.modules.get("tests.parity_support")
    if support is None:
        return (yield)
    with support.recorded() as comparisons:
        try:
            return (yield)
        finally:
            item.user_properties.append((COMPARED, [list(each) for each in comparisons]))


class RowWriter:
    """Turns reports into rows."""

    def __init__(self, config: pytest.Config) -> None:
        self._rows, self._part = Path(config.getoption("rows")), config.getoption("part")
        self._counts: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has ended, or a part of it."""
        if report.when != "call" and report.passed:
            return
        path, _, name = report.nodeid.partition("::")
        self._count(path, name, report)
        compared: Any = dict(report.user_properties).get(COMPARED)
        if compared:
            final = worst(compared) | failed(report)
            self._write(name, "both", final)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be read has no tests, and says why."""
        if report.failed:
            self._write(report.nodeid, "jax", failed(report))

    def _count(self, path: str, name: str, report: pytest.TestReport) -> None:
        counts = self._counts.setdefault(
            path, {"passed": 0, "failed_tests": 0, "skipped": 0, "not_run": 0}
        )
        if report.skipped:
            reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
            counts["not_run" if NO_TIME in reason else "skipped"] += 1
        elif report.passed:
            counts["passed"] += 1
        else:
            counts["failed_tests"] += 1
            counts.setdefault("failed", f"{name}: {failed(report)['failed']}")
            if counts["failed_tests"] <= MOST_FAILURES:
                self._write(name, "jax", failed(report), file=path)
        self._write(path, "jax", counts)

    def _write(self, method: str, backend: str, final: dict[str, Any], **settings: Any) -> None:
        append_row(
            self._rows, Run(method, backend, 0, {"part": self._part, **settings}, final=final)
        )


def worst(compared: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Of a test's comparisons the one that comes closest to its bound, or exceeds it most."""

    what, difference, bound = max(compared, key=lambda each: share_of_bound(*each[1:]))
    return {"compared": what, "difference": difference, "bound": bound, "count": len(compared)}


def failed(report: pytest.TestReport | pytest.CollectReport) -> dict[str, str]:
    """The line of a report that names the error; nothing of a test that did not fail."""
    if not report.failed:
        return {}
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    lines = text.strip().splitlines() or ["no message"]
    return {"failed": lines[0][:300] if crash else lines[-1][:300]}
