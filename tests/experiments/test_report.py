"""What a run says: plain lines off a terminal, a table, and the paths written."""

from pathlib import Path

import numpy as np
from experiment_support import words

from experiments.common import report
from experiments.common.results import Run


def trained(method="qr", seed=0, val_loss=0.25, **fields):
    final = {"val_loss": val_loss, "val_accuracy": 0.5, "grad_norm_max": 2.0, "spectral_norm": 1.0}
    history = {"epoch": [1], "val_loss": [val_loss], "val_accuracy": [0.5], "grad_norm_max": [2.0]}
    return Run(method, "jax", seed, **{"final": final, "history": history, **fields})


def test_progress_off_a_terminal_is_plain_lines(capsys):
    with report.progress("qr (jax)", epochs=20) as show:
        show(trained())
        show(trained(val_loss=np.float32(0.125)))
        show(trained(status="diverged"))
    assert capsys.readouterr().out.splitlines() == [
        "qr (jax)  epoch 1/20  val loss 0.2500  accuracy 0.500  grad norm 2",
        "qr (jax)  epoch 2/20  val loss 0.1250  accuracy 0.500  grad norm 2",
        "qr (jax)  epoch 3/20  diverged",
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
