"""What the README says is run or compared: its code, its tables, its figures, its commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import claims

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_flax_example_makes_the_kernel_orthogonal():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    scope: dict = {}
    exec(code, scope)
    (cell,) = scope["params"]["params"].values()
    W = np.asarray(cell["h"]["kernel"], np.float64)
    # Householder QR in float32 leaves about eps per column; measured 5e-7.
    assert np.linalg.norm(W.T @ W - np.eye(64)) / 8 < 5e-6


def test_the_tables_are_those_of_the_committed_results():
    assert claims.rewrite(README) == README, "run python -m experiments.claims"


def test_the_figures_are_there():
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", README)
    assert figures
    for figure in figures:
        assert (ROOT / figure).is_file(), figure


def test_every_committed_result_is_small_and_was_trained_to_its_end():
    found = list((ROOT / "figures").rglob("results.json"))
    assert found
    for path in found:
        assert path.stat().st_size < 2**20, path
        statuses = {run["status"] for run in json.loads(path.read_text())["runs"]}
        assert statuses <= {"completed", "diverged"}, path


def test_the_copy_task_is_solved_by_projection_alone():
    runs = json.loads((ROOT / "figures/copy_task/results.json").read_text())["runs"]
    final = {run["method"]: run["final"] for run in runs}
    assert final["qr"]["val_loss"] <= 0.02
    assert final["qr"]["val_accuracy"] >= 0.999
    assert min(final[name]["val_loss"] for name in ("vanilla", "orthogonal_init")) > 0.85


@pytest.mark.parametrize("folder", ["irnn", "irnn/torch"])
def test_the_irnn_learns_to_add(folder):
    results = json.loads((ROOT / f"figures/adding_task/{folder}/results.json").read_text())
    (run,) = results["runs"]
    assert run["final"]["test_loss"] <= 0.005  # the baseline is 0.167
    assert "restarts" not in run["final"]


def test_the_irnn_learns_every_length():
    runs = json.loads((ROOT / "figures/adding_task/sweep_length/results.json").read_text())["runs"]
    assert {run["settings"]["seq_len"] for run in runs} == {150, 200, 300, 400}
    assert max(run["final"]["test_loss"] for run in runs) < 0.02
