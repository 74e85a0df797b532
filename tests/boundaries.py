"""Every argument of a public function, of wrong type, shape, dtype and range.

A call either works, or a ValueError or TypeError of the package names the argument: never an error
from inside JAX, PyTorch, NumPy or Flax.
"""

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

CALLS = 500
AT_ONCE = 20  # by themselves they took twice as long
LARGEST = 5  # of any axis


class Target(NamedTuple):
    """A function, and arguments that it takes.

    Attributes:
      fixed: those that are not varied.
      also: names of an argument's parts, either of which says where a fault is.
    """

    call: Callable[..., Any]
    arguments: dict[str, Any]
    fixed: tuple[str, ...] = ()
    also: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 — read only


DTYPES = st.sampled_from(["f4", "f8", "f2", "i4", "u1", "?", "c8", "U2", "O", "M8[s]"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=LARGEST),
        elements=st.none() if dtype == "O" else None,
    )
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, -(2**40), 10**400]),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.builds(object),
)
ANYTHING = st.one_of(
    SCALARS,
    ARRAYS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=2), SCALARS, max_size=2),
)


def assert_named(home: Path, call: Callable[[], Any], *names: str) -> None:
    """It works, or says in the package's own words what is wrong with the argument."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
        return
    except (ValueError, TypeError) as caught:
        error = caught
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    assert home in raised_in.parents, f"{type(error).__name__} from {raised_in}: {error}"
    assert any(name in str(error) for name in names), f"does not name {names}: {error}"


def try_each_argument(home: Path, target: Target, anything: Any = ANYTHING) -> None:
    """The function with one argument after the other exchanged for anything at all."""
    call, arguments, fixed, also = target
    call(**arguments)  # works

    names = st.sampled_from(sorted(arguments.keys() - set(fixed)))
    changes = st.lists(st.tuples(names, anything), min_size=AT_ONCE, max_size=AT_ONCE)

    # What fails is named, and need not be made smaller.
    @settings(max_examples=CALLS // AT_ONCE, phases=[Phase.generate])
    @given(changes)
    def try_some(changes: list[tuple[str, Any]]) -> None:
        for name, value in changes:
            changed = {**arguments, name: value}
            try:
                assert_named(
                    home, lambda changed=changed: call(**changed), name, *also.get(name, ())
                )
            except Exception as error:
                error.add_note(f"{name} = {value!r}")
                raise

    try_some()
