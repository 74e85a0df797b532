"""Part 5: the library's quick tests, on a GPU.

Those of jaxrnn: the files below tests/ that import neither PyTorch nor the experiments. Some share
bounds with the tests of parity, whose helpers need PyTorch; without it they are left out.
"""

import os
import subprocess
import sys
from pathlib import Path

from experiments.gpu import pytest_rows
from experiments.gpu.machine import missing
from experiments.gpu.part_process import PartProcess
from experiments.harness.records.results import ROOT
from tests.imports import imported_names

OTHERS = {"torch", "torch_ref", "experiments"}
# The first are another part; the others are of the tree and its pages.
LEFT_OUT = ("test_parity", "test_readme", "test_import")
TINY = ("test_checks.py", "test_paths.py")


def test_files(folder: Path, with_torch: bool) -> list[Path]:
    """The files to run, in the order of their names."""
    found = []
    for path in sorted(folder.rglob("test_*.py")):
        names = set(imported_names(path))
        needs_torch = any(name.startswith("tests.parity") for name in names)
        packages = {name.partition(".")[0] for name in names}
        is_ours = packages.isdisjoint(OTHERS) and not path.name.startswith(LEFT_OUT)
        is_experiment = folder / "experiments" in path.parents
        if is_ours and not is_experiment and (with_torch or not needs_torch):
            found.append(path)
    return found


def main() -> None:
    """Run them where JAX runs by default; their bounds are those of exact products."""
    part = PartProcess()
    files = test_files(ROOT / "tests", with_torch=not missing(("torch",)))
    if not part.on_gpu:
        files = [path for path in files if path.name in TINY]
    names = [str(path.relative_to(ROOT)) for path in files]
    command = pytest_rows.command(part, "-m", "not slow", *names)
    environment = {**os.environ, "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    sys.exit(0 if status == 1 else status)  # the rows say which tests failed


if __name__ == "__main__":
    main()
