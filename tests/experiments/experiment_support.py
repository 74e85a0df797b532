"""Small experiments, strict reading of what they wrote, and a backend that trains nothing."""

import json
import multiprocessing
import os
import re
import runpy
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import numpy as np
import pytest

from experiments.copy_task.config import CopyTaskConfig
from experiments.harness.records.results import ROOT
from experiments.harness.training.runner import Interrupted
from jaxrnn.training import Measurements

SMALL = {
    "hidden": 8,
    "seq_len": 3,
    "epochs": 2,
    "train_samples": 60,  # 4 steps of 16, the last samples rounded up
    "batch_size": 16,
    "val_samples": 20,
    "track_every": 2,
}
PNG = b"\x89PNG\r\n\x1a\n"


def small(out=None, **changes) -> CopyTaskConfig:
    """A copy task that trains in seconds."""
    return CopyTaskConfig(**{**SMALL, "out": out, **changes})


def options(**fields) -> list[str]:
    """The command line of a small copy task."""
    words = []
    for name, value in {**SMALL, **fields}.items():
        words += ["--" + name.replace("_", "-"), *str(value).split()]
    return words


def load(out: Path) -> dict:
    """results.json; NaN and Infinity, which are no JSON, are refused."""

    def refuse(constant):
        raise AssertionError(f"{constant} in results.json")

    return json.loads((out / "results.json").read_text(), parse_constant=refuse)


def without_timings(results: dict) -> dict:
    """What has to be the same, bit for bit, for the same seed."""
    runs = [
        {key: value for key, value in run.items() if key not in ("seconds", "steps_per_second")}
        for run in results["runs"]
    ]
    environment = {k: v for k, v in results["environment"].items() if k != "commit"}
    return {**results, "runs": runs, "environment": environment}


def words(text: str) -> str:
    """A message without the box that is drawn around it and without its line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@contextmanager
def command(
    module: str, *arguments: str, cwd: Path, blocked: str = "", compiles: bool = False
) -> Iterator[Popen]:
    """A process of ``python -m experiments.<module>``.

    Args:
      module: of the experiment.
      arguments: its options.
      cwd: where it runs.
      blocked: packages that are not installed there.
      compiles: whether it compiles everything itself, without the tests' cache.
    """
    hook = cwd.parent / f"{cwd.name}-hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked.split()}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
    line = [sys.executable, "-u", "-m", f"experiments.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{hook}{os.pathsep}{ROOT}"}
    if compiles:
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    with Popen(line, cwd=cwd, env=environment, text=True, stdout=PIPE, stderr=PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


class Forked:
    """``command`` in a process forked from one that has imported what the commands import.

    That takes longer than all else before a short run. It is a process like any other: signals
    reach it, and it is killed as every process is. The methods are those of Popen.
    """

    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload(
        [
            "experiments.adding_task.command",
            "experiments.copy_task.command",
            "experiments.harness.backends.jax_backend",
            "experiments.harness.backends.torch_backend",
            "orbax.checkpoint",
        ]
    )

    def __init__(self, module: str, *arguments: str, cwd: Path) -> None:
        self._errors = cwd / f"errors-{module}.txt"
        words = (module, arguments, cwd, self._errors)
        self._process = self._context.Process(target=_run_forked, args=words)
        self._process.start()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *caught: object) -> None:
        self._process.kill()
        self._process.join()
        self._errors.unlink(missing_ok=True)

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout: float) -> int | None:
        self._process.join(timeout)
        return self.poll()

    def communicate(self, timeout: float) -> tuple[None, str]:
        assert self.wait(timeout) is not None, "the command hangs"
        return None, self._errors.read_text()

    returncode = property(poll)


def _run_forked(module: str, arguments: tuple[str, ...], cwd: Path, errors: Path) -> None:
    os.chdir(cwd)
    for path, stream in ((os.devnull, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = [module, *arguments]
    runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)


@contextmanager
def ctrl_c():
    """The block must raise Interrupted; a KeyboardInterrupt left alone would end pytest itself."""
    with pytest.raises((Interrupted, KeyboardInterrupt)) as caught:
        yield caught
    assert caught.type is Interrupted


class FakeBackend:
    """Stands for a backend module; ``spoil(epoch, columns)`` changes what an epoch measures.

    Every epoch measures known numbers: loss 1/epoch, and the step's number as its gradient norm.
    """

    def __init__(self, num_seeds=1, spoil=lambda epoch, columns: None, val_loss=None):
        self.num_seeds, self.spoil, self.epoch = num_seeds, spoil, 0
        self.val_loss = val_loss or (lambda epoch: np.full(num_seeds, 0.5 / epoch))
        self.batches, self.validation, self.weights, self.cuts = [], [], None, []

    def initial_weights(self, recipe, seed):
        return {"seed": seed}

    def make_trainer(self, recipe, weights):
        self.weights, self.epoch = weights, 0
        return self

    def train(self, batches):
        self.batches.append(batches)
        self.epoch += 1
        batch = next(batch for batch in batches if batch is not None)
        shape = self.num_seeds, len(batch.inputs)
        numbers = np.arange(shape[1]) + (self.epoch - 1) * shape[1]
        columns = Measurements(
            loss=np.full(shape, 1 / self.epoch),
            accuracy=np.full(shape, 0.25),
            grad_norm=np.tile(numbers, (shape[0], 1)).astype(float),
            spectral_norm=np.full(shape, 1.5),
            orthogonality_error=np.full(shape, 0.125),
        )
        self.spoil(self.epoch, columns)
        return columns

    def state(self, seed):
        return {"epoch": np.array(self.epoch)}

    def restore(self, seed, state):
        self.epoch = int(state["epoch"])

    def cut_learning_rate(self, seed, factor):
        self.cuts.append((seed, factor))

    def evaluate(self, batches):
        self.validation.append(batches)
        return self.val_loss(self.epoch), np.full(self.num_seeds, 0.75)
