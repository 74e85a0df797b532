"""The vanilla recurrent cell, h_t = phi(W_xh x_t + W_hh h_{t-1} + b_h), as a Flax linen cell.

Parameters have the names and shapes of flax's SimpleCell, so a checkpoint of the one loads into
the other: ``i/kernel`` (D, N) is W_xhᵀ, ``i/bias`` (N,) is b_h, ``h/kernel`` (N, N) is W_hhᵀ.
modReLU adds ``modrelu_bias`` (N,).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from jaxrnn.activations import activation_of
from jaxrnn.array_checks import check_dtype
from jaxrnn.checks import check_whole
from jaxrnn.initializers import orthogonal


class VanillaCell(nn.RNNCellBase):
    """h_t = phi(W_xh x_t + W_hh h_{t-1} + b_h), for ``SequenceModel`` and flax's ``nn.RNN``.

    Attributes:
      features: N, the number of hidden units.
      activation: phi, a name in ``jaxrnn.activations.ACTIVATIONS``.
      kernel_init, recurrent_kernel_init, bias_init: for W_xh, W_hh and b_h.
      modrelu_bias_init: for b of modReLU; not used by other activations.
      carry_init: for h_0.
      dtype, param_dtype: of the computation (default: what inputs and parameters promote to) and of
        the parameters.

    Raises:
      ValueError: an unknown activation; features that are no whole number above 0.

    Example:
      >>> cell = VanillaCell(4, activation="relu", recurrent_kernel_init=initializers.identity())
      >>> x = jax.random.normal(jax.random.key(0), (2, 3))  # (B, D)
      >>> h = cell.initialize_carry(jax.random.key(1), x.shape)
      >>> variables = cell.init(jax.random.key(2), h, x)
      >>> h, output = cell.apply(variables, h, x)
      >>> h.shape, output is h
      ((2, 4), True)
    """

    features: int
    activation: str = "tanh"
    kernel_init: Initializer = nn.initializers.lecun_normal()
    recurrent_kernel_init: Initializer = orthogonal()
    bias_init: Initializer = nn.initializers.zeros_init()
    modrelu_bias_init: Initializer = nn.initializers.zeros_init()
    carry_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        check_whole("features", self.features)
        check_dtype("dtype", self.dtype)
        check_dtype("param_dtype", self.param_dtype)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, carry: Float[Array, "*batch N"], inputs: Float[Array, "*batch D"]
    ) -> tuple[Float[Array, "*batch N"], Float[Array, "*batch N"]]:
        """One step: (h_{t-1}, x_t) → (h_t, h_t)."""
        activation = activation_of(self.activation)
        shared = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense_i = nn.Dense(
            self.features,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            name="i",
            **shared,
        )
        dense_h = nn.Dense(
            self.features,
            use_bias=False,
            kernel_init=self.recurrent_kernel_init,
            name="h",
            **shared,
        )
        z = dense_i(inputs) + dense_h(carry)
        if activation.has_bias:
            bias = self.param(
                "modrelu_bias", self.modrelu_bias_init, (self.features,), self.param_dtype
            )
            h = activation.phi(z, bias.astype(z.dtype))
        else:
            h = activation.phi(z)
        return h, h

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Array:
        """h_0 of shape (*batch, N) for inputs of shape (*batch, D)."""
        dtype = self.dtype or self.param_dtype
        return self.carry_init(rng, (*input_shape[:-1], self.features), dtype)

    @property
    def num_feature_axes(self) -> int:
        """Trailing axes of the inputs that are features: one."""
        return 1
