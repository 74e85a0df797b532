"""Finding the recurrent matrices among the named parameters of a model."""

import re
from collections.abc import Callable

from torch import Tensor

Predicate = Callable[[str, Tensor], bool]

_RECURRENT_KERNEL = re.compile(r"(^|\.)weight_hh(_l\d+(_reverse)?)?$")


def is_recurrent_kernel(path: str, leaf: Tensor) -> bool:
    """Whether a parameter is a square hidden-to-hidden matrix of torch.nn.RNN, by its name."""
    square = leaf.ndim >= 2 and leaf.shape[-1] == leaf.shape[-2]
    return square and _RECURRENT_KERNEL.search(path) is not None


def as_predicate(where: Predicate | str | None) -> Predicate:
    """A predicate as it is; a regular expression searched in the name; None: recurrent matrices.

    Raises:
      ValueError: the regular expression does not compile.
    """
    if where is None:
        return is_recurrent_kernel
    if callable(where):
        return where
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ValueError(f"where={where!r} is not a regular expression: {error}") from None
    return lambda path, leaf: pattern.search(path) is not None
