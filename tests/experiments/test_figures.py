"""Figures: what the lines show, and that any results.json, however poor, can be drawn."""

import numpy as np
import pytest
from experiment_support import PNG, small
from matplotlib import pyplot as plt

from experiments.adding_task import figure as adding_task_figures
from experiments.adding_task.config import SWEEPS, AddingTaskConfig
from experiments.copy_task import figure as copy_task_figures
from experiments.gradient_spikes import command as gradient_spikes
from experiments.harness.records import figures
from experiments.harness.records.results import plain
from experiments.harness.records.run_record import HISTORY
from experiments.retractions import figure as retractions_figures

# Empty axes, NaN and single points must not warn either: pytest makes warnings errors.


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def run_of(xs, ys, part="steps", **fields):
    return {part: {"step": list(xs), "y": list(ys)}, **fields}


def draw(axes, runs):
    figures.draw_lines(axes, runs, "steps", "step", "y", "k", "label")
    return [line.get_xydata() for line in axes.get_lines()]


def test_one_run_is_one_line_without_a_band(axes):
    (line,) = draw(axes, [run_of([0, 5, 9], [1.0, None, 3.0])])
    np.testing.assert_array_equal(line, [[0, 1], [9, 3]])  # bridges what was not measured
    assert not axes.collections


def test_several_runs_are_their_mean_and_a_band_from_lowest_to_highest(axes):
    (line,) = draw(axes, [run_of([0, 5, 9], [1, 2, 3]), run_of([0, 5, 9], [3, None, 7])])
    np.testing.assert_array_equal(line, [[0, 2], [5, 2], [9, 5]])
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert {(0, 1), (0, 3), (5, 2), (9, 3), (9, 7)} <= corners
    assert band.get_paths()[0].get_extents().bounds == (0, 1, 9, 6)


def test_runs_of_different_steps_are_averaged_where_they_meet(axes):
    (line,) = draw(axes, [run_of([0, 4, 8], [1, 2, 3]), run_of([0, 2, 4], [5, 6, 8])])
    np.testing.assert_array_equal(line, [[0, 3], [2, 6], [4, 5], [8, 3]])


def test_what_was_never_measured_is_not_drawn(axes):
    assert draw(axes, [run_of([0, 1], [None, None]), run_of([], [])]) == []
    assert draw(axes, []) == []


def test_a_single_point_has_a_marker(axes):
    draw(axes, [run_of([3], [1.0])])
    assert axes.get_lines()[0].get_marker() == "o"


def test_saved_bytes_are_the_same_and_the_figure_is_closed(tmp_path):
    for name in ("a.png", "b.png"):
        figure, panels = figures.panels(1, 1, "title")
        figures.draw_baseline(panels[0], 0.5)
        figures.legend_below(figure, *panels, *panels)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "memoryless baseline"
        ]
        figures.save(figure, tmp_path / name)
        assert not plt.fignum_exists(figure.number)
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_select():
    runs = [{"method": "qr", "seed": 0}, {"method": "qr", "seed": 1}, {"method": "x", "seed": 1}]
    assert figures.select(runs, method="qr", seed=1) == runs[1:2]


def copy_run(method, backend="jax", epochs=2, value=0.5):
    steps = 3 * epochs
    return {
        "method": method,
        "backend": backend,
        "settings": {},
        "history": {name: [value] * epochs for name in HISTORY} | {"epoch": [*range(epochs)]},
        "steps": {name: [value] * steps for name in ("grad_norm", "spectral_norm")}
        | {"step": [*range(steps)]},
        "final": {},
    }


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [copy_run("vanilla", epochs=0)],
        [copy_run("vanilla", epochs=0), copy_run("qr", epochs=0), copy_run("qr")],
        [copy_run("qr", value=None)],
        [copy_run("qr", epochs=1), copy_run("qr", epochs=3), copy_run("qr", value=1e30)],
        [copy_run("qr"), copy_run("qr", "torch"), copy_run("orthogonal_init", "torch", epochs=0)],
    ],
    ids=["none", "before an epoch", "some diverged at once", "all null", "spread", "both"],
)
def test_the_copy_task_draws_whatever_was_measured(tmp_path, runs):
    results = plain({"config": vars(small()), "runs": runs})
    assert copy_task_figures.draw(results, tmp_path) == ["copy_task.png"]
    assert (tmp_path / "copy_task.png").read_bytes().startswith(PNG)


def adding_run(method="irnn", epochs=2, value=0.5, settings=None, **final):
    run = copy_run(method, epochs=epochs, value=value)
    run["history"]["training_set_loss"] = [value] * epochs
    return run | {"settings": settings or {}, "final": final}


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [adding_run(epochs=0)],
        [adding_run(epochs=0, restarted_at_steps=[0] * 10, restarts=10), adding_run("relu")],
        [adding_run(value=None)],
        [adding_run(epochs=1), adding_run(epochs=3), adding_run(value=1e30)],
        [adding_run(settings={"seq_len": length}) for length in (150, 200, 300)],
    ],
    ids=["none", "before an epoch", "diverged", "all null", "spread", "sweep"],
)
def test_the_adding_problem_draws_whatever_was_measured(tmp_path, runs):
    results = plain({"config": vars(AddingTaskConfig()), "runs": runs})
    assert adding_task_figures.draw(results, tmp_path) == ["adding_task.png"]
    assert (tmp_path / "adding_task.png").read_bytes().startswith(PNG)


def test_what_a_sweep_calls_its_lines():
    config = vars(AddingTaskConfig())
    names = [
        [adding_task_figures.label("irnn", settings, config) for settings in sweep]
        for sweep in SWEEPS.values()
    ]
    assert names[0] == ["T = 150", "T = 200", "T = 300", "T = 400"]
    assert names[1][2] == "0.01 · I, SGD 0.01, clip 100"
    assert names[2] == [
        "SGD 0.01, clip 1",
        "SGD 0.01, clip 10",
        "SGD 0.01, clip 100",
        "SGD 0.01, no clipping",
        "Adam 0.0001, clip 1",
    ]
    assert adding_task_figures.label("qr", {}, config) == "tanh, QR projection"


def test_titles_and_labels_say_what_was_trained():
    def title(**changes):
        return copy_task_figures._title(plain(vars(small(**changes))))

    def label(method, **changes):
        return copy_task_figures._label(method, plain(vars(small(**changes))))

    assert title() == "Copy task, 3 symbols: 8 units, clipped at 1"
    assert title(delay=30, clip_norm=0.0) == "Copy memory, delay 30: 8 units, no clipping"
    assert title(seeds=3).endswith("3 seeds (mean, lowest to highest)")
    assert label("vanilla") == "vanilla"
    assert label("orthogonal_init", recurrent_init="henaff") == "Henaff init"
    assert label("qr") == "orthogonal init + QR projection"
    assert label("qr", project_every=5, retraction="polar").endswith(
        "init + polar projection, every 5 steps"
    )
    assert label("qr", project_every=0).endswith(", never")


def test_interrupted_searches_and_comparisons_draw(tmp_path):
    config = {"seeds": 1, "steps": 30}
    spike = copy_run("vanilla") | {"settings": {"setting": "ReLU"}}
    for final in ({"grad_norm_max": None}, {"grad_norm_max": 3.0, "spectral_norm_max": 2.0}):
        runs = [spike | {"final": final}]
        gradient_spikes.draw({"config": config, "runs": runs}, tmp_path)
    gradient_spikes.draw({"config": config, "runs": []}, tmp_path)
    accuracy = {
        "method": "qr",
        "settings": {"part": "accuracy"},
        "history": {"condition": [1, 10], "orthogonality_error": [1e-7, None]},
    }
    training = copy_run("polar", epochs=0) | {"settings": {"part": "training"}}
    for runs in ([], [accuracy], [accuracy, training]):
        retractions_figures.draw({"config": config, "runs": runs}, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"gradient_spikes.png", "retractions.png"}
