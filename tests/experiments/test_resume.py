"""Processes that are killed, interrupted, or find no room; and resumed runs, bit for bit."""

import signal
import time
from pathlib import Path

import pytest
from experiment_support import command, load, without_timings

from experiments.common.checkpoints import UNFINISHED, verify

TIMEOUT = 600  # seconds; a command that hangs is killed, and fails its test
KILLS = 20
KILLS_WHILE_SAVING = 5


class Killed:
    """A command that is killed again and again, and resumed.

    Attributes:
      kills: so far.
      while_saving: of which so many left a checkpoint half written.
    """

    def __init__(self, folder: Path, module: str, arguments: list[str]) -> None:
        self.checkpoints = folder / "checkpoints"
        self.folder, self.module = folder, module
        self.arguments = [*arguments, "--out", "killed", "--checkpoint-dir", "checkpoints"]
        self.kills = self.while_saving = 0

    def run(self, kill) -> int | None:
        """Run the command, resumed if it can be; ``kill(process)`` waits for the moment."""
        resume = ["--resume"] if self.number() else []
        with command(self.module, *self.arguments, *resume, cwd=self.folder) as process:
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


@pytest.mark.slow
def test_a_default_run_killed_twenty_times_ends_bit_for_bit_the_same(tmp_path, rng):
    """The copy task as `make copy` trains it: three methods, 60 chunks of 157 steps."""
    with command("copy_task", "--out", "whole", cwd=tmp_path) as process:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    killed = Killed(tmp_path, "copy_task", ["--checkpoint-every", "1"])
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
                time.sleep(rng.uniform(0, 0.5))

        if killed.run(kill) is not None:
            break
    assert killed.run(lambda process: process.wait(TIMEOUT)) == 0
    assert_same_results(tmp_path / "whole", tmp_path / "killed")
    assert killed.kills >= KILLS
    assert killed.while_saving >= KILLS_WHILE_SAVING
    print(f"{killed.kills} kills, {killed.while_saving} of them while a checkpoint was saved")
