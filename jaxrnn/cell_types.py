"""What the library knows of each kind of cell, by the name of its class.

Converting weights, finding recurrent kernels, measuring saturation and advising remedies all read
this one table. A cell that is not in it is trained and diagnosed like any other, but its weights
are not converted, its saturation is not measured, and no remedy is left out because it is in use.

The name of a wrapped cell says what is around it, the outermost first: LeakyCell(GRUCell).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

# From the arrays of a carry, and phi, to values of phi.
Activated = Callable[[Sequence[Any], Callable[..., Any]], Any]
_NO_ARRAYS: Mapping[str, str] = MappingProxyType({})


def _h(carry: Sequence[Any], phi: Callable[..., Any]) -> Any:
    """h, which is one of phi's values, or a mean of them where gates mix it with h_{t-1}."""
    return carry[-1]


def _phi_of_c(carry: Sequence[Any], phi: Callable[..., Any]) -> Any:
    """phi(c), of a carry (c, h) with h = o ⊙ phi(c)."""
    return phi(carry[-2])


class CellType(NamedTuple):
    """One kind of cell.

    Attributes:
      classes: names of the classes that have these equations and parameters.
      arrays: its arrays in the letters of ``jaxrnn.convert`` → their paths among its parameters.
        Empty: not converted.
      optional: those arrays that it has with some activations only.
      recurrent: paths of its hidden-to-hidden kernels, W_hh of every gate.
      activated: which values of phi may saturate; the last arrays of a carry are the cell's also
        where it is wrapped. None: not known.
      remedy: its name among the remedies of ``jaxrnn.diagnosis``; None: it is none.
    """

    classes: tuple[str, ...]
    arrays: Mapping[str, str] = _NO_ARRAYS
    optional: tuple[str, ...] = ()
    recurrent: tuple[str, ...] = ()
    activated: Activated | None = None
    remedy: str | None = None


def _gates(letters: str, bias: str) -> dict[str, str]:
    """W_x, W_h and b of each gate; ``bias`` is the kernel, i or h, that b stands beside."""
    return {
        **{f"W_x{gate}": f"i{gate}/kernel" for gate in letters},
        **{f"W_h{gate}": f"h{gate}/kernel" for gate in letters},
        **{f"b_{gate}": f"{bias}{gate}/bias" for gate in letters},
    }


CELL_TYPES: tuple[CellType, ...] = (
    CellType(
        classes=("VanillaCell", "SimpleCell"),
        arrays={
            "W_xh": "i/kernel",
            "W_hh": "h/kernel",
            "b_h": "i/bias",
            "b_modrelu": "modrelu_bias",
        },
        optional=("b_modrelu",),
        recurrent=("h/kernel",),
        activated=_h,
    ),
    CellType(
        classes=("GRUCell",),
        arrays={**_gates("rzn", bias="i"), "b_hn": "hn/bias"},
        recurrent=("hr/kernel", "hz/kernel", "hn/kernel"),
        activated=_h,
        remedy="gru",
    ),
    CellType(
        classes=("LSTMCell", "OptimizedLSTMCell"),
        arrays=_gates("ifgo", bias="h"),
        recurrent=("hi/kernel", "hf/kernel", "hg/kernel", "ho/kernel"),
        activated=_phi_of_c,
        remedy="lstm",
    ),
    CellType(classes=("MGUCell",), recurrent=("hf/kernel", "hn/kernel"), activated=_h),
    CellType(classes=("SkipCell",), remedy="skip"),
    CellType(classes=("LeakyCell",), remedy="leaky"),
)


def cell_types(name: str) -> list[CellType]:
    """Those of a cell and of what is around it, the outermost first; unknown ones are empty."""
    known = {one: cell for cell in CELL_TYPES for one in cell.classes}
    return [known.get(one, CellType((one,))) for one in name.rstrip(")").split("(")]
