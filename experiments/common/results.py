"""results.json: what an experiment measured, under which settings, on which versions.

The layout is that of the design: experiment, config, environment and a list of runs. Files are
written to a temporary name and renamed, so that a reader finds the old file or the new one.
"""

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MAX_POINTS = 500  # of one run's "steps"
MAX_POINTS_PER_FILE = 6000  # 4 columns of about 12 bytes each keep the file well under 1 MiB
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


def environment(backends: Iterable[str]) -> dict[str, Any]:
    """Versions, device and commit; only the frameworks that were used are asked for a device."""
    versions = {name: _version(name) for name in ("jax", "flax", "optax", "numpy", "torch")}
    devices = []
    if "jax" in backends:
        import jax

        devices.append(f"jax: {jax.devices()[0].device_kind}")
    if "torch" in backends:
        import torch

        devices.append(f"torch: {'cuda' if torch.cuda.is_available() else 'cpu'}")
    return {
        "python": platform.python_version(),
        **versions,
        "device": ", ".join(devices),
        "commit": _commit(),
    }


def thin(steps: dict[str, np.ndarray], max_points: int) -> dict[str, list]:
    """Cut (K,) columns to ``max_points`` buckets at most, each with its first step and maxima."""
    count = len(steps["step"])
    starts = np.unique(np.linspace(0, count, min(count, max_points) + 1).astype(int)[:-1])
    thinned: dict[str, list] = {}
    for name, column in steps.items():
        if not count:
            thinned[name] = []
        elif name == "step":
            thinned[name] = column[starts].tolist()
        else:
            thinned[name] = np.fmax.reduceat(np.asarray(column, float), starts).tolist()
    return thinned


def write_results(
    out: Path, experiment: str, config: Any, runs: Sequence[Run], backends: Iterable[str]
) -> dict[str, Any]:
    """Write ``out``/results.json and return its contents as a reader would load them."""
    points = min(MAX_POINTS, max(1, MAX_POINTS_PER_FILE // max(1, len(runs))))
    entries = []
    for run in runs:
        entry = dataclasses.asdict(run)
        if run.steps:
            entry["steps"] = thin(run.steps, points)
        entries.append(entry)
    payload = plain(
        {
            "experiment": experiment,
            "config": dataclasses.asdict(config),
            "environment": environment(backends),
            "runs": entries,
        }
    )
    text = json.dumps(payload, indent=1, allow_nan=False)
    # Lists of numbers on one line each: a tenth of the lines, and readable diffs.
    text = re.sub(r"\[\s[^][{}]*\]", lambda match: " ".join(match[0].split()), text)
    write_atomically(out / "results.json", lambda path: path.write_text(text + "\n"))
    return payload


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


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then rename it to ``path``."""
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _version(package: str) -> str | None:
    # An imported module knows better than the metadata: torch's build suffix is not in an index.
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(package), "__version__", None)


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
