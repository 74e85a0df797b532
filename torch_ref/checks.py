"""What arguments have to be, said where they arrive.

Values of tensors are looked at on the CPU alone: a GPU would have to be waited for.
"""

import math
import operator
from collections.abc import Callable
from numbers import Real
from types import UnionType
from typing import Any

import torch
from torch import Tensor


def described(value: Any) -> str:
    """What came, in a few words: a tensor by its dtype and shape."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"{value!r:.60}"


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number of 32 bits."""
    try:
        hash(value)
        return not isinstance(value, bool | Tensor) and abs(operator.index(value)) < 2**31
    except TypeError:
        return False


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """ValueError unless a value is a whole number, ``least`` or more."""
    if not (is_whole(value) and value >= least):
        raise ValueError(f"{name} must be a whole number, {least} or more, got {described(value)}")


def check_real(
    name: str,
    value: Any,
    words: str = "a finite number",
    allows: Callable[[float], bool] = lambda value: True,
) -> None:
    """ValueError, which says what it must be, unless a value is a finite number that is allowed."""
    try:
        is_allowed = isinstance(value, Real) and math.isfinite(value) and allows(float(value))
    except OverflowError:  # a whole number that is no float
        is_allowed = False
    if not is_allowed:
        raise ValueError(f"{name} must be {words}, got {described(value)}")


def check_not_negative(name: str, value: Any) -> None:
    """ValueError unless a value is a finite number, 0 or more."""
    check_real(name, value, "0 or more and finite", lambda value: value >= 0)


def check_flag(name: str, value: Any) -> None:
    """ValueError unless a value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {described(value)}")


def check_function(name: str, value: Any) -> None:
    """ValueError unless a value can be called."""
    if not callable(value):
        raise ValueError(f"{name} must be a function, got {type(value).__name__}")


def check_steps(batches: Any) -> None:
    """ValueError unless they are arrays with the same K steps along their first axis, K ≥ 1."""
    is_pair = isinstance(batches, tuple | list) and len(batches) > 0
    shapes = [tuple(getattr(array, "shape", ())) for array in batches] if is_pair else []
    if len({shape[:1] for shape in shapes}) != 1 or not all(shape and shape[0] for shape in shapes):
        got = shapes if is_pair else described(batches)
        raise ValueError(f"batches must be arrays (K, ...) of K ≥ 1 steps, got {got}")


def check_kind(name: str, value: Any, kind: type | UnionType, words: str) -> None:
    """ValueError, which says what it must be, unless a value is an instance of a class."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {words}, got {type(value).__name__}")


def check_one_of(name: str, value: Any, allowed: Any) -> None:
    """ValueError unless a value is one of some names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {described(value)}")


def check_range(name: str, values: Tensor, most: int, ignored: int | None = None) -> None:
    """ValueError for values outside 0 … most − 1, where they are on the CPU."""
    if values.is_cuda:
        return
    values = values if values.is_floating_point() else values.long()  # of 8 bits a bound wraps
    wrong = values[(values < 0) | (values >= most)]
    wrong = wrong if ignored is None else wrong[wrong != ignored]
    if len(wrong):
        besides = "" if ignored is None else f", or {ignored} to ignore one"
        raise ValueError(f"{name} must be from 0 to {most - 1}{besides}, got {wrong[0].item()}")


def check_tensor(
    name: str, value: Any, axes: tuple[str | int, ...] | None, dtype: torch.dtype | None = None
) -> None:
    """ValueError unless it is a tensor of real numbers of those axes, and of the dtype if one is.

    Of the axes a number is the size of one, and a letter stands for any size above 0; None: any.
    """
    is_real = isinstance(value, Tensor) and not (value.is_complex() or value.dtype == torch.bool)
    if not is_real or dtype not in (None, value.dtype):
        words = f"a tensor of {'real numbers' if dtype is None else dtype}"
        raise ValueError(f"{name} must be {words}, got {described(value)}")
    if axes is None:
        return
    sizes = tuple(value.shape)
    wanted = [
        axis if isinstance(axis, int) else max(size, 1)
        for size, axis in zip(sizes, axes, strict=False)
    ]
    if len(sizes) != len(axes) or list(sizes) != wanted:
        raise ValueError(f"{name} must be ({', '.join(map(str, axes))}), got {described(value)}")


def check_tokens(name: str, value: Any, axes: tuple[str | int, ...] | None = None) -> None:
    """ValueError unless it is a tensor of whole numbers with those axes."""
    check_tensor(name, value, axes)
    if value.is_floating_point():
        raise ValueError(f"{name} must be whole numbers, got {described(value)}")


def check_carry(carry: Any, expected: Any) -> None:
    """ValueError unless a carry has the structure and the shapes of the expected one."""
    if isinstance(expected, tuple):
        if not isinstance(carry, tuple) or len(carry) != len(expected):
            words = f"carry must be a tuple of {len(expected)}"
            raise ValueError(f"{words}, got {type(carry).__name__}")
        for part, wanted in zip(carry, expected, strict=True):
            check_carry(part, wanted)
        return
    check_tensor("carry", carry, tuple(expected.shape), expected.dtype)


def as_square_matrices(name: str, W: Any) -> Tensor:
    """Matrices (..., N, N) of floating-point numbers, in float32 or wider."""
    is_float = isinstance(W, Tensor) and W.is_floating_point()
    if not is_float or W.ndim < 2 or not W.shape[-1] == W.shape[-2] > 0:
        words = "square floating-point matrices (..., N, N)"
        raise ValueError(f"{name} must be {words}, got {described(W)}")
    return W.to(torch.promote_types(W.dtype, torch.float32))


def where_finite(function: Callable[[Tensor], Tensor], W: Tensor) -> Tensor:
    """A function of matrices; NaN of those with NaN or infinity, at which LAPACK would stop."""
    finite = torch.isfinite(W).flatten(-2).all(-1)
    identity = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
    found = function(torch.where(finite[..., None, None], W, identity))
    more = (None,) * (found.ndim - finite.ndim)
    return torch.where(finite[(..., *more)], found, torch.nan)
