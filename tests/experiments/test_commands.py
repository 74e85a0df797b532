"""The commands as processes: exit statuses, Ctrl-C, and one backend without the other."""

import signal
import time

import pytest
from experiment_support import PNG, command, load, options, words

TIMEOUT = 300  # seconds; a command that hangs is killed, and fails its test


def test_the_command_refuses_and_leaves_nothing(tmp_path):
    with command("copy_task", *options(hidden=0), "--out", "new", cwd=tmp_path) as process:
        message = words("".join(process.communicate(timeout=TIMEOUT)))
    assert process.returncode == 2
    assert "--hidden must be from 1" in message
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "backend", "blocked"),
    [
        ("copy_task", "torch", "torch"),
        ("copy_task", "jax", "jax jaxlib flax optax"),
        ("benchmark", None, "torch"),
        ("gradient_spikes", None, "jax jaxlib flax optax"),
    ],
)
def test_the_command_without_the_framework(tmp_path, module, backend, blocked):
    arguments = ["--out", "new"] + (["--backend", backend] if backend else [])
    with command(module, *arguments, cwd=tmp_path, blocked=blocked) as process:
        _, message = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    assert f"needs the package {blocked.split()[0]}" in message
    assert "pip install" in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_ctrl_c_keeps_the_epochs_that_ended(tmp_path, backend):
    arguments = options(backend=backend, seeds=2, epochs=100_000, methods="qr vanilla")
    with command("copy_task", *arguments, "--out", "out", cwd=tmp_path) as process:
        assert "epoch 1/100000" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert errors == "interrupted\n"
    runs = load(tmp_path / "out")["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    for run in runs:
        assert run["status"] == "interrupted"
        assert len(run["history"]["epoch"]) >= 1
    assert (tmp_path / "out/copy_task.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_ctrl_c_while_jax_compiles_has_nothing_to_keep(tmp_path):
    arguments = [*options(epochs=100_000), "--out", "out"]
    with command("copy_task", *arguments, cwd=tmp_path, compiles=True) as process:
        while not (tmp_path / "out").exists():  # made just before training begins
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT)
    # Where the signal meets generated code, CPython ends itself by it: 130 to a shell all the same.
    assert process.returncode in (130, -signal.SIGINT)
    assert errors == "interrupted\n"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "blocked"),
    [
        ("torch", "jax jaxlib flax optax"),
        ("jax", "torch"),
        ("numpy", "jax jaxlib flax optax torch"),
    ],
)
def test_each_backend_trains_without_the_others(tmp_path, backend, blocked):
    arguments = options(backend=backend, methods="vanilla", epochs=1)
    with command("copy_task", *arguments, "--out", "out", cwd=tmp_path, blocked=blocked) as process:
        _, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, "")
    (run,) = load(tmp_path / "out")["runs"]
    assert (run["backend"], run["status"]) == (backend, "completed")
    written = sorted(path.name for path in tmp_path.rglob("*"))
    assert written == ["copy_task.png", "out", "results.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("devices", ["1", "2"])
def test_jax_starts_with_the_devices_asked_for(tmp_path, devices):
    arguments = [*options(methods="qr", epochs=1, devices=devices), "--out", "out"]
    with command("copy_task", *arguments, cwd=tmp_path) as process:
        _, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, "")
    assert load(tmp_path / "out")["environment"]["device"] == f"jax: {devices} x cpu"
