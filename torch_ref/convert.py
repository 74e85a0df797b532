"""Weights as a plain dictionary in the letters of the equations, the meeting point of frameworks.

W_xh (N, D)   W_hh (N, N)   b_h (N,)   W_hy (C, N)   b_y (C,)   and b_modrelu (N,) for modReLU
"""

import numpy as np
import torch
from torch import nn

Weights = dict[str, np.ndarray]

_PLACES = {
    "W_xh": "cell.weight_ih_l0",
    "W_hh": "cell.weight_hh_l0",
    "b_h": "cell.bias_ih_l0",
    "b_modrelu": "cell.modrelu_bias",
    "W_hy": "readout.weight",
    "b_y": "readout.bias",
}


def to_weights(model: nn.Module) -> Weights:
    """Copies of the arrays of a ``SequenceModel``."""
    params = dict(model.named_parameters())
    return {
        name: params[path].detach().cpu().numpy().copy()
        for name, path in _PLACES.items()
        if path in params
    }


def to_gradients(model: nn.Module) -> Weights:
    """Copies of the gradients of a ``SequenceModel`` after ``backward()``, under the same names."""
    params = dict(model.named_parameters())
    found = {name: params[path].grad for name, path in _PLACES.items() if path in params}
    return {name: grad.cpu().numpy().copy() for name, grad in found.items() if grad is not None}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy arrays into a ``SequenceModel``.

    Raises:
      ValueError: an array is missing, unknown or of another shape.
    """
    params = dict(model.named_parameters())
    expected = {name for name, path in _PLACES.items() if path in params}
    if expected != weights.keys():
        raise ValueError(f"expected arrays {sorted(expected)}, got {sorted(weights)}")
    with torch.no_grad():
        for name, array in weights.items():
            param = params[_PLACES[name]]
            if tuple(param.shape) != array.shape:
                raise ValueError(f"{name} must have shape {tuple(param.shape)}, got {array.shape}")
            param.copy_(torch.tensor(array))
