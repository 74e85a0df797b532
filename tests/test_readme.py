"""What the README says is run or compared: its code, its tables, its figures, its commands."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen as nn

from experiments import claims
from experiments.harness.records.panels import panels_of
from experiments.remedies.outcomes import UNTREATED, VERDICTS, best_first, outcomes
from jaxrnn.diagnosis import FIRST_AID

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


def test_the_example_of_diagnostics_runs():
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1]
    model = nn.RNN(nn.SimpleCell(4))
    inputs = targets = jax.random.normal(jax.random.key(0), (3, 5, 4))
    scope = {
        "model": model,
        "variables": model.init(jax.random.key(1), inputs),
        "inputs": inputs,
        "targets": targets,
        "loss_fn": lambda outputs, targets: ((outputs - targets) ** 2).mean(),
    }
    exec(code, scope)
    assert scope["layer"].states.shape == (6, 3, 4)


def test_the_tables_are_those_of_the_committed_results():
    assert claims.rewrite(README) == README, "run python -m experiments.claims"


def test_the_page_on_trouble_is_that_of_the_table_and_the_results():
    page = (ROOT / "TROUBLESHOOTING.md").read_text()
    assert claims.troubleshooting() == page, "run python -m experiments.claims"


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


def test_language_models_beat_the_bigrams_of_the_text():
    (run,) = json.loads((ROOT / "figures/char_lm/results.json").read_text())["runs"]
    bits = run["final"]["bits_per_character"]
    assert bits < run["final"]["bigram_bits"]
    assert run["seconds"] < 240
    (longer,) = json.loads((ROOT / "figures/char_lm/long/results.json").read_text())["runs"]
    assert longer["final"]["bits_per_character"] < bits - 0.1


def test_every_panel_of_the_gradient_analysis_is_in_its_results():
    results = json.loads((ROOT / "figures/gradient_analysis/results.json").read_text())
    figures = {path.stem for path in (ROOT / "figures/gradient_analysis").glob("*.png")}
    assert len(figures) == 5
    for figure in figures:
        panels = panels_of(results, figure)
        assert len(panels) >= 4
        for panel in panels.values():
            for points in panel.values():
                assert len(points["x"]) == len(points["y"]) > 0


def test_every_symptom_has_a_cure_and_first_aid_is_what_was_measured():
    found = outcomes(json.loads((ROOT / "figures/remedies/results.json").read_text()))
    assert len(found) == 8
    for symptom, by_remedy in found.items():
        assert by_remedy[UNTREATED].cured == 0, symptom
        assert len(by_remedy[UNTREATED].losses) == 5
        useful = best_first(by_remedy)
        assert useful, symptom
        assert by_remedy[useful[0]].verdict == "cured", symptom
        # What is listed cured or helped, the cures before the others.
        advised = [by_remedy[name].verdict for name in FIRST_AID[symptom].remedies]
        assert set(advised) <= {"cured", "helped"}, symptom
        assert advised == sorted(advised, key=VERDICTS.index), symptom


def test_what_the_doctor_says_first_of_each_case_helps_it():
    results = json.loads((ROOT / "figures/remedies/results.json").read_text())
    found, order = outcomes(results), list(FIRST_AID)
    examined = [run for run in results["runs"] if run["final"].get("conditions")]
    assert {run["settings"]["symptom"] for run in examined} == set(found)
    for run in examined:
        symptom, conditions = run["settings"]["symptom"], run["final"]["conditions"]
        assert symptom in conditions
        first = FIRST_AID[min(conditions, key=order.index)].remedies[0]
        assert found[symptom][first].verdict in ("cured", "helped"), (symptom, conditions)
