"""What a run's history shows: made by hand, and those of the committed figures."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from jaxrnn.diagnosis import HistoryThresholds, read_course, read_history

FIGURES = Path(__file__).parents[2] / "figures"
BASELINE = 1.0
LIMITS = HistoryThresholds()


def run(losses, status="completed", **parts):
    history = {"epoch": list(range(1, len(losses) + 1)), "val_loss": list(losses)}
    return {"history": history | parts.pop("history", {}), "status": status, **parts}


def conditions(*arguments, **options):
    return [one.condition for one in read_history(*arguments, **options)]


FALLS = np.geomspace(1.2, 0.01, 9)


def test_a_run_that_went_well():
    assert conditions(run(FALLS), BASELINE) == conditions(run(FALLS)) == []
    assert conditions(run([0.3, 0.2]), BASELINE) == []


def test_a_run_whose_loss_is_not_finite():
    for losses in ([None], [None, None], [1.0, 0.5, None]):
        (one,) = read_history(run(losses), BASELINE)
        assert one.condition == "non_finite"
        assert f"is the loss of epoch {len(losses)}:" in one.cause
    assert conditions(run([1.0, None, 0.2]), BASELINE) == []  # it has come back
    assert conditions(run([1.0, None], "diverged"), BASELINE) == ["unstable"]
    assert conditions(run([], "diverged"), BASELINE) == ["unstable"]
    for status in ("completed", "interrupted"):
        with pytest.raises(ValueError, match="val_loss of a history is empty: there is no loss"):
            read_history(run([], status), BASELINE)


def test_stuck_at_the_baseline():
    losses = [1.4, 1.0, 0.95, 0.99, 0.92, 0.96]
    (one,) = read_history(run(losses), BASELINE)
    assert one.condition == "stuck_at_baseline"
    assert "after 6 epochs the best loss is 0.92, 92% of the baseline 1" in one.cause
    assert conditions(run([*losses, 0.89, 0.95]), BASELINE) == []
    assert conditions(run(losses)) == []  # of which baseline?
    assert conditions(run([0.95, 0.96, 0.95]), BASELINE) == ["stuck_at_baseline"]
    assert conditions(run([0.95, 0.96]), BASELINE) == []  # too short to tell


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": "diverged"}, "the run diverged"),
        ({"final": {"restarts": 2}}, "restarted 2 times"),
        ({"history": {"train_loss": [1.0, 0.3, 0.71, 0.2]}}, "rose from 0.3 to 0.71"),
        ({"history": {"train_loss": [0.1, None, 1e9, 0.2]}}, "rose from 0.1 to 1e+09"),
        ({"history": {"train_loss": [2.5, 2.9, 2.1]}}, "rose from 2.5 to 2.9"),
    ],
)
def test_unstable(changes, what):
    (one,) = read_history(run(FALLS, **changes), BASELINE)
    assert one.condition == "unstable"
    assert what in one.cause


def test_what_is_not_unstable():
    for train in ([0.5, 0.3, 0.55], [1e-4, 1e-5, 0.05], [0.06, 0.13], [0.2, None, 0.1]):
        assert conditions(run(FALLS, history={"train_loss": train}), BASELINE) == []
    # Without a baseline: losses below zero, such as a log-density's, and losses of nothing.
    for train in ([-1.0, -2.0, -1.9], [1e-9, 1e-5, 1e-9], [1.0, 0.05, 0.14]):
        assert conditions(run(train)) == []
    for train in ([-1.0, -2.0, 2.5], [1.0, 1e-5, 0.3], [0.02, 0.01, 0.03], [1e-9, 0.1]):
        assert conditions(run(train)) == ["unstable"]
    assert conditions(run(FALLS, final={"restarts": 0}), BASELINE) == []
    assert conditions(run(FALLS, final=None, status="interrupted"), BASELINE) == []


def test_a_run_far_above_the_baseline_is_unstable_and_not_stuck():
    for losses in ([8.0, 7.0, 7.2], [2.1, 3.0, 2.2, 2.1], [13.0, 15.0, 4.8]):
        assert conditions(run(losses), BASELINE) == ["unstable"]
        assert conditions(run(losses)) == []  # above which baseline?
    assert conditions(run([7.0, 7.2]), BASELINE) == []  # too short to tell
    assert conditions(run([3.0, 1.5, 1.9]), BASELINE) == ["stuck_at_baseline"]
    # One that has hardly begun is not unstable, and one on its long way down crawls.
    assert conditions(run([2.6, 2.55, 2.56]), BASELINE) == ["stuck_at_baseline"]
    assert conditions(run(9 - 0.05 * np.arange(30)), BASELINE) == ["crawling"]
    # A training set that is memorized is no fault of this kind.
    assert conditions(run([0.8, 1.5, 2.5], history={"train_loss": [0.8, 0.2, 0.1]}), BASELINE) == []


SPIKE = {"step": [0, 1, 2, 3, 4], "grad_norm": [1.0, 1.0, 5000.0, None, 0.5]}


def test_spikes_and_drift_are_reported_of_a_healthy_run_too():
    def remarks(limits=LIMITS, norms=(1.1, None, 55.0)):
        one = run(FALLS, steps=SPIKE, history={"spectral_norm": norms})
        assert conditions(one, BASELINE) == []
        return read_course(one).remarks(limits)

    spike = "gradient norms rose to 5e+03 times their median"
    drift = "the spectral norm of W_hh went from 1.1 to 55"
    assert remarks() == (spike, drift)
    assert remarks(norms=[1.1, 1.2]) == (spike,)
    assert remarks(HistoryThresholds(spike=1e4, drift=49.9)) == (drift,)
    assert read_course(run(FALLS)).remarks(LIMITS) == ()
    (short,) = read_course(run([0.9, 0.8])).remarks(LIMITS)
    assert short == "the run has fewer than 3 epochs, too few to judge it by"
    (one,) = read_history(run(FALLS, "diverged", steps=SPIKE), BASELINE)
    assert one.cause.startswith("the run diverged: ")
    assert one.cause.endswith(f"; {spike}")
    assert one.numbers["spike"] == 5000


def test_crawling():
    epochs = np.arange(30)
    (one,) = read_history(run(0.97 - 0.005 * epochs), BASELINE)
    assert one.condition == "crawling"
    # The last third's middle is 0.3475 above half the baseline: 69.5 epochs, in runs of 30.
    np.testing.assert_allclose(one.numbers["budgets"], 69.5 / 30, rtol=1e-12)
    assert "fell from 0.897 to 0.847" in one.cause
    assert conditions(run(0.97 - 0.005 * epochs)) == []  # half of which baseline?
    assert conditions(run(0.97 - 0.006 * epochs), BASELINE) == []  # soon there
    assert conditions(run(0.6 + 0.3 * np.exp(-epochs / 6)), BASELINE) == []  # has arrived
    assert conditions(run((0.87 - 0.005 * epochs)[:5]), BASELINE) == []  # too short to tell
    noise = 0.02 * (-1.0) ** epochs
    assert conditions(run(0.88 - 0.005 * epochs + noise), BASELINE) == []  # not steadily


def test_drift_of_the_spectral_norm():
    def cause(*norms):
        (one,) = read_history(run([1.0] * 3, history={"spectral_norm": norms}), BASELINE)
        assert one.numbers["spectral_norm_last"] == norms[-1]
        return one.cause

    assert cause(1.1, None, 9.9).endswith("; the spectral norm of W_hh went from 1.1 to 9.9")
    assert "spectral norm" not in cause(1.1, 1.2)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "history must be a run of results.json.*got nothing"),
        ({"runs": []}, "got runs"),
        ([1.0], "got list"),
        ({"history": {"loss": [1.0]}, "status": "completed"}, "got a history of loss"),
        ({"history": {}, "status": "completed"}, "got a history of nothing"),
        ({"history": {"val_loss": [1.0]}, "status": "done"}, "the status 'done'"),
        ({"history": {"val_loss": [1.0]}}, "the status None"),
        ({"history": {"val_loss": 1.0}, "status": "completed"}, "must be a list, got float"),
        ({"history": {"val_loss": "abc"}, "status": "completed"}, "must be a list, got str"),
        ({"history": {"val_loss": ["a"]}, "status": "completed"}, "must hold numbers, got 'a'"),
        (run(FALLS, final=[1]), "final of a run must be a table of names, got list"),
        (run(FALLS, steps=[1.0]), "steps of a run must be a table of names, got list"),
        (run(FALLS, steps={"grad_norm": 3}), "grad_norm of a history must be a list, got int"),
        (run(FALLS, final={"restarts": "x"}), "restarts of a run must be a whole number, got 'x'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_another_schema_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        read_history(bad, BASELINE)


@pytest.mark.parametrize("baseline", [0.0, -1.0, math.nan, math.inf, "x"])
@pytest.mark.usefixtures("unchecked")
def test_baselines(baseline):
    with pytest.raises(ValueError, match="baseline must be positive and finite"):
        read_history(run(FALLS), baseline)
    with pytest.raises(ValueError, match="positive and finite, got jump"):
        HistoryThresholds(jump=baseline)


def committed(folder):
    return json.loads((FIGURES / folder / "results.json").read_text())["runs"]


def test_the_committed_copy_tasks():
    baseline = 10 * math.log(8) / 21
    for one in committed("copy_task/seeds"):
        expected = [] if one["method"] == "qr" else ["stuck_at_baseline"]
        assert conditions(one, baseline) == expected
    unsigned = [r for r in committed("retractions") if r["method"] == "qr_unsigned"]
    unsteady = [conditions(one, baseline) for one in unsigned if one["history"].get("val_loss")]
    assert ["unstable"] in unsteady


def test_the_committed_adding_tasks():
    for one in committed("adding_task/sweep_clip"):
        settings, found = one["settings"], conditions(one, 1 / 6)
        if settings["optimizer"] == "adam":
            assert found == []
        else:
            restarted = settings["clip_norm"] in (0.0, 100.0)
            assert found == ["unstable"] * restarted + ["stuck_at_baseline"]
