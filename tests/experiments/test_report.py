"""What a run says: plain lines off a terminal, a table, and the paths written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from experiment_support import load, words

from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import ROOT, NotWritten, Run
from experiments.harness.records.run_record import Progress
from experiments.harness.running import report
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Interrupted
from experiments.retractions.config import RetractionsConfig


def trained(method="qr", seed=0, val_loss=0.25, **fields):
    final = {"val_loss": val_loss, "val_accuracy": 0.5, "grad_norm_max": 2.0, "spectral_norm": 1.0}
    history = {"epoch": [1], "val_loss": [val_loss], "val_accuracy": [0.5], "grad_norm_max": [2.0]}
    return Run(method, "jax", seed, **{"final": final, "history": history, **fields})


def test_progress_off_a_terminal_is_plain_lines(capsys):
    def progress(step, run, epoch_ended=True):
        return [Progress(run, step, 0.5, 1.0, 99.6, epoch_ended)]

    schedule = Schedule(epochs=20, steps_per_epoch=4, batch_size=1, val_samples=1)
    adding = trained()
    adding.history["val_accuracy"], adding.final["restarts"] = [np.nan], 2
    with report.progress("qr (jax)", schedule) as show:
        show(progress(2, trained(), epoch_ended=False))
        show(progress(4, trained()))
        show(progress(8, trained(val_loss=np.float32(0.125))))
        show(progress(12, adding))
        show(progress(13, trained(status="diverged"), epoch_ended=False))
    assert capsys.readouterr().out.splitlines() == [
        "qr (jax)  epoch 1/20  val loss 0.2500  accuracy 0.500  grad norm 2  100 steps/s",
        "qr (jax)  epoch 2/20  val loss 0.1250  accuracy 0.500  grad norm 2  100 steps/s",
        "qr (jax)  epoch 3/20  val loss 0.2500  grad norm 2  100 steps/s  2 restarts",
        "qr (jax)  epoch 4/20  diverged",
    ]


def table(capsys, runs):
    report.print_table("Copy task", runs, baseline=0.99)
    return [words(line.replace("│", " ")) for line in capsys.readouterr().out.splitlines()]


def test_table_has_means_and_spreads_over_seeds(capsys):
    runs = [trained(seed=0), trained(seed=1, val_loss=0.75), trained("vanilla", final={})]
    runs[1].status = "interrupted"
    runs[2].status, runs[2].final["diverged_at_step"] = "diverged", 7
    lines = table(capsys, runs)
    # The standard deviation of 0.25 and 0.75 is 0.25.
    assert any(line.startswith("qr (jax) 0.5 ± 0.2 0.5 ± 0") for line in lines)
    assert any(line.endswith("1 completed, 1 interrupted") for line in lines)
    assert "vanilla (jax) - - - - 0 diverged at step 7" in lines
    assert "memoryless baseline 0.9900" in lines


def test_table_leaves_out_what_is_not_finite(capsys):
    lines = table(capsys, [trained(val_loss=np.nan)])
    assert any(line.startswith("qr (jax) - 0.5 2 1") for line in lines)
    assert "memoryless baseline 0.9900" in table(capsys, [])


def test_paths_below_the_working_folder_are_short(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    report.print_written(tmp_path / "figures", ["results.json"])
    report.print_written(Path("relative"), ["a.png"])
    report.print_written(Path("/elsewhere"), ["b.png"])
    assert capsys.readouterr().out.splitlines() == [
        "wrote figures/results.json",
        "wrote relative/a.png",
        "wrote /elsewhere/b.png",
    ]


def measure_and_write(out, measure):
    def draw(results, folder):
        said.append("draw")
        (folder / "x.png").write_text(str(len(results["runs"])))
        return ["x.png"]

    said = []
    config = RetractionsConfig(seeds=1)
    try:
        session = Session("x", config, [])
        report.measure_and_write(out, session, measure, draw, lambda runs: said.append(len(runs)))
    except Exception as error:
        said.append(type(error))
    return said


def test_files_come_before_the_table(tmp_path, capsys):
    assert measure_and_write(tmp_path, lambda: [trained()]) == ["draw", 1]
    assert load(tmp_path)["experiment"] == "x"
    assert (tmp_path / "x.png").read_text() == "1"
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([], [Interrupted]),
        ([Run("qr", "jax", 0, history={"epoch": []}, status="interrupted")], [Interrupted]),
        ([Run("qr", "jax", 0, final={"diverged_at_step": 0})], ["draw", 1, Interrupted]),
        ([trained(status="interrupted")], ["draw", 1, Interrupted]),
        ([trained(), Run("vanilla", "jax", 0, history={"epoch": []})], ["draw", 2, Interrupted]),
    ],
)
def test_ctrl_c_writes_what_was_measured_or_nothing(tmp_path, runs, said):
    def measure():
        raise Interrupted(runs, KeyboardInterrupt())

    (tmp_path / "results.json").write_text("old")
    assert measure_and_write(tmp_path, measure) == said
    assert ((tmp_path / "results.json").read_text() == "old") == (len(said) == 1)


def test_the_table_is_shown_even_where_nothing_can_be_written(tmp_path):
    assert measure_and_write(tmp_path / "gone", lambda: [trained()]) == [1, NotWritten]


@pytest.mark.parametrize(("columns", "width"), [({"COLUMNS": "77"}, 77), ({}, report.WIDTH)])
def test_a_pipe_is_as_wide_as_columns_says(columns, width):
    program = "from experiments.harness.running.report import console; print(console.width)"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment | columns,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == f"{width}\n"
