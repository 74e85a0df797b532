"""Weights as a plain dictionary in the letters of the equations, the meeting point of frameworks.

    W_xh (N, D)   W_hh (N, N)   b_h (N,)   W_hy (C, N)   b_y (C,)   and b_modrelu (N,) for modReLU

torch.nn's two biases b_ih and b_hh of a gate enter as their sum, which is what the cell computes.

Gated cells have one of each for every gate, whose letters are those of torch_ref.cells: W_xr, W_hr,
b_r, ...; a GRU also b_hn. Wrapped cells have those of the cell inside; the last N columns of W_x…
in a SkipCell, (N, D + N), are for h_{t-k}. In a StackedModel the names of layer 0 begin with "0/".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_ref.checks import check_kind
from torch_ref.model import SequenceModel
from torch_ref.stacked import StackedModel
from torch_ref.wrappers import innermost

Weights = dict[str, np.ndarray]


def places_of(model: SequenceModel | StackedModel) -> dict[str, tuple[Tensor, slice]]:
    """The parameter that each array is in, and its rows there.

    Example:
      >>> model = SequenceModel(GRUCell(3, 4), num_outputs=6)
      >>> param, rows = convert.places_of(model)["W_hz"]
      >>> param is model.cell.weight_hh_l0, rows
      (True, slice(4, 8, None))
    """
    check_kind("model", model, SequenceModel | StackedModel, "a SequenceModel or a StackedModel")
    readout, everything = model.readout, slice(None)
    places = {"W_hy": (readout.weight, everything), "b_y": (readout.bias, everything)}
    if isinstance(model, SequenceModel):
        return places | _places_in(model.cell)
    for layer, cell in enumerate(model.cells):
        places |= {f"{layer}/{name}": place for name, place in _places_in(cell).items()}
    return places


def _places_in(cell: Any) -> dict[str, tuple[Tensor, slice]]:
    cell, places = innermost(cell), {}
    for index, gate in enumerate(cell.gates):
        rows = _rows(cell, index)
        x, h = (gate, gate) if len(cell.gates) > 1 else ("h", "h")
        places[f"W_x{x}"] = (cell.weight_ih_l0, rows)
        places[f"W_h{h}"] = (cell.weight_hh_l0, rows)
        places[f"b_{x}"] = (cell.bias_ih_l0, rows)
        if gate in cell.gates_with_two_biases:
            places[f"b_h{gate}"] = (cell.bias_hh_l0, rows)
    if hasattr(cell, "modrelu_bias"):
        places["b_modrelu"] = (cell.get_parameter("modrelu_bias"), slice(None))
    return places


def _second_biases(model: SequenceModel | StackedModel) -> dict[str, tuple[Tensor, slice]]:
    """Where torch keeps another bias that is added to the array, which cells here hold at zero."""
    cells = (
        {"": model.cell}
        if isinstance(model, SequenceModel)
        else {f"{layer}/": cell for layer, cell in enumerate(model.cells)}
    )
    return {
        f"{prefix}b_{gate if len(cell.gates) > 1 else 'h'}": (cell.bias_hh_l0, _rows(cell, index))
        for prefix, cell in ((prefix, innermost(outer)) for prefix, outer in cells.items())
        for index, gate in enumerate(cell.gates)
        if gate not in cell.gates_with_two_biases
    }


def _rows(cell: Any, gate: int) -> slice:
    """Of a matrix that holds all gates of a cell, the rows of one."""
    return slice(gate * cell.hidden_size, (gate + 1) * cell.hidden_size)


def to_weights(model: SequenceModel | StackedModel) -> Weights:
    """Copies of the arrays of a ``SequenceModel`` or ``StackedModel``.

    Example:
      >>> weights = convert.to_weights(SequenceModel(VanillaCell(3, 4), num_outputs=6))
      >>> {name: array.shape for name, array in weights.items()}
      {'W_hy': (6, 4), 'b_y': (6,), 'W_xh': (4, 3), 'W_hh': (4, 4), 'b_h': (4,)}
    """
    weights = {name: _array(param[rows]) for name, (param, rows) in places_of(model).items()}
    for name, (bias, rows) in _second_biases(model).items():
        weights[name] += _array(bias[rows])
    return weights


def to_gradients(model: SequenceModel | StackedModel) -> Weights:
    """Copies of a model's gradients after ``backward()``, under the same names.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> model(torch.randn(2, 5, 3)).sum().backward()
      >>> convert.to_gradients(model)["b_y"]  # B · T each
      array([10., 10., 10., 10., 10., 10.], dtype=float32)
    """
    places = places_of(model).items()
    return {
        name: _array(param.grad[rows]) for name, (param, rows) in places if param.grad is not None
    }


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def load_weights(model: SequenceModel | StackedModel, weights: Weights) -> None:
    """Copy arrays into a ``SequenceModel`` or ``StackedModel``: all of them, or none.

    Raises:
      ValueError: an array is missing, unknown or of another shape.

    Example:
      >>> model, other = (SequenceModel(VanillaCell(3, 4), num_outputs=6) for _ in range(2))
      >>> convert.load_weights(other, convert.to_weights(model))
      >>> inputs = torch.randn(2, 5, 3)
      >>> torch.equal(model(inputs), other(inputs))
      True
    """
    places = places_of(model)
    check_kind("weights", weights, Mapping, "arrays by their names")
    if places.keys() != weights.keys():
        raise ValueError(f"expected arrays {sorted(places)}, got {sorted(map(str, weights))}")
    for name, array in weights.items():
        param, rows = places[name]
        if getattr(getattr(array, "dtype", None), "kind", "?") not in "fiu":
            raise ValueError(f"{name} must be an array of real numbers, got {array!r:.60}")
        shape = tuple(param[rows].shape)
        if shape != array.shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    with torch.no_grad():
        for name, (param, rows) in places.items():
            param[rows] = torch.tensor(weights[name])
        for bias, rows in _second_biases(model).values():
            bias[rows] = 0
