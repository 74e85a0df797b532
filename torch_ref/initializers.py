"""Initial weights for recurrent networks: functions ``(generator, shape, dtype) -> tensor``.

The counterpart of jaxrnn.initializers. Matrices are (out, in), as the equation writes them.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from torch_ref.checks import check_not_negative, check_real, check_whole

Initializer = Callable[..., Tensor]


def uniform(num_units: int) -> Initializer:
    """U(−1/√N, 1/√N), what torch.nn.RNN draws all its weights and biases from.

    Example:
      >>> W = initializers.uniform(num_units=4)(torch.Generator(), (4, 3))
      >>> bool((W.abs() <= 0.5).all())
      True
    """
    check_whole("num_units", num_units)
    bound = 1 / math.sqrt(num_units)

    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype).uniform_(-bound, bound, generator=generator)

    return init


def normal(stddev: float) -> Initializer:
    """N(0, stddev²); small input weights let W_hh = I carry a state on unchanged.

    Example:
      >>> W = initializers.normal(0.01)(torch.Generator().manual_seed(0), (50, 50))
      >>> print(f"{W.std():.3f}")
      0.010
    """
    check_not_negative("stddev", stddev)

    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype).normal_(0, stddev, generator=generator)

    return init


def xavier() -> Initializer:
    """Normal with variance 2 / (in + out) (Glorot & Bengio 2010, eq. 12, the normal form).

    Example:
      >>> W = initializers.xavier()(torch.Generator().manual_seed(0), (30, 70))
      >>> print(f"{W.std():.2f} {np.sqrt(2 / (70 + 30)):.2f}")
      0.14 0.14
    """

    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        return nn.init.xavier_normal_(torch.empty(shape, dtype=dtype), generator=generator)

    return init


def orthogonal(scale: float = 1.0) -> Initializer:
    """``scale`` times an orthogonal matrix, uniform over the group (Saxe et al. 2014).

    Example:
      >>> W = initializers.orthogonal(scale=0.5)(torch.Generator(), (4, 4))
      >>> torch.allclose(W.T @ W, 0.25 * torch.eye(4), atol=1e-6)
      True
    """
    check_real("scale", scale)

    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        return nn.init.orthogonal_(torch.empty(shape, dtype=dtype), scale, generator=generator)

    return init


def identity(scale: float = 1.0) -> Initializer:
    """``scale`` · I: with ReLU and scale 1, the IRNN (Le, Jaitly & Hinton 2015).

    Example:
      >>> print(initializers.identity(0.5)(torch.Generator(), (2, 2)).numpy())
      [[0.5 0. ]
       [0.  0.5]]
    """
    check_real("scale", scale)

    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        _check_square(shape, "identity")
        return scale * torch.eye(shape[-1], dtype=dtype)

    return init


def special_orthogonal() -> Initializer:
    """A rotation, uniform over SO(N), the orthogonal matrices of determinant 1.

    Example:
      >>> W = initializers.special_orthogonal()(torch.Generator(), (4, 4))
      >>> print(f"{torch.linalg.det(W):.3f}")
      1.000
    """
    draw = orthogonal()

    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        _check_square(shape, "special_orthogonal")
        W = draw(generator, shape, dtype)
        W[:, 0] *= torch.linalg.slogdet(W).sign
        return W

    return init


def rotations(least: float, most: float) -> Initializer:
    """Block-diagonal 2×2 rotations by angles uniform in (least, most), in radians.

    Example:
      >>> W = initializers.rotations(-0.1, 0.1)(torch.Generator(), (5, 5))
      >>> ((W - torch.eye(5)).abs() < 0.1).all().item()
      True
    """
    check_real("least", least)
    check_real("most", most, f"finite and {least} or more", lambda value: value >= least)
    return _rotations("rotations", float(least), float(most))


def henaff() -> Initializer:
    """``rotations`` by any angle, uniform in (−π, π) (Henaff, Szlam & LeCun 2016).

    Example:
      >>> print((initializers.henaff()(torch.Generator(), (5, 5)) != 0).int().numpy())
      [[1 1 0 0 0]
       [1 1 0 0 0]
       [0 0 1 1 0]
       [0 0 1 1 0]
       [0 0 0 0 1]]
    """
    return _rotations("henaff", -math.pi, math.pi)


def cayley() -> Initializer:
    """``rotations`` by angles uniform in (0, π/2), those of scoRNN (Helfrich, Willmott & Ye 2018).

    Example:
      >>> W = initializers.cayley()(torch.Generator(), (4, 4))
      >>> (W.diagonal() > 0).all().item()
      True
    """
    return _rotations("cayley", 0.0, math.pi / 2)


def _rotations(name: str, least: float, most: float) -> Initializer:
    def init(generator: Generator, shape, dtype=torch.float32) -> Tensor:
        _check_square(shape, name)
        N = shape[-1]
        angles = -torch.empty(N // 2, dtype=dtype).uniform_(-most, -least, generator=generator)
        even = 2 * torch.arange(N // 2)
        W = torch.eye(N, dtype=dtype)
        W[even, even] = W[even + 1, even + 1] = torch.cos(angles)
        W[even, even + 1] = -torch.sin(angles)
        W[even + 1, even] = torch.sin(angles)
        return W

    return init


def _check_square(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 2 or shape[-1] != shape[-2]:
        raise ValueError(f"{name} initialises square (N, N) matrices, got shape {tuple(shape)}")
