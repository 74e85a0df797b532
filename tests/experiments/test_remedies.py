"""The matrix of remedies: what is tried, what counts as a cure, and one small true run."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from experiment_support import PNG, load

from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import Run, plain
from experiments.harness.saving.session import SessionOptions
from experiments.harness.training.runner import Job, train_runs
from experiments.remedies import command as remedies
from experiments.remedies.cases import REMEDIES, Case, Remedy, cases, treated
from experiments.remedies.command import execute, jobs, short
from experiments.remedies.config import RemediesConfig
from experiments.remedies.outcomes import UNTREATED, best_first, judge, outcomes
from jaxrnn.diagnosis import FIRST_AID, read_history
from jaxrnn.diagnosis import REMEDIES as KNOWN
from jaxrnn.tasks import AddingTask

UNTREATED_LOSSES = np.array([1.0, 0.9, 1.1, 0.95, 1.0])


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ([0.1, 0.2, 0.1, 0.1, 0.9], "cured"),  # four of five
        ([0.1, 0.2, 0.1, 0.9, 0.9], "no effect"),  # three, and one as bad as untreated
        ([0.1, 0.2, 0.1, 0.8, 0.8], "helped"),
        ([0.84, 0.84, 0.84, 0.84, 0.84], "helped"),
        ([0.86, 0.8, 0.8, 0.8, 0.8], "no effect"),  # better by less than is clear
        ([1.2, 1.3, 1.2, 1.2, 1.2], "harmed"),
        ([np.inf] * 5, "harmed"),
        ([np.inf, 0.5, 0.5, 0.5, 0.5], "no effect"),
    ],
)
def test_verdicts(losses, verdict):
    outcome = judge(np.array(losses), UNTREATED_LOSSES, solved=0.2)
    assert outcome.verdict == verdict
    assert outcome.cured == sum(loss <= 0.2 for loss in losses)


def entry(remedy, score, symptom="crawling"):
    settings = {"symptom": symptom, "remedy": remedy, "solved": 0.5}
    return {"method": remedy, "settings": settings, "final": {"score": score}, "seconds": 1.0}


def test_outcomes_of_a_file_and_their_order():
    scores = {UNTREATED: [0.9, None], "adam": [0.4, 0.3], "gru": [0.2, 0.1], "relu": [0.9, 0.9]}
    runs = [entry(name, score) for name, pair in scores.items() for score in pair]
    found = outcomes({"runs": runs})["crawling"]
    assert [outcome.verdict for outcome in found.values()] == [
        "no effect",
        "cured",
        "cured",
        "no effect",
    ]
    assert np.isinf(found[UNTREATED].losses[1])
    assert best_first(found) == ["gru", "adam"]


def test_every_symptom_and_remedy_is_in_the_table_of_first_aid():
    assert set(cases()) <= set(FIRST_AID)
    for name in REMEDIES:
        assert set(name.split("+")) <= set(KNOWN), name
    advised = {name for symptom in cases() for name in FIRST_AID[symptom].remedies}
    assert advised <= set(REMEDIES)


def test_a_pair_changes_what_both_do():
    pair = REMEDIES["clip_norm+lower_rate"]
    case = cases()["exploding"]
    recipe, schedule = treated(case, pair)
    assert recipe == replace(case.recipe, clip_norm=1.0, lr=0.1 * case.recipe.lr)
    assert schedule == case.schedule


def test_warming_up_takes_a_tenth_of_the_steps():
    case = cases()["dead_units"]
    recipe, _ = treated(case, REMEDIES["warm_up"])
    steps = case.schedule.epochs * case.schedule.steps_per_epoch
    assert (recipe.warmup_steps, recipe.decay_steps) == (steps // 10, steps)


def test_the_jobs_are_all_that_change_something():
    config = RemediesConfig(symptoms=("crawling", "dead_units"))
    made = list(jobs(config))
    names = [job.settings["remedy"] for job in made if job.settings["symptom"] == "crawling"]
    assert names[0] == UNTREATED
    assert "clip_norm" not in names  # it clips at 1 as it is
    assert {"clip_norm_5", "adam", "gru_projected"} <= set(names)
    assert len(names) == len(set(names))
    assert len(list(jobs(replace(config, quick=True)))) < len(made) / 2


def test_a_run_keeps_its_score_alone():
    final = {"val_loss": 0.5, "val_accuracy": 0.1, "grad_norm_max": 7.0}
    run = short(Run("adam", "jax", 0, final=final, history={"val_loss": [0.5]}), baseline=2.0)
    assert run.final == {"val_loss": 0.5, "score": 0.25, "grad_norm_max": 7.0}
    assert run.history == run.steps == {}
    diverged = short(Run("adam", "jax", 0, status="diverged", final=final), baseline=2.0)
    assert np.isnan(diverged.final["score"])


def test_options_that_would_do_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--log-dir"):
        RemediesConfig(session=SessionOptions(log_dir=tmp_path))
    with pytest.raises(ValueError, match="--quick trains two seeds, and not --seeds 1"):
        RemediesConfig(quick=True, seeds=1)
    with pytest.raises(ValueError, match="--symptoms"):
        RemediesConfig(symptoms=())


@pytest.mark.slow
def test_a_true_run_and_its_resumption(tmp_path, monkeypatch, capsys):
    case = cases()["short_memory"]
    recipe = replace(case.recipe, task=AddingTask(4), hidden=3)
    schedule = Schedule(2, 2, 4, 10, max_loss=100.0)
    small: dict = {"short_memory": Case("four numbers", "nobody", recipe, schedule, 0.5)}
    monkeypatch.setattr(remedies, "cases", lambda: small)
    chosen = {"gru": REMEDIES["gru"], "lower_rate": REMEDIES["lower_rate"]}
    monkeypatch.setattr(remedies, "REMEDIES", chosen)
    session = SessionOptions(checkpoint_dir=tmp_path / "checkpoints")
    config = RemediesConfig(("short_memory",), seeds=2, out=tmp_path / "out", session=session)
    execute(config)
    results = load(tmp_path / "out")
    made = [(run["method"], run["seed"]) for run in results["runs"]]
    assert made == [(name, seed) for name in (UNTREATED, *chosen) for seed in (0, 1)]
    assert all(run["final"]["score"] > 0 for run in results["runs"])
    for name in ("remedies.png", "cases.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(PNG)
    assert "memory" in capsys.readouterr().out.split("untreated")[0]
    # Resumed when all is done, it trains nothing, and says the same.
    monkeypatch.setattr("experiments.harness.running.pool._train", None)
    execute(replace(config, session=replace(session, resume=True)))
    assert load(tmp_path / "out")["runs"] == results["runs"]


def test_a_remedy_of_nothing_changes_nothing():
    case = cases()["vanishing"]
    assert treated(case, Remedy()) == (case.recipe, case.schedule)


@pytest.mark.slow
@pytest.mark.parametrize("symptom", ["stuck_at_baseline", "unstable", "crawling"])
def test_the_history_of_an_untreated_case_names_its_symptom(symptom):
    case = cases()[symptom]
    recipe, task = replace(case.recipe, devices=1), case.recipe.task
    (run,) = train_runs(Job(symptom, symptom, recipe, case.schedule), [0])
    assert symptom in [one.condition for one in read_history(plain(asdict(run)), task.baseline)]
    assert run.final["val_loss"] > case.solved * task.baseline
