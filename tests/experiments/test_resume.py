"""Processes that are killed, interrupted, or find no room; and resumed runs, bit for bit."""

import signal
import time
from pathlib import Path

import pytest
from experiment_support import Forked, command, load, options, without_timings

from experiments.harness.saving.checkpoints import UNFINISHED, verify

TIMEOUT = 600  # seconds; a command that hangs is killed, and fails its test
KILLS = 20
KILLS_WHILE_SAVING = 5


class Killed:
    """A command that is killed again and again, and resumed.

    Attributes:
      kills: so far.
      while_saving: how many of them left a checkpoint half written.
    """

    def __init__(self, folder: Path, module: str, arguments: list[str]) -> None:
        self.checkpoints = folder / "checkpoints"
        self.folder, self.module = folder, module
        self.arguments = [*arguments, "--out", "killed", "--checkpoint-dir", "checkpoints"]
        self.kills = self.while_saving = 0

    def run(self, kill) -> int | None:
        """Run the command, resumed if it can be; ``kill(process)`` waits for the moment."""
        resume = ["--resume"] if self.number() else []
        with Forked(self.module, *self.arguments, *resume, cwd=self.folder) as process:
            kill(process)
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate(timeout=TIMEOUT)
        if process.returncode != -signal.SIGKILL:
            assert (process.returncode, errors) == (0, "")
            return process.returncode
        self.kills += 1
        self.while_saving += (self.checkpoints / UNFINISHED).exists()
        for path in self.checkpoints.glob("checkpoint-*"):
            verify(path)
        return None

    def number(self) -> int:
        """The number of the newest checkpoint; 0: none yet."""
        names = (path.name for path in self.checkpoints.glob("checkpoint-*"))
        return max((int(name.partition("-")[2]) for name in names), default=0)

    def wait(self, process, condition) -> None:
        """Until the condition holds or the process has ended."""
        deadline = time.monotonic() + TIMEOUT
        while process.poll() is None and not condition():
            assert time.monotonic() < deadline
            time.sleep(0.0005)


def assert_same_results(first: Path, second: Path) -> None:
    results = [without_timings(load(folder)) for folder in (first, second)]
    for result in results:
        result["config"].pop("out")
    assert results[0] == results[1]


@pytest.mark.slow(minutes=2)
def test_a_run_killed_twenty_times_ends_bit_for_bit_the_same(tmp_path, rng):
    """The copy task as `make copy` trains it, but smaller: 60 chunks of 20 steps."""
    fewer = ["--hidden", "48", "--train-samples", "2560", "--val-samples", "500"]
    with Forked("copy_task", *fewer, "--out", "whole", cwd=tmp_path) as process:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    killed = Killed(tmp_path, "copy_task", [*fewer, "--checkpoint-every", "1"])
    # Every kill a few checkpoints after the one before, at any moment of a chunk or of a save.
    last = 63
    while killed.number() < last - 1 and killed.kills < 60:
        kills_left = max(1, KILLS - killed.kills)
        target = killed.number() + max(1, (last - 1 - killed.number()) // (kills_left + 1))
        saving = killed.kills % 2 == 0

        def kill(process, target=target, saving=saving):
            killed.wait(process, lambda: killed.number() >= target)
            if saving:
                killed.wait(process, (killed.checkpoints / UNFINISHED).exists)
                time.sleep(rng.uniform(0, 0.01))
            else:
                time.sleep(rng.uniform(0, 0.2))

        if killed.run(kill) is not None:
            break
    assert killed.run(lambda process: process.wait(TIMEOUT)) == 0
    assert_same_results(tmp_path / "whole", tmp_path / "killed")
    assert killed.kills >= KILLS
    assert killed.while_saving >= KILLS_WHILE_SAVING
    print(f"{killed.kills} kills, {killed.while_saving} of them while a checkpoint was saved")


ADDING = {
    "seq_len": 6,
    "hidden": 8,
    "epochs": 2,
    "train_samples": 8_800,  # 550 steps: chunks of 500 and 50
    "val_samples": 50,
    "test_samples": 120,
    "optimizer": "sgd",
    "lr": 0.01,
    "seeds": 2,
}


def adding(**changes) -> list[str]:
    words = ["--irnn"]
    for name, value in {**ADDING, **changes}.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    return words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "number", "status"),
    [("jax", signal.SIGTERM, 143), ("torch", signal.SIGINT, 130), ("both", signal.SIGTERM, 143)],
)
def test_a_signal_saves_and_the_resumed_run_is_the_same(tmp_path, backend, number, status):
    """Several seeds, a fixed training set, a test set; the folder is ours while the run lives."""
    arguments = adding(backend=backend)
    with Forked("adding_task", *arguments, "--out", "whole", cwd=tmp_path) as process:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    killed = Killed(tmp_path, "adding_task", arguments)
    late = 5 if backend == "both" else 1  # in the second job, or in the middle of an epoch
    with Forked("adding_task", *killed.arguments, cwd=tmp_path) as process:
        killed.wait(process, lambda: killed.number() >= late)
        second = [*arguments, "--checkpoint-dir", "checkpoints", "--resume"]
        with command("adding_task", *second, "--out", "second", cwd=tmp_path) as other:
            process.send_signal(signal.SIGSTOP)  # it must not end before the other looks
            _, errors = other.communicate(timeout=TIMEOUT)
            process.send_signal(signal.SIGCONT)
        assert (other.returncode, errors.count("\n")) == (2, 1)
        assert "another run is writing to --checkpoint-dir" in errors
        process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status
    assert errors.splitlines()[-1] == {143: "terminated", 130: "interrupted"}[status]
    assert load(tmp_path / "killed")["runs"][-1]["status"] == "interrupted"
    assert killed.run(lambda process: process.wait(TIMEOUT)) == 0
    assert_same_results(tmp_path / "whole", tmp_path / "killed")
    # Nothing is left to do: the last checkpoint holds it all.
    assert killed.run(lambda process: process.wait(TIMEOUT)) == 0
    assert_same_results(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_what_resume_refuses_is_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.png").touch()
    before = sorted(tmp_path.rglob("*"))
    for folder, message in (("nowhere", "holds no checkpoint"), ("photos", "holds no checkpoint")):
        words = [*options(), "--out", "new", "--checkpoint-dir", folder, "--resume"]
        with Forked("copy_task", *words, cwd=tmp_path) as process:
            _, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, errors.count("\n")) == (2, 1)
        assert message in errors
        assert sorted(tmp_path.rglob("*")) == before
