"""Weights as a plain dictionary in the letters of the equations, the meeting point of frameworks.

    W_xh (N, D)   W_hh (N, N)   b_h (N,)   W_hy (C, N)   b_y (C,)   and b_modrelu (N,) for modReLU

All as the equations write them, h = phi(W_xh x + W_hh h + b_h). Gated cells have one of each for
every gate: W_xr, W_hr, b_r for the reset gate of a GRU (r, z, n; and b_hn, which its reset gate
multiplies), W_xi, W_hi, b_i for the input gate of an LSTM (i, f, g, o). Wrapped cells have those of
the cell inside; the last N columns of W_x… in a SkipCell, (N, D + N), are for h_{t-k}.
torch_ref.convert reads and writes the same dictionary.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.paths import named_leaves

Weights = dict[str, np.ndarray]

# Where each array lives in the parameters of a SequenceModel. A Flax kernel (in, out) is transposed
# to the (out, in) of the equations.
_READOUT = {"W_hy": "readout/kernel", "b_y": "readout/bias"}
_PLACES: dict[str, dict[str, str]] = {
    "VanillaCell": {
        "W_xh": "cell/i/kernel",
        "W_hh": "cell/h/kernel",
        "b_h": "cell/i/bias",
        "b_modrelu": "cell/modrelu_bias",
        **_READOUT,
    },
    "GRUCell": {
        **{f"W_x{gate}": f"cell/i{gate}/kernel" for gate in "rzn"},
        **{f"W_h{gate}": f"cell/h{gate}/kernel" for gate in "rzn"},
        **{f"b_{gate}": f"cell/i{gate}/bias" for gate in "rzn"},
        "b_hn": "cell/hn/bias",
        **_READOUT,
    },
    "LSTMCell": {
        **{f"W_x{gate}": f"cell/i{gate}/kernel" for gate in "ifgo"},
        **{f"W_h{gate}": f"cell/h{gate}/kernel" for gate in "ifgo"},
        **{f"b_{gate}": f"cell/h{gate}/bias" for gate in "ifgo"},
        **_READOUT,
    },
}
_OPTIONAL = {"b_modrelu"}


def _cell_of(has: Callable[[str, str], bool]) -> str:
    """The cell of which most arrays are there."""
    counts = {cell: sum(has(*place) for place in _PLACES[cell].items()) for cell in _PLACES}
    return max(counts, key=counts.__getitem__)


def to_weights(params: Mapping[str, Any]) -> Weights:
    """The arrays of a ``SequenceModel`` of a ``VanillaCell``, or of flax's ``GRUCell`` or
    ``LSTMCell``, or of one of these in a wrapper; or of gradients of its shape.

    Leading dimensions, such as S seeds, are kept.

    Raises:
      ValueError: a parameter is missing or unknown.
    """
    leaves = dict(named_leaves(params))
    cell = _cell_of(lambda name, path: path in leaves)
    weights = {}
    for name, path in _PLACES[cell].items():
        if path in leaves:
            weights[name] = _turned(path, np.asarray(leaves.pop(path)))
        elif name not in _OPTIONAL:
            raise ValueError(f"parameter {path} is missing: not a SequenceModel of a {cell}")
    if leaves:
        raise ValueError(f"unknown parameters {', '.join(leaves)}: not a SequenceModel of a {cell}")
    return weights


def from_weights(weights: Weights) -> dict[str, Any]:
    """The parameters of a ``SequenceModel`` from its arrays.

    Raises:
      ValueError: an array is missing or unknown.
    """
    places = _PLACES[_cell_of(lambda name, path: name in weights)]
    missing = places.keys() - _OPTIONAL - weights.keys()
    unknown = weights.keys() - places.keys()
    if missing or unknown:
        raise ValueError(f"missing arrays {sorted(missing)}, unknown arrays {sorted(unknown)}")
    params: dict[str, Any] = {}
    for name, array in weights.items():
        *parents, last = places[name].split("/")
        node = params
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = jnp.asarray(_turned(places[name], array))
    return params


def _turned(path: str, array: np.ndarray) -> np.ndarray:
    return np.swapaxes(array, -1, -2) if path.endswith("kernel") else array
