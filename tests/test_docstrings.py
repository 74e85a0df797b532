"""Every public name has an example in its docstring, and the examples do what they say.

Public is what the pages of the API reference show: of a package its own ``__all__``, of a module
its functions and classes.
"""

import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import jaxrnn
import torch_ref

PAGES = Path(__file__).parents[1] / "docs" / "api"
MODULES = {
    name: importlib.import_module(name)
    for page in sorted(PAGES.glob("*.md"))
    for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))
}


def public_objects(module: ModuleType) -> list[Any]:
    """Functions and classes; constants have no docstring."""
    own = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    values = [getattr(module, name) for name in own]
    return [value for value in values if hasattr(value, "__qualname__")]


OBJECTS = {
    f"{one.__module__}.{one.__qualname__}": one
    for module in MODULES.values()
    for one in public_objects(module)
}


def examples_of(documented: Any, name: str, names: dict[str, Any]) -> doctest.DocTest:
    text = inspect.cleandoc(documented.__doc__ or "")
    return doctest.DocTestParser().get_doctest(text, names, name, name, 0)


def report_of(test: doctest.DocTest) -> str:
    """What differs from what the examples say; nothing if they are right."""
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    told: list[str] = []
    # Names stay for the examples that follow.
    runner.run(test, out=told.append, clear_globs=False)
    return "".join(told)


def names_for(name: str) -> dict[str, Any]:
    """What the package says that its examples begin with."""
    package = importlib.import_module(name.partition(".")[0])
    test = examples_of(package, package.__name__, {})
    assert report_of(test) == ""
    return test.globs


@pytest.mark.parametrize("package", [jaxrnn, torch_ref])
def test_the_pages_show_all_modules_of_a_package(package):
    values = [getattr(package, name) for name in package.__all__]
    shown = {id(one) for one in [*MODULES.values(), *OBJECTS.values()]}
    assert [one for one in values if id(one) not in shown] == []


@pytest.mark.parametrize("name", OBJECTS)
def test_examples(name):
    test = examples_of(OBJECTS[name], name, names_for(name))
    assert test.examples, f"{name} has no example"
    assert any(example.want for example in test.examples), f"the example of {name} shows nothing"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert report_of(test) == ""


def test_a_wrong_example_is_seen():
    def wrong():
        """>>> jnp.zeros((2, 3)).shape
        (3, 2)
        """

    report = report_of(examples_of(wrong, "wrong", names_for("jaxrnn")))
    assert re.search(r"Expected:\s+\(3, 2\)\s+Got:\s+\(2, 3\)", report)
