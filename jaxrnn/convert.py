"""Weights as a plain dictionary in the letters of the equations, the meeting point of frameworks.

    W_xh (N, D)   W_hh (N, N)   b_h (N,)   W_hy (C, N)   b_y (C,)   and b_modrelu (N,) for modReLU

All as the equations write them, h = phi(W_xh x + W_hh h + b_h). Gated cells have one of each for
every gate: W_xr, W_hr, b_r for the reset gate of a GRU (r, z, n; and b_hn, which its reset gate
multiplies), W_xi, W_hi, b_i for the input gate of an LSTM (i, f, g, o). Wrapped cells have those of
the cell inside; the last N columns of W_x… in a SkipCell, (N, D + N), are for h_{t-k}.
In a StackedModel the names of layer 0 begin with "0/", those of layer 1 with "1/".
torch_ref.convert reads and writes the same dictionary.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.core.meta import unbox
from flax.traverse_util import unflatten_dict

from jaxrnn.cell_types import CELL_TYPES
from jaxrnn.checks import as_numpy
from jaxrnn.paths import named_leaves

Weights = dict[str, np.ndarray]

_READOUT = {"W_hy": "readout/kernel", "b_y": "readout/bias"}
_CONVERTED = [cell for cell in CELL_TYPES if cell.arrays]
_OPTIONAL = {name for cell in _CONVERTED for name in cell.optional}
_EXPECTED = (
    f"not a SequenceModel or StackedModel of {', '.join(cell.classes[0] for cell in _CONVERTED)}"
)


def _places(num_layers: int | None, has: Callable[[str, str], bool]) -> dict[str, str]:
    """The path of each array, in a model of ``num_layers``, or (None) of one cell without number.

    Each layer's cell is the one of which most arrays are there.
    """
    layers = {"": "cell/"}
    if num_layers is not None:
        layers = {f"{i}/": f"cells_{i}/" for i in range(num_layers)}
    places: dict[str, str] = {}
    for prefix, root in layers.items():
        cells = [
            {prefix + name: root + path for name, path in cell.arrays.items()}
            for cell in _CONVERTED
        ]
        counts = [sum(has(*place) for place in cell.items()) for cell in cells]
        places |= cells[counts.index(max(counts))]
    return places | _READOUT


def _num_layers(names: Iterable[str], pattern: str) -> int | None:
    """One more than the largest number that ``pattern`` finds at the beginning of a name."""
    found = [match for match in (re.match(pattern, name) for name in names) if match]
    return 1 + max(int(match[1]) for match in found) if found else None


def to_weights(params: Mapping[str, Any]) -> Weights:
    """The arrays of a ``SequenceModel`` or ``StackedModel`` of ``VanillaCell``, or of flax's
    ``GRUCell`` or ``LSTMCell``, or of one of these in a wrapper; or of gradients of its shape.

    Leading dimensions, such as S seeds, are kept.

    Raises:
      ValueError: a parameter is missing or unknown, or is no array of real numbers.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=6)
      >>> params = model.init(jax.random.key(0), jnp.zeros((2, 5, 3)))["params"]
      >>> {name: array.shape for name, array in convert.to_weights(params).items()}
      {'W_xh': (4, 3), 'W_hh': (4, 4), 'b_h': (4,), 'W_hy': (6, 4), 'b_y': (6,)}
    """
    leaves = dict(named_leaves(unbox(params)))
    num_layers = _num_layers(leaves, r"cells_(\d+)/")
    weights = {}
    for name, path in _places(num_layers, lambda name, path: path in leaves).items():
        if path in leaves:
            weights[name] = _turned(path, _array(path, path, leaves.pop(path)))
        elif not _is_optional(name):
            raise ValueError(f"parameter {path} is missing: {_EXPECTED}")
    if leaves:
        raise ValueError(f"unknown parameters {', '.join(leaves)}: {_EXPECTED}")
    return weights


def from_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a ``SequenceModel`` or ``StackedModel`` from its arrays.

    They may also be PyTorch's tensors or Parameters.

    Raises:
      ValueError: an array is missing or unknown, is none of real numbers, or has sizes that do not
        fit the others'.

    Example:
      >>> weights = numpy_rnn.initial_weights(np.random.default_rng(0), 3, 4, 6)
      >>> variables = {"params": convert.from_weights(weights)}
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 5, 3))
      >>> outputs = SequenceModel(VanillaCell(4), num_outputs=6).apply(variables, inputs)
      >>> np.allclose(outputs, numpy_rnn.forward(weights, np.asarray(inputs))[0], atol=1e-6)
      True
    """
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise ValueError(f"weights must be arrays by their names, got {weights!r:.60}")
    places = _places(_num_layers(weights, r"(\d+)/"), lambda name, path: name in weights)
    missing = {name for name in places.keys() - weights.keys() if not _is_optional(name)}
    unknown = weights.keys() - places.keys()
    if missing or unknown:
        raise ValueError(f"missing arrays {sorted(missing)}, unknown arrays {sorted(unknown)}")
    arrays = {name: _array(name, places[name], array) for name, array in weights.items()}
    _check_sizes(arrays)
    leaves = {places[name]: jnp.asarray(_turned(places[name], a)) for name, a in arrays.items()}
    return unflatten_dict(leaves, sep="/")


def _check_sizes(arrays: Weights) -> None:
    """ValueError unless each layer's arrays have one N, the readout one C, and all the same seeds.

    How many inputs a layer has is not known: a SkipCell's has N more.
    """
    layers = {name.rpartition("/")[0] for name in arrays if "/" in name}
    axes: dict[str, tuple[str, ...]] = {
        "W_hy": ("C", f"N{max(layers, key=int, default='')}"),
        "b_y": ("C",),
    }
    sizes: dict[str, Any] = {}
    for name, array in arrays.items():
        layer, _, letters = name.rpartition("/")
        N, D = f"N{layer}", f"D{layer}"
        of_this = axes.get(name, {"W_x": (N, D), "W_h": (N, N)}.get(letters[:3], (N,)))
        seeds, shape = array.shape[: -len(of_this)], array.shape[-len(of_this) :]
        for axis, size in zip(("seeds", *of_this), (seeds, *shape), strict=True):
            if sizes.setdefault(axis, size) != size:
                shapes = ", ".join(f"{each} {array.shape}" for each, array in arrays.items())
                raise ValueError(f"{name} does not fit the other arrays: {shapes}")


def _array(name: str, path: str, array: Any) -> np.ndarray:
    """A parameter as NumPy has it, a matrix where it is a kernel; bfloat16 stays bfloat16."""
    if hasattr(array, "detach"):  # PyTorch's, which NumPy refuses with a gradient or in bfloat16
        is_bfloat16 = str(array.dtype) == "torch.bfloat16"
        array = array.detach().cpu()
        array = array.float().numpy().astype(jnp.bfloat16) if is_bfloat16 else array.numpy()
    found = as_numpy(array)
    axes = 2 if path.endswith("kernel") else 1
    if found.ndim < axes or not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"{name} must be an array of real numbers, got {found.dtype} of shape {found.shape}"
        )
    return found


def _is_optional(name: str) -> bool:
    """Whether a cell may do without an array, "b_modrelu" or "0/b_modrelu" of a layer."""
    return name.rpartition("/")[2] in _OPTIONAL


def _turned(path: str, array: np.ndarray) -> np.ndarray:
    """A Flax kernel (in, out) as the (out, in) of the equations, and back."""
    return np.swapaxes(array, -1, -2) if path.endswith("kernel") else array
