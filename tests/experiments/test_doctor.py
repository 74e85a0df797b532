"""The doctor: runs and networks that it examines, and files that it refuses."""

import json

import pytest
from experiment_support import small

from experiments.copy_task import command as copy_task
from experiments.doctor.command import as_json, execute
from experiments.doctor.config import DoctorConfig
from experiments.doctor.examine import examine_results
from experiments.doctor.trained import KNOWN, recipe_of
from experiments.harness.command import cli
from experiments.harness.records.results import ROOT
from experiments.harness.running import report
from experiments.harness.saving.session import SessionOptions


def conditions(folder):
    found: dict = {}
    for one in examine_results(ROOT / "figures" / folder / "results.json"):
        found.setdefault(one.name, set()).update(f.condition for f in one.findings or ())
    return found


def test_the_copy_task():
    assert conditions("copy_task") == {
        "vanilla (jax)": {"stuck_at_baseline"},
        "orthogonal_init (jax)": {"stuck_at_baseline"},
        "qr (jax)": set(),
    }


def test_restarts_and_settings():
    found = conditions("adding_task/sweep_clip")
    assert "unstable" in found["irnn (jax), optimizer sgd, lr 0.01, clip_norm 0.0"]
    assert found["irnn (jax), optimizer adam, lr 0.0001, clip_norm 1.0"] == set()


@pytest.mark.parametrize("folder", ["char_lm", "retractions", "gradient_spikes"])
def test_other_experiments_are_read(folder):
    assert conditions(folder)


def results(**changes):
    path = ROOT / "figures/copy_task/results.json"
    return {**json.loads(path.read_text()), **changes}


RUN = results()["runs"][0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"{", "is not JSON"),
        (b"[1, 2]", "is no results.json: no config, experiment, runs"),
        (results(runs=3), "is no results.json: no runs"),
        (b"[" * 100_000, "is not JSON"),
        (results(runs=[]), "no run has a history"),
        (results(runs=[3]), "runs[0] must be a table of names, got int"),
        (results(runs=[{"method": "qr"}]), "runs[0] has no backend"),
        (results(runs=[RUN, RUN | {"history": 3}]), "history of runs[1] must be dict, got int"),
        (results(runs=[RUN | {"method": []}]), "method of runs[0] must be str, got list"),
        (results(runs=[RUN | {"settings": None}]), "settings of runs[0] must be dict"),
        (results(runs=[RUN | {"settings": {"hidden": []}}]), "hidden"),
        (results(runs=[RUN | {"status": []}]), "got the status []"),
        (results(runs=[RUN | {"history": {"val_loss": "no"}}]), "val_loss of a history must be"),
        (results(runs=[RUN | {"history": {"val_loss": [[]]}}]), "must hold numbers, got []"),
        (results(runs=[RUN | {"history": {"val_loss": [10**400]}}]), "must hold numbers"),
        (results(experiment=[]), "experiment must be one of"),
        (results(experiment="benchmark"), "experiment must be one of copy_task"),
        (results(config={"hidden": 0}), "--hidden must be from 1"),
        (results(config=[]), "not a configuration of copy_task"),
    ],
)
def test_files_that_are_refused(tmp_path, capsys, content, message):
    path = tmp_path / "results.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(SystemExit) as stop:
        execute(DoctorConfig(results=path))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --results")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--results", "a", "--checkpoint", "b"]])
def test_one_thing_is_examined(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.run(DoctorConfig, execute, arguments=arguments)
    assert stop.value.code == 2
    assert "one of --results and --checkpoint" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        execute(DoctorConfig(checkpoint=tmp_path / "none"))
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: --checkpoint")
    assert "resume" not in message


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_network_of_a_checkpoint(tmp_path, capsys, backend):
    session = SessionOptions(checkpoint_dir=tmp_path / "checkpoints")
    copy_task.execute(
        small(
            tmp_path / "out", backend=backend, methods=("qr",), seeds=2, session=session, epochs=3
        )
    )
    written = tmp_path / "findings.json"
    execute(DoctorConfig(checkpoint=tmp_path / "checkpoints", json=written))
    assert "stuck_at_baseline" in capsys.readouterr().out  # after twelve steps
    found = json.loads(written.read_text())
    assert [one["seed"] for one in found] == [0, 1]
    for one in found:
        layer = one["report"]["evidence"]["layers"]["cell"]
        (kernel,) = layer["kernels"].values()
        assert kernel["singular_values"] == pytest.approx([1] * 8, abs=1e-5)  # projected
        assert layer["steps"] == 2 * 3 + 1


def test_machines_read_what_was_found():
    path = ROOT / "figures/copy_task/results.json"
    found = as_json(examine_results(path))
    assert [one["conditions"] for one in found] == [["stuck_at_baseline"]] * 2 + [["healthy"]]
    (drift,) = found[0]["remarks"]
    assert drift.startswith("the spectral norm of W_hh went from")
    json.dumps(found, allow_nan=False)


def test_a_run_without_a_loss(tmp_path):
    """Interrupted in its first epoch it is named, diverged there it is examined."""
    changed = results()
    for run, status in zip(changed["runs"], ("interrupted", "diverged"), strict=False):
        run |= {"status": status, "history": {**run["history"], "val_loss": []}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(changed))
    found = [(one["run"], one["conditions"]) for one in as_json(examine_results(path))]
    assert found == [
        ("vanilla (jax)", ["not examined"]),
        ("orthogonal_init (jax)", ["unstable"]),
        ("qr (jax)", ["healthy"]),
    ]


def test_names_that_a_terminal_would_obey(tmp_path, capsys):
    """In the table, and in what is said of a file that is refused."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results(runs=[RUN | {"backend": "\x1b[31mred"}])))
    execute(DoctorConfig(results=path))
    printed = capsys.readouterr().out
    path.write_text(json.dumps(results(experiment="\x1b[31mred\nred")))
    with pytest.raises(SystemExit):
        execute(DoctorConfig(results=path))
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1
    for text in (printed, refused):
        assert "\x1b" not in text
        assert r"\x1b" in text


def test_every_run_is_in_the_table(tmp_path, capsys, monkeypatch):
    """Five runs of a name: four stuck, one that was interrupted."""
    changed = results()
    runs = [changed["runs"][0] | {"seed": seed} for seed in (3, 5, 7, 11, 13)]
    runs[2] = runs[2] | {"status": "interrupted", "history": {**RUN["history"], "val_loss": []}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(changed | {"runs": runs}))
    monkeypatch.setattr(report.console, "width", 200)
    execute(DoctorConfig(results=path))
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("seeds 3, 5, 11, 13", "(4 of 5)", "seed 7", "(1 of 5)", "not examined"):
        assert words in printed


def test_recipes_of_what_was_trained():
    config = results()["config"]
    assert recipe_of("copy_task", config, "qr", {}).retraction == "qr"
    assert recipe_of("gradient_spikes", {}, "vanilla", {"seq_len": 30}).task.seq_len == 30
    assert recipe_of("adding_task", {"sweep": True}, "irnn", {"seq_len": 200}).task.seq_len == 200
    with pytest.raises(ValueError, match="experiment must be one of"):
        recipe_of("benchmark", {}, "qr", {})
    assert set(KNOWN) >= {"copy_task", "adding_task", "char_lm"}


def test_help_is_there(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(DoctorConfig, execute, arguments=["--help"])
    assert stop.value.code == 0
    assert "--checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["no/folder.json", "."])
def test_a_place_to_write_to_is_tried_before_the_work(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr("experiments.doctor.command.examine_results", pytest.fail)
    with pytest.raises(SystemExit) as stop:
        execute(DoctorConfig(results=ROOT / "figures/copy_task/results.json", json=tmp_path / name))
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: --json: {tmp_path / name}")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_into_a_folder_of_checkpoints(tmp_path, capsys):
    inside = tmp_path / "saved" / "checkpoint-1" / "progress.json"
    with pytest.raises(SystemExit) as stop:
        execute(DoctorConfig(checkpoint=tmp_path / "saved", json=inside))
    assert stop.value.code == 2
    assert "would write into --checkpoint" in capsys.readouterr().err


def test_results_are_not_overwritten_by_what_is_said_of_them(tmp_path, capsys):
    path = tmp_path / "results.json"
    text = json.dumps(results(runs=[]))
    path.write_text(text)
    (tmp_path / "link.json").symlink_to(path)
    with pytest.raises(SystemExit) as stop:
        execute(DoctorConfig(results=path, json=tmp_path / "link.json"))
    assert stop.value.code == 2
    assert "would overwrite --results" in capsys.readouterr().err
    assert path.read_text() == text
