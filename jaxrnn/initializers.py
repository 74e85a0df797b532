"""Initial weights for recurrent networks, as Flax initialisers ``(key, shape, dtype) -> array``.

Kernels are stored (in, out). Each function returns an initialiser, as in
``VanillaCell(100, recurrent_kernel_init=identity())``. Henaff's rotations, the identity and
orthogonal matrices give W_hh singular values of one (times the scale), where BPTT keeps the length
of a gradient.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, glorot_normal
from jax.nn.initializers import normal as jax_normal
from jax.nn.initializers import orthogonal as jax_orthogonal

from jaxrnn.checks import check_real, check_whole, is_whole


def uniform(num_units: int) -> Initializer:
    """U(−1/√N, 1/√N), what torch.nn.RNN draws all its weights and biases from.

    Args:
      num_units: N, the number of hidden units.

    Example:
      >>> W = initializers.uniform(num_units=4)(jax.random.key(0), (3, 4))
      >>> bool(jnp.all(jnp.abs(W) <= 0.5))
      True
    """
    check_whole("num_units", num_units)
    bound = 1 / math.sqrt(num_units)

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def normal(stddev: float) -> Initializer:
    """N(0, stddev²); small input weights let W_hh = I carry a state on unchanged.

    Example:
      >>> W = initializers.normal(0.01)(jax.random.key(0), (50, 50))
      >>> print(f"{W.std():.3f}")
      0.010
    """
    check_real("stddev", stddev)
    return jax_normal(stddev)


def xavier() -> Initializer:
    """Normal with variance 2 / (in + out) (Glorot & Bengio 2010, eq. 12, the normal form).

    Example:
      >>> W = initializers.xavier()(jax.random.key(0), (70, 30))
      >>> print(f"{W.std():.2f} {np.sqrt(2 / (70 + 30)):.2f}")
      0.14 0.14
    """
    return glorot_normal()


def orthogonal(scale: float = 1.0) -> Initializer:
    """``scale`` times an orthogonal matrix, uniform over the group (Saxe et al. 2014).

    Example:
      >>> W = initializers.orthogonal(scale=0.5)(jax.random.key(0), (4, 4))
      >>> bool(jnp.allclose(W.T @ W, 0.25 * jnp.eye(4), atol=1e-6))
      True
    """
    check_real("scale", scale)
    draw = jax_orthogonal(scale)

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        # JAX decomposes no matrix in half precision: bfloat16 never, float16 not since 0.11.
        wide = jnp.promote_types(dtype, jnp.float32)
        return draw(key, shape, wide, out_sharding).astype(dtype)

    return init


def identity(scale: float = 1.0) -> Initializer:
    """``scale`` · I: with ReLU and scale 1, the IRNN (Le, Jaitly & Hinton 2015).

    Example:
      >>> cell = VanillaCell(4, activation="relu", recurrent_kernel_init=initializers.identity())
      >>> print(initializers.identity(0.5)(jax.random.key(0), (2, 2)))
      [[0.5 0. ]
       [0.  0.5]]
    """
    check_real("scale", scale)

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        _check_square(shape, "identity")
        return jnp.broadcast_to(scale * jnp.eye(shape[-1], dtype=dtype), shape)

    return init


def special_orthogonal() -> Initializer:
    """A rotation, uniform over SO(N), the orthogonal matrices of determinant 1.

    What is optimised on the group never leaves the half of it that it begins in.

    Example:
      >>> W = initializers.special_orthogonal()(jax.random.key(0), (4, 4))
      >>> print(f"{jnp.linalg.det(W):.3f}")
      1.000
    """
    draw = orthogonal()

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        _check_square(shape, "special_orthogonal")
        W = draw(key, shape, jnp.promote_types(dtype, jnp.float32), out_sharding)
        sign, _ = jnp.linalg.slogdet(W)
        return W.at[..., 0].multiply(sign[..., None]).astype(dtype)

    return init


def rotations(least: float, most: float) -> Initializer:
    """Block-diagonal 2×2 rotations by angles uniform in (least, most), in radians.

    Small angles around 0 are near the identity. The last unit of an odd N is left alone (a 1×1
    block of one).

    Example:
      >>> W = initializers.rotations(-0.1, 0.1)(jax.random.key(0), (5, 5))
      >>> bool(jnp.all(jnp.abs(W - jnp.eye(5)) < 0.1))
      True
    """
    check_real("least", least)
    check_real("most", most, f"finite and {least} or more", lambda value: value >= least)
    angles = float(least), float(most)

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        return _rotations("rotations", key, shape, dtype, *angles)

    return init


def henaff() -> Initializer:
    """``rotations`` by any angle, uniform in (−π, π) (Henaff, Szlam & LeCun 2016).

    Example:
      >>> W = initializers.henaff()(jax.random.key(0), (5, 5))
      >>> print((W != 0).astype(int))
      [[1 1 0 0 0]
       [1 1 0 0 0]
       [0 0 1 1 0]
       [0 0 1 1 0]
       [0 0 0 0 1]]
    """

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        return _rotations("henaff", key, shape, dtype, -math.pi, math.pi)

    return init


def cayley() -> Initializer:
    """``rotations`` by angles uniform in (0, π/2), those of scoRNN (Helfrich, Willmott & Ye 2018).

    Theirs is the Cayley transform of blocks of ±√((1 − cos t) / (1 + cos t)), which turns by t.

    Example:
      >>> W = initializers.cayley()(jax.random.key(0), (4, 4))
      >>> bool(jnp.all(jnp.diagonal(W) > 0))
      True
    """

    def init(key: jax.Array, shape, dtype=jnp.float32, out_sharding=None) -> jax.Array:
        return _rotations("cayley", key, shape, dtype, 0.0, math.pi / 2)

    return init


def _rotations(
    name: str, key: jax.Array, shape: tuple[int, ...], dtype: Any, least: float, most: float
) -> jax.Array:
    _check_square(shape, name)
    *batch, N, _ = shape
    angles = jax.random.uniform(key, (*batch, N // 2), dtype, least, most)
    even = 2 * jnp.arange(N // 2)
    W = jnp.broadcast_to(jnp.eye(N, dtype=dtype), shape)
    W = W.at[..., even, even].set(jnp.cos(angles))
    W = W.at[..., even + 1, even + 1].set(jnp.cos(angles))
    W = W.at[..., even, even + 1].set(-jnp.sin(angles))
    return W.at[..., even + 1, even].set(jnp.sin(angles))


def _check_square(shape: tuple[int, ...], name: str) -> None:
    sizes = shape if isinstance(shape, tuple | list) else ()
    if len(sizes) < 2 or not all(map(is_whole, sizes)) or sizes[-1] != sizes[-2]:
        raise ValueError(f"{name} initialises square (..., N, N) matrices, got shape {shape}")
