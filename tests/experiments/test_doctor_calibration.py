"""How often diagnose is right: the scoring, and what was measured once."""

import dataclasses
import json

import pytest
from experiment_support import PNG, load

from experiments.doctor_calibration import command as doctor_calibration
from experiments.doctor_calibration.command import (
    SETS,
    execute,
    is_right,
    print_training,
    print_verdicts,
    score,
)
from experiments.doctor_calibration.config import DoctorCalibrationConfig
from experiments.doctor_calibration.networks import BASELINE, outcome_fits
from experiments.harness.records.results import ROOT, Run


def network(label):
    return next(one for one in SETS["held_out"] if one.label == label)


@pytest.mark.parametrize(
    ("label", "found", "right"),
    [
        ("healthy", ("healthy",), True),
        ("healthy", ("vanishing",), False),
        ("vanishing", ("vanishing", "short_memory"), True),
        ("vanishing", ("short_memory",), False),
        ("vanishing", ("vanishing", "exploding"), False),
        ("vanishing", ("healthy",), False),
        ("saturated", ("vanishing", "saturated"), True),
    ],
)
def test_what_is_right(label, found, right):
    assert is_right(network(label), found) == right


def run(label, conditions, right, name="some network"):
    settings = {"set": "held_out", "family": "some", "label": label}
    return Run(name, "jax", 0, settings, final={"conditions": conditions, "right": right})


def test_scores(capsys):
    runs = [
        run("healthy", ("healthy",), True),
        run("healthy", ["healthy"], True),
        run("healthy", ("exploding",), False, "healthy but blamed"),
        run("vanishing", ("healthy",), False, "vanishing but missed"),
    ]
    assert score(runs) == {"right": 0.5, "healthy_with_a_fault": pytest.approx(1 / 3)}
    print_verdicts(runs)
    said = capsys.readouterr().out
    assert "healthy but blamed: healthy, found exploding" in said
    assert "vanishing but missed: vanishing, found healthy" in said
    assert "right 50.0% of 4, a fault found in 33.3% of the healthy" in said


def test_outcomes_of_training(capsys):
    for label, learns in (("healthy", True), ("vanishing", False), ("exploding", None)):
        assert outcome_fits(network(label), 0.1 * BASELINE) == (learns is not False)
        assert outcome_fits(network(label), 1.0 * BASELINE) == (learns is not True)
        assert outcome_fits(network(label), 0.7 * BASELINE) == (learns is None)
    odd = run("healthy", (), True, "odd one")
    odd.final = {"of_baseline": 0.7, "fits": False}
    print_training([odd])
    assert "odd one: healthy, but its loss is 0.70 of the baseline" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch):
    chosen = tuple(one for one in SETS["held_out"] if one.name in ("cycle", "latches of 40"))
    monkeypatch.setattr(doctor_calibration, "SETS", {"held_out": chosen})
    execute(DoctorCalibrationConfig(sets=("held_out",), out=tmp_path))
    results = load(tmp_path)
    verdicts = {run["method"]: run["final"] for run in results["runs"]}
    assert verdicts["cycle"]["conditions"] == ["healthy"]
    assert verdicts["cycle"]["memory_left"] == [pytest.approx(1, rel=1e-5)]
    assert "saturated" in verdicts["latches of 40"]["conditions"]
    assert all(one["right"] for one in verdicts.values())
    assert (tmp_path / "doctor.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_the_command_that_trains(tmp_path, monkeypatch):
    short = tuple(
        dataclasses.replace(one, steps=20)
        for one in SETS["held_out"]
        if one.name in ("plain MGU 8", "latches of 40")
    )
    monkeypatch.setattr(doctor_calibration, "SETS", {"held_out": short})
    execute(DoctorCalibrationConfig(sets=("held_out",), train=True, out=tmp_path))
    (one,) = load(tmp_path)["runs"]
    assert one["method"] == "plain MGU 8"
    assert one["final"]["fits"] == (one["final"]["of_baseline"] < 0.5)


def committed(folder):
    return json.loads((ROOT / "figures" / folder / "results.json").read_text())["runs"]


def test_the_committed_verdicts_are_of_all_networks_and_as_good_as_was_asked_for():
    runs = committed("doctor")
    named = [(run["settings"]["set"], run["method"]) for run in runs]
    assert named == [(name, one.name) for name in SETS for one in SETS[name]]
    for name in SETS:
        chosen = [run for run in runs if run["settings"]["set"] == name]
        right = sum(run["final"]["right"] for run in chosen) / len(chosen)
        healthy = [run for run in chosen if run["settings"]["label"] == "healthy"]
        blamed = sum(run["final"]["conditions"] != ["healthy"] for run in healthy)
        assert right >= 0.95
        assert blamed / len(healthy) <= 0.02


def test_the_healthy_were_seen_to_learn_and_the_vanishing_not():
    runs = committed("doctor/training")
    expected = [
        one.name for name in SETS for one in SETS[name] if one.label in ("healthy", "vanishing")
    ]
    assert [run["method"] for run in runs] == expected
    for run in runs:
        assert run["final"]["fits"], run["method"]
