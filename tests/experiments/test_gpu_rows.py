"""Rows: what a part writes line by line, and what pytest's plugin makes of tests."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.gpu import pytest_rows
from experiments.gpu.jax_tests import test_files as files_below  # no test of this file
from experiments.gpu.part_process import PartProcess, append_row, failure, read_rows
from experiments.harness.records.results import ROOT, Run
from tests.parity_support import assert_agree, recorded

TESTS = """
import time
import numpy as np
import pytest
from tests.parity_support import assert_agree

@pytest.mark.parametrize("size", [2, 3])
def test_agrees(size):
    assert_agree("near", np.ones(size), np.ones(size) + 1e-9, 1e-8)
    assert_agree("far", np.ones(size), np.ones(size) + 1e-9 * size, 4e-9)

def test_parts():
    assert_agree("W_hh", np.ones(3), np.full(3, 1.5), 1e-3)

def test_raises():
    raise ValueError("no such device\\nand more")

@pytest.mark.skip(reason="not here")
def test_skipped():
    pass

@pytest.fixture
def broken():
    raise OSError("the fixture")

def test_cannot_begin(broken):
    pass"""


def process(monkeypatch, rows: Path, *more: str, device="cpu", until=None, flags=()) -> PartProcess:
    """A part as its process has it."""
    until = time.time() + 100 if until is None else until
    words = [
        "--part",
        "parity",
        "--rows",
        str(rows),
        "--until",
        str(until),
        "--device",
        device,
        *more,
    ]
    monkeypatch.setattr(sys, "argv", ["part", *words])
    return PartProcess(*flags)


def test_a_row_takes_the_place_of_the_one_before(tmp_path):
    rows = tmp_path / "rows.jsonl"
    assert read_rows(rows) == []
    for count in (1, 2):
        append_row(rows, Run("file", "jax", 0, {"part": "tests"}, final={"passed": count}))
    other = Run("file", "jax", 0, {"part": "tests", "hidden": 3}, final={"ms": np.float32(0.5)})
    append_row(rows, other)
    assert [(run.settings, run.final) for run in read_rows(rows)] == [
        ({"part": "tests"}, {"passed": 2}),
        ({"part": "tests", "hidden": 3}, {"ms": 0.5}),
    ]


def test_a_line_that_was_cut_is_no_row_but_a_broken_one_is_an_error(tmp_path):
    rows = tmp_path / "rows.jsonl"
    append_row(rows, Run("a", "jax", 0))
    whole = rows.read_text()
    rows.write_text(whole + whole[:20])
    assert [run.method for run in read_rows(rows)] == ["a"]
    rows.write_text(whole[:20] + "\n" + whole)
    with pytest.raises(json.JSONDecodeError):
        read_rows(rows)


def test_what_cannot_be_measured_says_why_and_the_rest_goes_on(tmp_path, monkeypatch):
    part = process(monkeypatch, tmp_path / "rows", "--loud", flags=("--loud",))
    assert part.options.loud
    assert 90 < part.seconds_left() < 101

    def out_of_memory():
        raise MemoryError("RESOURCE_EXHAUSTED: out of memory\ndetails")

    part.attempt(out_of_memory, "a", "jax", hidden=3)
    part.attempt(lambda: {"ms": 1.0}, "b", "jax")
    a, b = read_rows(part.rows)
    assert a.settings == {"part": "parity", "hidden": 3}
    assert a.final == {"failed": "MemoryError: RESOURCE_EXHAUSTED: out of memory"}
    assert b.final == {"ms": 1.0}
    assert failure(ValueError()) == {"failed": "ValueError: "}


def run_tests(part: PartProcess, folder: Path, text: str = TESTS, more=()) -> None:
    """Run tests by the command of a part."""
    path = folder / "test_stub.py"
    path.write_text(text)
    command = pytest_rows.command(part, "-s", f"--rootdir={folder}", str(path), *more)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_tests_become_rows(tmp_path, monkeypatch, workers):
    part = process(monkeypatch, tmp_path / "rows")
    run_tests(part, tmp_path, more=workers)
    rows = {run.method: run for run in read_rows(part.rows)}
    counts = rows["test_stub.py"].final
    numbers = {name: counts[name] for name in ("passed", "failed_tests", "skipped", "not_run")}
    assert numbers == {"passed": 2, "failed_tests": 3, "skipped": 1, "not_run": 0}
    for size in (2, 3):
        final = rows[f"test_agrees[{size}]"].final
        assert final["compared"] == "far"
        assert final["difference"] == pytest.approx(1e-9 * size, rel=1e-6)
        assert (final["bound"], final["count"]) == (4e-9, 2)
        assert "failed" not in final
    parted = rows["test_parts"].final
    assert parted["difference"] == pytest.approx(1 / 3)
    assert "W_hh: jax and torch differ by 5.0e-01" in parted["failed"]
    assert rows["test_raises"].final == {"failed": "ValueError: no such device"}
    assert rows["test_cannot_begin"].final["failed"].endswith("OSError: the fixture")
    assert all(run.settings["part"] == "parity" for run in rows.values())


def test_what_there_is_no_time_for_is_not_run(tmp_path, monkeypatch):
    part = process(monkeypatch, tmp_path / "rows", until=time.time() - 1)
    run_tests(part, tmp_path, "def test_late():\n    assert False\n")
    (run,) = read_rows(part.rows)
    assert run.final == {"passed": 0, "failed_tests": 0, "skipped": 0, "not_run": 1}


def test_a_file_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    part = process(monkeypatch, tmp_path / "rows")
    run_tests(part, tmp_path, "import no_such_package\n")
    (run,) = read_rows(part.rows)
    assert "no_such_package" in run.final["failed"]


def test_the_largest_share_of_a_bound_counts():
    far, equal = ["far", 2e-9, 1e-8], ["equal", 0.0, 0.0]
    assert pytest_rows.worst([equal, far])["compared"] == "far"
    assert pytest_rows.worst([far, ["copy", 1e-20, 0.0]])["compared"] == "copy"


def test_comparisons_are_recorded_whether_or_not_they_agree():
    with recorded() as found:
        assert_agree("zeros", np.zeros(3), np.zeros(3), 0.0)
        assert_agree("each", np.array([1.0, 4.0]), np.array([1.0, 5.0]), 0.25, elementwise=True)
        with pytest.raises(AssertionError):
            assert_agree("W_xh", np.ones(2), np.zeros(2), 1.0)
        with recorded() as inner:
            assert_agree("b_h", np.array([3.0, 0.5]), np.array([4.0, 0.0]), 1.0)
    assert inner == found[-1:] == [("b_h", 0.25, 1.0)]
    assert found[:-1] == [("zeros", 0, 0), ("each", 0.2, 0.25), ("W_xh", float("inf"), 1.0)]


def test_the_jax_tests_are_those_of_the_library_alone():
    names = {path.name for path in files_below(ROOT / "tests", with_torch=True)}
    assert {
        "test_bptt.py",
        "test_orthogonal.py",
        "test_transforms.py",
        "test_jacobians.py",
    } <= names
    with_torch = {"test_parity.py", "test_parity_cells.py", "test_torch_ref.py"}
    others = {"test_torch_agrees.py", "test_copy_task.py", "test_readme.py", "test_import.py"}
    assert names.isdisjoint(with_torch | others)
    fewer = {path.name for path in files_below(ROOT / "tests", with_torch=False)}
    assert {"test_bptt.py"} <= names - fewer  # whose bounds are in tests.parity_checks
    assert {"test_orthogonal.py"} <= fewer
