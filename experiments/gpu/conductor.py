"""Parts as processes: each in its turn, stopped at its limit, its rows kept however it ends.

A part that hangs in a driver, or takes its process down with it, costs its own time and no more.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.gpu.machine import missing
from experiments.gpu.part_process import read_rows
from experiments.gpu.parts import Part
from experiments.gpu.summary import PART
from experiments.harness.records.results import ROOT, Run

LEAST_MARGIN = 5.0  # seconds, or a tenth of the limit: a part has to end that much earlier
LOOK = 2.0  # seconds between two looks at the rows of a part


class Conductor:
    """Runs parts one after the other.

    Args:
      machine: what experiments.gpu.machine says.
      folder: for the rows of each part, and for the log of them all.
      renew: called with all rows so far whenever there are more.
      say: called with a line when a part begins and when it ends.

    Attributes:
      runs: all rows so far.
    """

    def __init__(
        self,
        machine: dict[str, Any],
        folder: Path,
        renew: Callable[[list[Run]], Any],
        say: Callable[[str], Any],
    ) -> None:
        self._machine, self._folder, self._renew, self._say = machine, folder, renew, say
        self._on_gpu = machine["gpu"] is not None
        self.runs: list[Run] = []

    def conduct(self, parts: Sequence[Part]) -> None:
        """Fill ``runs`` with the rows of all parts, and one that says how each part went.

        Raises:
          KeyboardInterrupt: after what was measured until then has been given to ``renew``.
        """
        for part in parts:
            reason = self._reason_to_leave_out(part)
            outcome = self._outcome(part)
            if reason:
                outcome.final |= {"outcome": "left out", "reason": reason}
                self._end(part, outcome)
                continue
            began = time.monotonic()
            try:
                outcome.final |= self._run(part)
            except KeyboardInterrupt:
                outcome.status, outcome.final["outcome"] = "interrupted", "interrupted"
                raise
            finally:
                outcome.seconds = time.monotonic() - began
                self._end(part, outcome)

    def _reason_to_leave_out(self, part: Part) -> str | None:
        lacking = missing(part.needs)
        if lacking:
            return f"needs {', '.join(lacking)}"
        if self._on_gpu and "torch" in part.needs and "torch" not in self._machine["seen_by"]:
            return "PyTorch sees no GPU"
        return None

    def _outcome(self, part: Part) -> Run:
        return Run(PART, "jax", 0, {"part": part.name}, final={"limit_seconds": self._limit(part)})

    def _limit(self, part: Part) -> float:
        return part.limit if self._on_gpu else part.cpu_limit

    def _rows(self, part: Part) -> list[Run]:
        return read_rows(self._folder / f"{part.name}.jsonl")

    def _end(self, part: Part, outcome: Run) -> None:
        rows = self._rows(part)
        outcome.final["rows"] = len(rows)
        self.runs += [*rows, outcome]
        self._renew(self.runs)
        self._say(f"{part.name}: {how(outcome)}, {len(rows)} rows in {outcome.seconds:.0f} s")

    def _run(self, part: Part) -> dict[str, str]:
        """How it went: completed; or stopped or failed, and why."""
        limit = self._limit(part)
        self._say(f"{part.name}: at most {limit:.0f} s")
        command = [sys.executable, "-m", part.module]
        command += ["--part", part.name, "--rows", str(self._folder / f"{part.name}.jsonl")]
        command += ["--until", str(time.time() + limit - max(LEAST_MARGIN, limit / 10))]
        command += ["--device", "gpu" if self._on_gpu else "cpu", *part.arguments]
        log = self._folder / "log.txt"
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._variables(part),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                status = self._wait(process, part, time.monotonic() + limit)
            finally:
                _kill(process)
        if status is None:
            return {"outcome": "stopped", "reason": f"still running at its limit of {limit:.0f} s"}
        if status == 0:
            return {"outcome": "completed"}
        return {"outcome": "failed", "reason": _why(status, log.read_bytes()[start:])}

    def _variables(self, part: Part) -> dict[str, str]:
        """The environment of a part's process."""
        flags = [os.environ.get("XLA_FLAGS", ""), part.environment.get("XLA_FLAGS", "")]
        variables = {
            **os.environ,
            **part.environment,
            "PYTHONUNBUFFERED": "1",
            "JAX_TRACEBACK_FILTERING": "off",  # it would end in advice instead of the error
            # Two frameworks and several processes share the GPU's memory.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "XLA_FLAGS": " ".join(filter(None, flags)),
        }
        # On a few cores torch's threads and XLA's wait for each other.
        return variables if self._on_gpu else {**variables, "OMP_NUM_THREADS": "1"}

    def _wait(self, process: subprocess.Popen, part: Part, until: float) -> int | None:
        """The exit status; None for a process that is still running then."""
        seen = 0
        while (left := until - time.monotonic()) > 0:
            try:
                return process.wait(timeout=min(LOOK, left))
            except subprocess.TimeoutExpired:
                rows = self._rows(part)
                if len(rows) > seen:
                    self._renew([*self.runs, *rows])
                    seen = len(rows)
        return None


def how(outcome: Run) -> str:
    """How a part went, in words."""
    went, reason = outcome.final.get("outcome", "failed"), outcome.final.get("reason")
    return f"{went}: {reason}" if reason else went


def is_well(runs: Sequence[Run]) -> bool:
    """Whether every part came to its end, or was left out, and nothing in it failed."""
    outcomes = {run.final.get("outcome") for run in runs if run.method == PART}
    failed = any(run.final.get("failed") for run in runs)
    return outcomes <= {"completed", "left out"} and not failed


def _kill(process: subprocess.Popen) -> None:
    """The process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _why(status: int, log: bytes) -> str:
    """What ended a process, and the last line that it wrote."""
    ended = f"exit status {status}"
    if status < 0:
        ended = f"ended by {signal.Signals(-status).name}"
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    return f"{ended}: {lines[-1][:300]}" if lines else ended
