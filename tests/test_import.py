"""What may import what, and what must not be loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrnn
from tests.imports import imported_names

ROOT = Path(__file__).parents[1]
MODULES = {
    package: [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    for package in ("jaxrnn", "torch_ref", "experiments")
}
FORBIDDEN = {
    "jaxrnn": ("torch", "torch_ref", "experiments", "tests"),
    "torch_ref": ("jax", "jaxlib", "flax", "optax", "jaxrnn", "experiments", "tests"),
}
# Within the library imports point one way: a module may import those before it, never those after.
ORDER = [
    "checks",
    "array_checks decompositions devices",
    "retraction",
    "nearest",
    "tasks cell_types activations sequences orthogonal initializers numpy_rnn",
    "wrappers",
    "paths cells text",
    "selection",
    "transforms convert group",
    "optimizers",
    "bptt",
    "recurrent_layer",
    "model",
    "stacked diagnostics",
    "losses",
    "sampling training diagnosis",
]


def run(program):
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def loaded_by(statement):
    """The top-level packages that are loaded after a statement in a fresh interpreter."""
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    return set(run(program).split())


@pytest.mark.parametrize(
    "statement",
    [
        "import jaxrnn",
        "import jaxrnn.tasks",
        "import jaxrnn; jaxrnn.tasks.AddingTask(3); jaxrnn.CopyTask; dir(jaxrnn)",
    ],
)
def test_the_package_and_its_tasks_do_without_jax(statement):
    # This is also what keeps `import jaxrnn` quick.
    assert loaded_by(statement).isdisjoint({"jax", "flax", "optax", "torch"})


@pytest.mark.parametrize("package", FORBIDDEN)
def test_all_modules_load_without_the_other_framework(package):
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in FORBIDDEN[package])
    everything = "\n".join(f"import {module}" for module in MODULES[package])
    run(f"import sys\n{blocked}{everything}\nfrom {package} import *")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_function_imports_the_other_framework_later(package):
    for path in (ROOT / package).rglob("*.py"):
        packages = {name.split(".")[0] for name in imported_names(path)}
        assert packages.isdisjoint(FORBIDDEN[package]), path


def test_imports_within_the_library_point_one_way():
    rank = {name: i for i, names in enumerate(ORDER) for name in names.split()}
    assert rank.keys() == {module.split(".")[1] for module in MODULES["jaxrnn"] if "." in module}
    for path in sorted((ROOT / "jaxrnn").rglob("*.py")):
        name = path.relative_to(ROOT / "jaxrnn").with_suffix("").parts[0]
        for imported in imported_names(path):
            # Within a package it is for the package to say what comes first.
            if imported.startswith("jaxrnn.") and imported.split(".")[1] != name:
                assert rank[imported.split(".")[1]] < rank[name], f"{path} imports {imported}"


def test_every_public_name_exists_and_is_listed():
    # lazy_loader reads the stub's imports; type checkers and readers, its __all__.
    stub = (ROOT / "jaxrnn" / "__init__.pyi").read_text()
    listed = ast.literal_eval(stub.partition("__all__ = ")[2])
    assert listed == sorted(jaxrnn.__all__) == sorted(dir(jaxrnn))
    for name in listed:
        assert getattr(jaxrnn, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(jaxrnn, "no_such_name")  # noqa: B009
