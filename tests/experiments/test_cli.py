"""Command lines: what is refused, with which words and status, and that nothing is left behind."""

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from experiment_support import words

from experiments.benchmark.config import BenchmarkConfig
from experiments.copy_task.config import PRESETS, CopyTaskConfig
from experiments.doctor_calibration.config import DoctorCalibrationConfig
from experiments.gradient_analysis.config import GradientAnalysisConfig
from experiments.gradient_spikes.config import GradientSpikesConfig
from experiments.harness.command import cli, options
from experiments.harness.records import results
from experiments.harness.records.results import NotWritten
from experiments.harness.running import report
from experiments.harness.saving.session import SessionOptions
from experiments.harness.saving.signals import Terminated
from experiments.harness.training.runner import Interrupted
from experiments.remedies.config import RemediesConfig
from experiments.retractions.config import RetractionsConfig

HUGE = 10**9


def parse(line, config_class=CopyTaskConfig, presets=PRESETS):
    return cli.parse(config_class, presets, line.split())


def refusal(line, capsys, config_class=CopyTaskConfig, presets=PRESETS):
    """The message with which a command line is refused."""

    def execute(config):
        pytest.fail(f"{line} was accepted: {config}")

    with pytest.raises(SystemExit) as caught:
        cli.run(config_class, execute, presets, line.split())
    assert caught.value.code == 2
    captured = capsys.readouterr()
    message = words(captured.out + captured.err)
    assert "Traceback" not in message
    return message


@pytest.fixture
def sixteen_gib(monkeypatch):
    """The same memory on every machine."""
    monkeypatch.setattr(options, "total_memory", lambda: 16 * 2**30)


@pytest.mark.parametrize(
    ("line", "named", "given", "allowed"),
    [
        ("--methods lstm", "--methods", "lstm", "'vanilla', 'orthogonal_init', 'qr'"),
        ("--backend tensorflow", "--backend", "tensorflow", "'jax', 'torch', 'numpy', 'both'"),
        ("--preset adding", "--preset", "adding", "copy_memory"),
        ("--retraction cayley", "--retraction", "cayley", "'qr', 'polar', 'qr_unsigned'"),
        ("--activation gelu", "--activation", "gelu", "'tanh', 'relu'"),
        ("--layers 3", "Unrecognized", "--layers", "--help"),
        ("--hidden many", "--hidden", "many", "INT"),
        ("--epochs 1.5", "--epochs", "1.5", "INT"),
        ("--methods", "--methods", "", "at least one"),
        ("--methods qr vanilla qr", "--methods", "qr vanilla qr", "not repeat"),
        ("--hidden 0", "--hidden", "got 0", "from 1"),
        ("--seq-len -1", "--seq-len", "got -1", "from 1"),
        ("--epochs 0", "--epochs", "got 0", "from 1"),
        ("--train-samples 0", "--train-samples", "got 0", "from 1"),
        ("--val-samples -7", "--val-samples", "got -7", "from 1"),
        ("--batch-size 0", "--batch-size", "got 0", "from 1"),
        ("--track-every 0", "--track-every", "got 0", "from 1"),
        ("--delay 0", "--delay", "got 0", "from 1"),
        ("--seeds 0", "--seeds", "got 0", "from 1 to 50"),
        ("--seeds 51", "--seeds", "got 51", "from 1 to 50"),
        ("--seed -1", "--seed", "got -1", "from 0"),
        (f"--seed {10 * HUGE}", "--seed", f"got {10 * HUGE}", f"to {HUGE}"),
        ("--project-every -1", "--project-every", "got -1", "from 0"),
        (f"--hidden {1000 * HUGE}", "--hidden", f"got {1000 * HUGE}", f"to {HUGE}"),
        ("--lr 0", "--lr", "got 0.0", "above 0"),
        ("--lr -0.1", "--lr", "got -0.1", "above 0"),
        ("--lr nan", "--lr", "got nan", "above 0"),
        ("--lr inf", "--lr", "got inf", "at most 1000"),
        ("--recurrent-lr nan", "--recurrent-lr", "got nan", "above 0"),
        ("--clip-norm nan", "--clip-norm", "got nan", "0 or more"),
        ("--clip-norm -1", "--clip-norm", "got -1.0", "0 or more"),
        ("--clip-norm inf", "--clip-norm", "got inf", "at most 1000"),
        ("--devices 0", "--devices", "got 0", "a divisor of --batch-size 128"),
        ("--devices 3", "--devices", "got 3", "auto or a divisor"),
        ("--devices all", "--devices", "all", "auto"),
        ("--backend torch --devices 2", "--devices", "torch", "--backend jax or both"),
        ("--backend numpy --retraction polar", "--retraction", "got polar", "qr"),
        ("--backend numpy --recurrent-lr 0.1", "--recurrent-lr", "got 0.1", "None"),
        (
            "--backend numpy --preset copy_memory",
            "--recurrent-init",
            "got henaff",
            "orthogonal or identity",
        ),
        ("--preset copy_memory --lr nan", "--lr", "got nan", "above 0"),
        ("--out=", "--out", "empty name", "a folder"),
        ("--methods vanilla --retraction polar", "--retraction", "polar", "--methods qr"),
        ("--methods vanilla --project-every 5", "--project-every", "5", "--methods qr"),
        ("--project-every 0 --retraction polar", "--retraction", "polar", "--project-every of 1"),
        ("--methods vanilla --recurrent-init henaff", "--recurrent-init", "henaff", "or qr"),
        ("--delay 50 --seq-len 20", "--seq-len", "20", "no --delay"),
        ("--preset copy_memory --seq-len 20", "--seq-len", "20", "no --delay"),
    ],
)
def test_refused_with_option_value_and_what_is_allowed(capsys, line, named, given, allowed):
    message = refusal(line, capsys)
    for part in (named, given, allowed):
        assert part in message


def test_an_empty_folder_name_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.parse(CopyTaskConfig, PRESETS, ["--out", ""])
    assert caught.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_what_a_preset_sets_may_be_without_effect():
    assert parse("--preset copy_memory --methods vanilla").recurrent_init == "henaff"


@pytest.mark.parametrize("option", ["clip_norm", "project_every"])
def test_zero_means_never(option):
    assert getattr(parse(f"--{option.replace('_', '-')} 0"), option) == 0


@pytest.mark.parametrize(
    "line",
    [
        f"--val-samples {HUGE} --hidden 1 --seq-len 1",  # validation states
        f"--batch-size {HUGE}",
        f"--train-samples {HUGE}",  # the data of one epoch
        f"--train-samples {HUGE} --batch-size 1 --seq-len 1 --hidden 1 --epochs {HUGE}",
        "--train-samples 20000000 --seeds 50 --backend torch",
        f"--seq-len {HUGE}",
        f"--delay {HUGE}",
        f"--preset copy_memory --delay {HUGE}",
        "--hidden 40000 --batch-size 1 --val-samples 1 --seq-len 1",  # W_hh, its gradient, Adam
        "--hidden 8000 --seeds 50 --backend torch",
    ],
)
@pytest.mark.usefixtures("sixteen_gib")
def test_what_cannot_fit_in_memory_is_refused(capsys, line):
    message = refusal(line, capsys)
    for part in line.split()[::2]:
        if part not in ("--epochs", "--backend", "--preset"):
            assert part in message
    assert "GiB" in message
    assert "this machine has 16" in message


@pytest.mark.usefixtures("sixteen_gib")
def test_what_the_experiments_need_is_accepted():
    parse(f"--epochs {HUGE}")
    parse("--seeds 5 --backend both")
    parse("--preset copy_memory --delay 1000 --seed 1000000000")


def test_memory_is_counted_in_numbers_of_four_bytes(monkeypatch):
    monkeypatch.setattr(options, "total_memory", lambda: 4000)
    config = SimpleNamespace(hidden=128)
    options.check_memory(config, 1000, "hidden")
    with pytest.raises(ValueError, match="--hidden 128"):
        options.check_memory(config, 1001, "hidden")


def test_this_machine_has_memory():
    assert 2**28 < options.total_memory() < 2**50


@pytest.mark.parametrize(
    ("config_class", "line", "named"),
    [
        (RetractionsConfig, "--size 0", "--size"),
        (RetractionsConfig, "--size 100000", "--size 100000"),
        (RetractionsConfig, "--matrices -1", "--matrices"),
        (RetractionsConfig, "--epochs 0", "--epochs"),
        (RetractionsConfig, "--seeds 51", "--seeds"),
        (RetractionsConfig, "--backend torch", "--backend"),
        (GradientSpikesConfig, "--steps 0", "--steps"),
        (GradientSpikesConfig, f"--steps {HUGE}", f"--steps {HUGE}"),
        (GradientSpikesConfig, "--seeds 11", "--seeds"),
        (GradientSpikesConfig, "--seed -1", "--seed"),
        (BenchmarkConfig, "--rounds 0", "--rounds"),
        (BenchmarkConfig, f"--rounds {10 * HUGE}", f"got {10 * HUGE}"),
        (BenchmarkConfig, "--parts", "--parts"),
        (BenchmarkConfig, "--parts steps steps", "must not repeat itself, got steps steps"),
        (BenchmarkConfig, "--parts speed", "'steps', 'projection', 'scaling'"),
        (GradientSpikesConfig, "--devices 3", "--devices"),
        (RetractionsConfig, "--devices 0", "--devices"),
    ],
)
@pytest.mark.usefixtures("sixteen_gib")
def test_other_experiments_refuse_too(capsys, config_class, line, named):
    assert named in refusal(line, capsys, config_class, None)


def test_a_preset_is_defaults_that_options_override():
    assert parse("--preset copy_memory") == CopyTaskConfig(**PRESETS["copy_memory"])
    for line in ("--preset copy_memory --hidden 16", "--hidden 16 --preset=copy_memory"):
        config = parse(line)
        assert (config.hidden, config.delay, config.activation) == (16, 100, "modrelu")
        assert config.preset == "copy_memory"
    assert parse("--preset None") == CopyTaskConfig()
    assert parse("--preset None --preset no_clipping").clip_norm == 0.0
    assert parse("") == CopyTaskConfig()


def prepare(out, **session):
    config = CopyTaskConfig(out=out, session=SessionOptions(**session))
    return cli.prepare(config, ["jax"])[0]


@pytest.mark.parametrize(
    "name", ["file", "file/below", "link", "link/below", "/proc/x", "a" * 300, f"a/{'b' * 300}/c"]
)
def test_a_folder_that_cannot_be_is_refused(capsys, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    with pytest.raises(SystemExit) as caught:
        prepare(Path(name))
    assert caught.value.code == 2
    assert f"--out {name}: not a folder that can be written to" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["file", "link"]


def test_a_folder_without_permission_is_refused_and_removed(capsys, monkeypatch, tmp_path):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(results.tempfile, "TemporaryFile", refuse)
    (tmp_path / "there").mkdir()
    for name in ("there", "there/new/deep"):
        with pytest.raises(SystemExit) as caught:
            prepare(tmp_path / name)
        assert caught.value.code == 2
        assert "Permission denied" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_folder_is_made_with_its_parents(monkeypatch, tmp_path):
    assert prepare(tmp_path / "new/deep") == tmp_path / "new/deep"
    assert list((tmp_path / "new/deep").iterdir()) == []
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    assert prepare(None).relative_to(tmp_path) == Path("figures/copy_task")


@pytest.mark.usefixtures("two_devices")
def test_more_devices_than_there_are_is_one_line(capsys):
    cli.require_backends(["jax"], "auto")
    cli.require_backends(["jax"], 2)
    with pytest.raises(SystemExit) as caught:
        cli.require_backends(["jax"], 3)  # JAX has started, with the two of the tests
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: --devices 3: JAX sees 2 devices\n"


@pytest.mark.parametrize(("backend", "extra"), [("torch", "jaxrnn[torch]"), ("jax", "jaxrnn")])
def test_a_missing_framework_is_one_line(capsys, monkeypatch, backend, extra):
    def load(name):
        if name == backend:
            raise ModuleNotFoundError(f"No module named '{backend}'")

        return SimpleNamespace(start=lambda devices: None)

    monkeypatch.setattr(cli, "load_backend", load)
    cli.require_backends([{"jax": "torch", "torch": "jax"}[backend]])
    with pytest.raises(SystemExit) as caught:
        cli.require_backends(["jax", "torch"])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert f"--backend {backend}" in message
    assert f"'{extra}'" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (Interrupted([]), 130, "interrupted"),
        (Interrupted([], KeyboardInterrupt()), 130, "interrupted"),
        (Interrupted([], Terminated()), 143, "terminated"),
        (Interrupted([], NotWritten("checkpoint-3 not written: full")), 1, "error: checkpoint-3"),
        (Terminated(), 143, "terminated"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (NotWritten("x.png could not be written: full"), 1, "error: x.png could not be written"),
    ],
)
def test_exit_statuses(capsys, error, status, message):
    def execute(config):
        raise error

    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
        cli.run(CopyTaskConfig, execute, PRESETS, [])
    assert caught.type is SystemExit
    assert caught.value.code == status
    assert message in capsys.readouterr().err


def test_a_terminal_without_the_signs_of_a_table_stops_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    cli.run(CopyTaskConfig, lambda config: print("1 ± 2"), PRESETS, [])
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"1 ? 2\n"


def test_ctrl_c_waits_for_the_files():
    reached = False
    with contextlib.suppress(KeyboardInterrupt), report.uninterrupted():
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        (RetractionsConfig(), "retractions"),
        (RetractionsConfig(out=Path("x")), "retractions"),
        (RetractionsConfig(seeds=2), "retractions/custom"),
        (GradientSpikesConfig(devices=1), "gradient_spikes/custom"),
        (GradientAnalysisConfig(devices=1), "gradient_analysis"),
        (GradientAnalysisConfig(quick=True), "gradient_analysis/quick"),
        (GradientAnalysisConfig(quick=True, hidden=9), "gradient_analysis/quick/custom"),
        (RemediesConfig(quick=True, out=Path("x")), "remedies/quick"),
        (RemediesConfig(quick=True, seeds=2), "remedies/custom"),
        (DoctorCalibrationConfig(train=True, sets=("held_out",)), "doctor/custom"),
    ],
)
def test_only_the_defaults_go_to_the_folder_of_an_experiment(config, folder):
    assert config.folder == Path(folder)
