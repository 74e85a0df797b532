"""results.json: what an experiment measured, under which settings, on which versions.

It holds the experiment's name, its configuration, the environment and a list of runs. Files are
written to a temporary name and renamed, so that a reader finds the old file or the new one.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
MAX_POINTS = 500  # of one run's "steps"
MAX_POINTS_PER_FILE = 6000  # and half as many epochs: 0.7 MiB at most
SIGNIFICANT_DIGITS = 8  # float32 has seven


@dataclass
class Run:
    """One method trained from one seed; the fields of a run in results.json."""

    method: str
    backend: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    status: str = "completed"
    history: dict[str, list] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    final: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    steps_per_second: float = 0.0


class NotWritten(Exception):  # noqa: N818 — as in Interrupted, the message says what happened
    """A file could not be written."""


def environment(backends: Iterable[str]) -> dict[str, Any]:
    """Versions, device and commit; only the frameworks that were used are asked for a device."""
    versions = {name: _version(name) for name in ("jax", "flax", "optax", "numpy", "torch")}
    devices = []
    if "jax" in backends:
        import jax

        devices.append(f"jax: {len(jax.devices())} x {jax.devices()[0].device_kind}")
    if "torch" in backends:
        import torch

        devices.append(f"torch: {torch.get_default_device().type}")
    if "numpy" in backends:
        devices.append("numpy: cpu")
    return {
        "python": platform.python_version(),
        **versions,
        "device": ", ".join(devices),
        "commit": _commit(),
    }


def thin(steps: dict[str, np.ndarray], max_points: int, longest: int) -> dict[str, list]:
    """Cut (K,) columns to ``max_points`` buckets at most, each with its first step and maxima.

    Runs that are shown together share the buckets of the ``longest`` of them, whatever their own K.
    """
    count = len(steps["step"])
    edges = _bucket_edges(longest, max_points)[:-1]
    starts = np.unique(np.searchsorted(steps["step"], edges))
    starts = starts[starts < count]
    thinned: dict[str, list] = {}
    for name, column in steps.items():
        if not count:
            thinned[name] = []
        elif name == "step":
            thinned[name] = np.asarray(column)[starts].tolist()
        else:
            thinned[name] = np.fmax.reduceat(np.asarray(column, float), starts).tolist()
    return thinned


def thin_history(history: dict[str, list], max_epochs: int) -> dict[str, list]:
    """Keep ``max_epochs`` rows at most, the last among them.

    Where a row says a maximum, it is that since the row before.
    """
    count = max(map(len, history.values()), default=0)
    if count <= max_epochs:
        return history
    edges = _bucket_edges(count, max_epochs)
    return {
        name: np.fmax.reduceat(np.asarray(column, float), edges[:-1]).tolist()
        if name.endswith("_max")
        else [column[edge - 1] for edge in edges[1:]]
        for name, column in history.items()
    }


def _bucket_edges(count: int, max_buckets: int) -> np.ndarray:
    """Edges, 0 and ``count`` among them, of buckets of nearly equal size."""
    return np.unique(np.linspace(0, count, min(count, max_buckets) + 1).astype(int))


def write_results(
    out: Path,
    experiment: str,
    config: Any,
    runs: Sequence[Run],
    measured_on: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``out``/results.json and return its contents as a reader would load them.

    Args:
      out: the folder.
      experiment: its name.
      config: its dataclass.
      runs: what was measured.
      measured_on: what ``environment`` says.
    """
    points = min(MAX_POINTS, max(2, MAX_POINTS_PER_FILE // max(1, len(runs))))
    lengths: dict[str, int] = {}
    for run in runs:
        length = max(run.steps.get("step", ()), default=-1) + 1
        lengths[_group(run)] = max(lengths.get(_group(run), 0), length)
    entries = []
    for run in runs:
        entry = dataclasses.asdict(run)
        entry["history"] = thin_history(run.history, points // 2)
        if run.steps:
            entry["steps"] = thin(run.steps, points, lengths[_group(run)])
        entries.append(entry)
    payload = plain(
        {
            "experiment": experiment,
            "config": settings_of(config),
            "environment": dict(measured_on),
            "runs": entries,
        }
    )
    text = json.dumps(payload, indent=1, allow_nan=False)
    # Lists of numbers on one line each: a tenth of the lines, and readable diffs.
    text = re.sub(r"\[\s[^][{}]*\]", lambda match: " ".join(match[0].split()), text)
    write_atomically(out / "results.json", lambda path: path.write_text(text + "\n"))
    return payload


def settings_of(config: Any) -> dict[str, Any]:
    """The fields of a configuration that decide about results."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name != "session"}


def plain(value: Any) -> Any:
    """JSON's own types: arrays to lists, paths to strings, numbers that are not finite to null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[None]:
    """Make ``out`` and try to write to it; if that or the block fails, remove what was made.

    Raises:
      ValueError: a folder that cannot be.
    """
    made: list[Path] = []
    try:
        made += [path for path in (out, *out.parents) if not path.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        yield
    except (OSError, ValueError) as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            said = f"--out {out}: not a folder that can be written to ({error.strerror})"
            raise ValueError(said) from error
        raise


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then rename it to ``path``.

    Raises:
      NotWritten: a full disk, a folder that is gone or may no longer be written to.
    """
    _check_regular(path)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise NotWritten(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """NotWritten unless ``write_atomically`` could write there."""
    _check_regular(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise NotWritten(f"{path} could not be written: {error.strerror or error}") from error


def _check_regular(path: Path) -> None:
    if path.exists() and not path.is_file():  # such as /dev/full, which a file would replace
        raise NotWritten(f"{path} could not be written: not a regular file")


def _group(run: Run) -> str:
    """What the seeds of a method have in common."""
    return f"{run.method} {run.backend} {run.settings}"


def _version(package: str) -> str | None:
    # A package can be imported without having been installed.
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(package), "__version__", None)


def _commit() -> str | None:
    """The commit that was run, "-dirty" behind it where the code differs from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "jaxrnn", "torch_ref", "experiments")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
