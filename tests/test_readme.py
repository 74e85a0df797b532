"""What README and docs/ say is run or compared: their code, tables, figures, links, commands."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen as nn

from experiments.catalogue import EXPERIMENTS
from experiments.claims import __main__ as command
from experiments.claims import site
from experiments.claims.verdicts import short_verdict
from experiments.harness.records.panels import panels_of
from experiments.remedies.outcomes import UNTREATED, VERDICTS, best_first, outcomes
from jaxrnn.diagnosis import FIRST_AID

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in path.parts
}
LINK = re.compile(r"\]\(([^)\s]+)\)")


def flax_example(page: str) -> str:
    """The first block of Python of a page."""
    return re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150
    assert len(README.encode()) <= 8000


def test_the_flax_example_makes_the_kernel_orthogonal():
    code = flax_example(README)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    scope: dict = {}
    exec(code, scope)
    (cell,) = scope["params"]["params"].values()
    W = np.asarray(cell["h"]["kernel"], np.float64)
    # Householder QR in float32 leaves about eps per column; measured 5e-7.
    assert np.linalg.norm(W.T @ W - np.eye(64)) / 8 < 5e-6


def test_the_start_has_the_same_example():
    assert flax_example(PAGES["docs/start.md"]) == flax_example(README)


def test_the_examples_of_diagnosis_run():
    _, diagnosis, diagnostics = re.findall(
        r"```python\n(.*?)```", PAGES["docs/start.md"], re.DOTALL
    )
    model = nn.RNN(nn.SimpleCell(4))
    inputs = targets = jax.random.normal(jax.random.key(0), (3, 5, 4))
    scope = {
        "model": model,
        "variables": model.init(jax.random.key(1), inputs),
        "inputs": inputs,
        "targets": targets,
        "loss_fn": lambda outputs, targets: ((outputs - targets) ** 2).mean(),
    }
    exec(diagnosis, scope)
    assert scope["report"].conditions
    exec(diagnostics, scope)
    assert scope["layer"].states.shape == (6, 3, 4)


def test_the_pages_are_those_of_the_committed_results():
    for path, text in site.written().items():
        assert path.read_text() == text, f"{path}: run python -m experiments.claims"


def test_every_marked_part_is_written_by_the_command():
    for page, text in PAGES.items():
        marked = re.findall(r"<!-- (\w+): begin -->", text)
        assert sorted(marked) == sorted(site.pages().get(page, {})), page


def test_every_experiment_has_a_page():
    for experiment in EXPERIMENTS:
        assert f"docs/results/{experiment.name}.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_links_and_figures_are_there(page):
    for link in LINK.findall(PAGES[page]):
        target, _, anchor = link.partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), link
        assert path.resolve().is_relative_to(ROOT), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


def test_every_figure_is_on_a_page():
    shown = {
        ((ROOT / page).parent / link).resolve()
        for page, text in PAGES.items()
        for link in LINK.findall(text)
        if link.endswith(".png")
    }
    committed = {path for path in (ROOT / "figures").rglob("*.png") if "cpu" not in path.parts}
    assert committed <= shown


@pytest.mark.parametrize(
    ("verdict", "short"),
    [
        ("**holds** here", "holds"),
        ("drift **holds**; spikes **fail**", "holds in part"),
        ("as well **holds**; for less **not shown**", "holds in part"),
        ("**fails**: it costs something", "fails"),
    ],
)
def test_a_verdict_in_short(verdict, short):
    assert short_verdict(verdict) == short


def test_a_verdict_without_a_word_in_bold_is_refused():
    with pytest.raises(ValueError, match="holds"):
        short_verdict("it may be")


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="expected one <!-- claims: begin -->"):
        site.rewrite("no marks", {"claims": lambda: "text"})


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["--bogus"], 2), (["x"], 2)])
def test_help_and_wrong_arguments_write_nothing(arguments, status, monkeypatch, capsys):
    monkeypatch.setattr(command, "written", lambda: pytest.fail("it wrote"))
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == status
    captured = capsys.readouterr()
    assert "usage: python -m experiments.claims" in captured.out + captured.err


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
