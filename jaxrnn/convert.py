"""Weights as a plain dictionary in the letters of the equations, the meeting point of frameworks.

    W_xh (N, D)   W_hh (N, N)   b_h (N,)   W_hy (C, N)   b_y (C,)   and b_modrelu (N,) for modReLU

All as the equations write them, h = phi(W_xh x + W_hh h + b_h); torch_ref.convert reads and writes
the same dictionary.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.paths import named_leaves

Weights = dict[str, np.ndarray]

# Where each array lives in the parameters of SequenceModel(VanillaCell(...)), and whether a Flax
# kernel (in, out) has to be transposed to the (out, in) of the equations.
_PLACES = {
    "W_xh": (("cell", "i", "kernel"), True),
    "W_hh": (("cell", "h", "kernel"), True),
    "b_h": (("cell", "i", "bias"), False),
    "b_modrelu": (("cell", "modrelu_bias"), False),
    "W_hy": (("readout", "kernel"), True),
    "b_y": (("readout", "bias"), False),
}


def to_weights(params: Mapping[str, Any]) -> Weights:
    """The arrays of a ``SequenceModel(VanillaCell(...))``, or of gradients of its shape.

    Leading dimensions, such as S seeds, are kept.

    Raises:
      ValueError: a parameter is missing or unknown.
    """
    leaves = dict(named_leaves(params))
    weights = {}
    for name, (keys, transposed) in _PLACES.items():
        path = "/".join(keys)
        if path in leaves:
            array = np.asarray(leaves.pop(path))
            weights[name] = np.swapaxes(array, -1, -2) if transposed else array
        elif name != "b_modrelu":
            raise ValueError(f"parameter {path} is missing: not a vanilla SequenceModel")
    if leaves:
        raise ValueError(f"unknown parameters {', '.join(leaves)}: not a vanilla SequenceModel")
    return weights


def from_weights(weights: Weights) -> dict[str, Any]:
    """The parameters of a ``SequenceModel(VanillaCell(...))`` from its arrays.

    Raises:
      ValueError: an array is missing or unknown.
    """
    missing = _PLACES.keys() - {"b_modrelu"} - weights.keys()
    unknown = weights.keys() - _PLACES.keys()
    if missing or unknown:
        raise ValueError(f"missing arrays {sorted(missing)}, unknown arrays {sorted(unknown)}")
    params: dict[str, Any] = {}
    for name, array in weights.items():
        (*parents, last), transposed = _PLACES[name]
        node = params
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = jnp.asarray(np.swapaxes(array, -1, -2) if transposed else array)
    return params
