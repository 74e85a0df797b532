"""Parts as processes: their order and limits hold, and what they measured stays."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from experiments.gpu.conductor import Conductor, is_well
from experiments.gpu.machine import missing
from experiments.gpu.parts import PARTS, Part
from experiments.gpu.summary import PART

CPU = {"gpu": None, "seen_by": []}
GPU = {"gpu": "a GPU", "seen_by": ["jax"]}
# A part that writes a row, and then what a test asks of it.
STUB = """
import os, subprocess, sys, time
from experiments.gpu.part_process import PartProcess
part = PartProcess()
part.write("row", "jax", {{"left": part.seconds_left(), "flags": os.environ["XLA_FLAGS"]}})
{then}
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Makes a part of a name that runs some code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(name, then="", limit=60.0, **settings):
        (tmp_path / f"stub_{name}.py").write_text(STUB.format(then=then))
        return Part(name, f"stub_{name}", limit, limit, **settings)

    return make


def conduct(parts, folder, machine=CPU, renew=lambda runs: None):
    """The runs, and what was said."""
    said = []
    folder.mkdir(exist_ok=True)
    conductor = Conductor(machine, folder, renew, said.append)
    conductor.conduct(parts)
    return conductor.runs, said


def outcomes(runs):
    return {run.settings["part"]: run.final["outcome"] for run in runs if run.method == PART}


def reason(runs, name):
    (run,) = (run for run in runs if run.method == PART and run.settings["part"] == name)
    return run.final["reason"]


def test_a_part_that_hangs_and_one_that_crashes_cost_only_themselves(stub, tmp_path):
    parts = [
        stub("first"),
        # A child of the part's own hangs as well, and both ignore a polite signal.
        stub(
            "hangs",
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen(['sleep', '600'])\n"
            "part.write('child', 'jax', {'pid': child.pid})\ntime.sleep(600)",
            limit=8.0,
        ),
        stub("crashes", "print('a last word', flush=True); os.abort()"),
        stub("raises", "raise RuntimeError('no such kernel')"),
        stub("last"),
    ]
    start = time.monotonic()
    runs, said = conduct(parts, tmp_path / "out")
    assert time.monotonic() - start < 60  # the limit, and the start of five processes
    assert outcomes(runs) == {
        "first": "completed",
        "hangs": "stopped",
        "crashes": "failed",
        "raises": "failed",
        "last": "completed",
    }
    assert [run.settings["part"] for run in runs if run.method == "row"] == [
        *("first", "hangs", "crashes", "raises", "last")
    ]
    assert "its limit of 8 s" in reason(runs, "hangs")
    assert reason(runs, "crashes") == "ended by SIGABRT: a last word"
    assert reason(runs, "raises") == "exit status 1: RuntimeError: no such kernel"
    assert not is_well(runs)
    assert any("raises: failed: exit status 1" in line for line in said)
    (pid,) = (run.final["pid"] for run in runs if run.method == "child")
    status = Path(f"/proc/{pid}/stat")  # gone, or a zombie that no process has waited for
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_part_knows_its_end_before_its_limit_and_has_its_flags(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    part = stub("flagged", limit=50.0, environment={"XLA_FLAGS": "--xla_more"})
    runs, _ = conduct([part], tmp_path / "out")
    (row,) = (run for run in runs if run.method == "row")
    assert 20 < row.final["left"] < 45
    assert row.final["flags"] == "--xla_dump_to=here --xla_more"


def test_what_is_measured_is_given_as_each_part_ends_and_in_between(stub, tmp_path):
    seen = []
    slow = stub("slow", "time.sleep(3)")  # one look
    conduct(
        [stub("quick"), slow],
        tmp_path / "out",
        renew=lambda runs: seen.append([(run.settings["part"], run.method) for run in runs]),
    )
    quick = [("quick", "row"), ("quick", PART)]
    assert seen[0] == quick
    assert [*quick, ("slow", "row")] in seen
    assert seen[-1] == [*quick, ("slow", "row"), ("slow", PART)]


def test_a_part_is_left_out_where_it_cannot_run(stub, tmp_path):
    parts = [
        stub("needy", needs=("no_such_package", "json")),
        stub("both", needs=("torch",)),  # which is here, but the machine says that it sees no GPU
    ]
    runs, _ = conduct(parts, tmp_path / "out", machine=GPU)
    assert outcomes(runs) == {"needy": "left out", "both": "left out"}
    assert reason(runs, "needy") == "needs no_such_package"
    assert reason(runs, "both") == "PyTorch sees no GPU"
    assert is_well(runs)


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(stub, tmp_path):
    part = stub("long", "part.write('pid', 'jax', {'pid': os.getpid()})\ntime.sleep(600)")
    seen = []
    rows = tmp_path / "out" / "long.jsonl"

    def press():
        while not rows.exists() or rows.read_text().count("\n") < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        conduct([part, stub("never")], tmp_path / "out", renew=lambda runs: seen.append([*runs]))
    assert [run.method for run in seen[-1]] == ["row", "pid", PART]
    assert seen[-1][-1].status == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(seen[-1][1].final["pid"], 0)


def test_the_parts_stand_in_their_order_and_end_in_eight_minutes():
    assert [part.name for part in PARTS] == [
        *("parity", "speed", "projection", "variants", "command_buffers", "tests")
    ]
    assert sum(part.limit for part in PARTS) <= 480 - 10
    assert sum(part.cpu_limit for part in PARTS) <= 165
    assert missing(("json", "no_such_package", "also.not_there")) == [
        *("no_such_package", "also.not_there")
    ]


def test_no_part_is_left_out_here():
    assert missing(tuple(name for part in PARTS for name in part.needs)) == []
