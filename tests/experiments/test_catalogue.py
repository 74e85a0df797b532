"""The list of the experiments against the packages, the figures and the command lines there are."""

import importlib
import json

import pytest

from experiments import catalogue
from experiments.catalogue import EXPERIMENTS, MADE_ELSEWHERE
from experiments.harness.records.results import ROOT, settings_of

COMMANDS = [
    pytest.param(experiment.name, command, id=catalogue.line(experiment, command))
    for experiment in EXPERIMENTS
    for command in experiment.commands
]

COMMITTED = [
    path
    for path in (ROOT / "figures").rglob("results.json")
    if path.parent.name != "cpu"  # of `make gpu` without a GPU, which is not committed
]


def config_class_of(name):
    main = importlib.import_module(f"experiments.{name}.__main__")
    return next(value for key, value in vars(main).items() if key.endswith("Config"))


def test_every_package_is_listed_once():
    packages = {path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py")}
    packages -= {"claims"}  # which measures nothing
    names = [experiment.name for experiment in EXPERIMENTS]
    assert sorted(names) == sorted(packages)


def test_no_modules_besides_the_packages():
    modules = {path.name for path in (ROOT / "experiments").glob("*.py")}
    assert modules == {"__init__.py", "catalogue.py"}


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_writes_to_the_folder_that_is_said(name, command, monkeypatch, tmp_path):
    if name in MADE_ELSEWHERE:
        pytest.skip("it has options of another kind")
    main = importlib.import_module(f"experiments.{name}.__main__")
    written = []

    def prepare(config, backends):
        written.append(str(config.folder))
        raise InterruptedError

    monkeypatch.setattr(main.cli, "prepare", prepare)
    monkeypatch.setattr(main.cli, "require_backends", lambda *arguments, **more: None)
    monkeypatch.chdir(ROOT)
    config = main.cli.parse(
        config_class_of(name), getattr(main, "PRESETS", {}), command.options.split()
    )
    if command.folder is None:
        main.execute(config)
    else:
        with pytest.raises(InterruptedError):
            main.execute(config)
    assert written == ([] if command.folder is None else [command.folder])


def test_every_committed_result_comes_from_one_listed_command():
    folders = [c.folder for e in EXPERIMENTS for c in e.commands if c.folder is not None]
    assert len(set(folders)) == len(folders)
    committed = {
        str(path.parent.relative_to(ROOT / "figures")): json.loads(path.read_text())["experiment"]
        for path in COMMITTED
    }
    elsewhere = {c.folder for e in EXPERIMENTS if e.name in MADE_ELSEWHERE for c in e.commands}
    assert set(folders) - elsewhere <= set(committed) <= set(folders)
    for experiment in EXPERIMENTS:
        for command in experiment.commands:
            if command.folder in committed:
                assert committed[command.folder] == experiment.name


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_the_settings_have_the_order_of_the_committed_results(path):
    results = json.loads(path.read_text())
    if results["experiment"] in MADE_ELSEWHERE:
        pytest.skip("it has options of another kind")
    committed, now = results["config"], settings_of(config_class_of(results["experiment"])())
    assert [name for name in now if name in committed] == [
        name for name in committed if name in now
    ]


def test_the_lines_are_what_make_runs(capsys):
    assert catalogue.main(["--lines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["copy_task", "copy_task --seeds 5"]
    assert "adding_task --irnn --preset sgd" in lines
    assert not any(text.startswith(("gpu", "doctor ")) for text in lines)
    assert "experiments.catalogue --lines" in (ROOT / "Makefile").read_text()


def test_the_table_and_a_wrong_option(capsys):
    assert catalogue.main([]) == 0
    assert "python -m experiments.remedies" in capsys.readouterr().out
    assert catalogue.main(["--bogus"]) == 2
    assert capsys.readouterr().err == "error: only --lines is an option, got --bogus\n"
