"""The speed of language models and the cost of diagnostics: true rounds, written and printed."""

import pytest
from experiment_support import load

from experiments.analysis_speed import command as analysis_speed
from experiments.analysis_speed.command import NETWORKS, execute
from experiments.analysis_speed.config import AnalysisSpeedConfig


@pytest.mark.slow
def test_ratios_of_both_parts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(analysis_speed, "STEPS", 2)
    monkeypatch.setattr(analysis_speed, "INPUTS_A_TURN", 20)
    monkeypatch.setattr(analysis_speed, "available_cores", lambda: [0])  # others test as well
    small = {name: (cell, 2, 3) for name, (cell, _, _) in NETWORKS.items() if "B 32" in name}
    monkeypatch.setattr(analysis_speed, "NETWORKS", small)
    execute(AnalysisSpeedConfig(rounds=2, out=tmp_path))
    runs = load(tmp_path)["runs"]
    trained = [run for run in runs if run["settings"]["part"] == "training"]
    diagnosed = [run for run in runs if run["settings"]["part"] == "diagnostics"]
    assert [run["method"] for run in trained][-2:] == ["jaxrnn, one device", "jaxrnn"]
    assert [run["method"] for run in diagnosed] == list(small)
    for run in runs:
        final = run["final"]
        assert 0 < final["ratio_low"] <= final["ratio"] <= final["ratio_high"]
    # The fastest torch_ref is measured against itself.
    assert 1 in [run["final"]["ratio"] for run in trained if run["backend"] == "torch"]
    printed = capsys.readouterr().out
    assert printed.count("characters a second") == len(trained)
    assert printed.count("times the gradient alone") == len(small)


def test_bad_options():
    with pytest.raises(ValueError, match="--rounds must be from 1"):
        AnalysisSpeedConfig(rounds=0)
    with pytest.raises(ValueError, match="--parts must not repeat itself"):
        AnalysisSpeedConfig(parts=("training", "training"))
