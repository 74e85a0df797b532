"""Finding the recurrent matrices among the named parameters of a model."""

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor

from torch_ref.checks import described

Predicate = Callable[[str, Tensor], bool]

_RECURRENT_KERNEL = re.compile(r"(^|\.)weight_hh(_l\d+(_reverse)?)?$")


# Matrices that lie on top of each other in one parameter of torch.nn.RNN, GRU and LSTM.
_GATES = (1, 3, 4)


def gates(leaf: Tensor) -> Tensor | None:
    """A view (..., gates, N, N) of (..., gates · N, N), the matrix of each gate; None if it is not.

    The gates are in torch's order, r, z, n of a GRU and i, f, g, o of an LSTM.
    """
    is_stack = leaf.ndim >= 2 and leaf.shape[-2] in [k * leaf.shape[-1] for k in _GATES]
    return leaf.unflatten(-2, (-1, leaf.shape[-1])) if is_stack else None


def is_recurrent_kernel(path: str, leaf: Tensor) -> bool:
    """Whether a parameter is hidden-to-hidden, of torch.nn.RNN, GRU or LSTM, by its name."""
    return gates(leaf) is not None and _RECURRENT_KERNEL.search(path) is not None


def as_bool(chosen: Any) -> bool:
    """What a predicate gives, True or False or another's truth value, such as that of a match."""
    try:
        return bool(chosen)
    except (ValueError, RuntimeError):  # of an array or a tensor of several
        raise ValueError(f"where must give True or False, got {described(chosen)}") from None


def as_predicate(where: Predicate | str | None) -> Predicate:
    """A predicate as it is; a regular expression searched in the name; None: recurrent matrices.

    Raises:
      ValueError: the regular expression does not compile.
    """
    if where is None:
        return is_recurrent_kernel
    if callable(where):
        return where
    if not isinstance(where, str):
        raise ValueError(f"where must be a function or a regular expression, got {where!r:.40}")
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ValueError(f"where={where!r} is not a regular expression: {error}") from None
    return lambda path, leaf: pattern.search(path) is not None
