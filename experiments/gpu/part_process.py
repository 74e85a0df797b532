"""A part's own side of its process: on what, for how long, and where its rows go.

    python -m experiments.gpu.<module> --part NAME --rows FILE --until TIME --device gpu|cpu

A row is a run of results.json, written as one line of JSON as soon as it is known. A later row of
the same method, backend and settings takes the place of an earlier one.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.harness.records.results import Run, plain


def append_row(path: Path, run: Run) -> None:
    """Add a row to a file that a process which dies may leave at any moment."""
    with path.open("a") as rows:
        rows.write(json.dumps(plain(dataclasses.asdict(run)), allow_nan=False) + "\n")


def read_rows(path: Path) -> list[Run]:
    """The rows of a file, each in the last form that was written; a broken last line is none."""
    found: dict[str, Run] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            run = Run(**json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise
            continue
        found[json.dumps([run.method, run.backend, run.settings], sort_keys=True)] = run
    return list(found.values())


class PartProcess:
    """What a part knows when it starts.

    Attributes:
      name: of the part.
      rows: the file of its rows.
      on_gpu: whether to measure on a GPU; else at tiny sizes, on a CPU.
      options: its own arguments.
    """

    def __init__(self, *flags: str) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--part", required=True)
        parser.add_argument("--rows", type=Path, required=True)
        parser.add_argument("--until", type=float, required=True)
        parser.add_argument("--device", choices=["gpu", "cpu"], required=True)
        for flag in flags:
            parser.add_argument(flag, action="store_true")
        self.options = parser.parse_args()
        self.name, self.rows = self.options.part, self.options.rows
        self.on_gpu = self.options.device == "gpu"

    def seconds_left(self) -> float:
        """Until the part should have come to its end."""
        return self.options.until - time.time()

    def write(self, method: str, backend: str, final: dict[str, Any], **settings: Any) -> None:
        """Add a row."""
        append_row(self.rows, Run(method, backend, 0, {"part": self.name, **settings}, final=final))

    def attempt(
        self, measure: Callable[[], dict[str, Any]], method: str, backend: str, **settings: Any
    ) -> None:
        """Add the row of ``measure()``, or one that says why there is none; others go on."""
        try:
            final = measure()
        except Exception as error:  # whatever a GPU, its compiler or its memory may raise
            final = failure(error)
        self.write(method, backend, final, **settings)


def failure(error: Exception) -> dict[str, Any]:
    """What a row says of what could not be measured."""
    lines = str(error).strip().splitlines() or [""]
    return {"failed": f"{type(error).__name__}: {lines[0][:300]}"}
