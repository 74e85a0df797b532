"""Cells around a cell: units that leak, a skip connection across time, truncated BPTT.

    leaky        h_t = (1 − α) h_{t-1} + α F(h_{t-1}, x_t)
    skip         h_t = F(h_{t-1}, [x_t, h_{t-k}])
    truncated    h_t = F(h_{t-1}, x_t), without a gradient by h_{t-1} after every k steps

Each goes around any Flax cell that emits its state, the last array of its carry, as all of Flax's
do, and is such a cell itself; of a cell in nn.remat only shape and dtype can be checked. Its
parameters are the inner cell's under the inner cell's own names, so a checkpoint of a VanillaCell
loads into a leaky one. Where several are combined:
``TruncatedCell(SkipCell(LeakyCell(cell, ...), ...), ...)``.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxrnn.checks import check_real, check_whole, described
from jaxrnn.sequences import select


class WrappedCell(nn.RNNCellBase):
    """What the cells of this module have in common; ``cell`` is the one inside.

    Raises:
      ValueError: ``cell`` is no recurrent cell of Flax's.
    """

    cell: nn.RNNCellBase

    def __post_init__(self) -> None:
        if not isinstance(self.cell, nn.RNNCellBase):
            raise ValueError(
                f"cell must be an RNNCellBase, such as GRUCell(5), got {described(self.cell)}"
            )
        super().__post_init__()

    def setup(self) -> None:
        """The parameters have the names that they have without the wrapper."""
        # Flax holds the name "cell" of what becomes no part of the tree, against a wrapper inside.
        self.scope.reservations.pop("cell", None)  # type: ignore[union-attr]
        nn.share_scope(self, self.cell)

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        """The carry before the first step, for inputs of shape (*batch, D)."""
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """Trailing axes of the inputs that are features."""
        return self.cell.num_feature_axes


class LeakyCell(WrappedCell):
    """h_t = (1 − α) h_{t-1} + α F(h_{t-1}, x_t), a unit that forgets over about 1/α steps.

    Of an LSTM both c and h leak, of any cell all that its carry holds in floating point. See Jaeger
    (2001, The "echo state" approach) and Jaeger et al. (2007, Optimization and applications of echo
    state networks with leaky-integrator neurons); for gradients Bengio et al. (2013, Advances in
    optimizing recurrent networks).

    Attributes:
      cell: F.
      rate: α, above 0 and at most 1; with 1 it is F.

    Raises:
      ValueError: a rate outside (0, 1]; a cell that is none, emits anything but its state, or is of
        this module: the others go around this one.

    Example:
      >>> cell = LeakyCell(VanillaCell(4), rate=0.1)
      >>> h, x = jnp.ones(4), jnp.zeros(3)
      >>> variables = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), h, x))
      >>> print(cell.apply(variables, h, x)[0])  # F is 0, a tenth of h has leaked
      [0.9 0.9 0.9 0.9]
    """

    rate: float

    def __post_init__(self) -> None:
        check_real("rate", self.rate, "above 0 and at most 1", lambda rate: 0 < rate <= 1)
        _refuse(self, WrappedCell)
        super().__post_init__()

    def __call__(self, carry: Any, inputs: Float[Array, "..."]) -> tuple[Any, Any]:
        """One step: (h_{t-1}, x_t) → (h_t, h_t)."""
        new = _step(self.cell, carry, inputs)

        def leak(old: Array, new: Array) -> Array:
            is_real = jnp.issubdtype(new.dtype, jnp.floating)
            return (1 - self.rate) * old + self.rate * new if is_real else new

        leaked = jax.tree.map(leak, carry, new)
        return leaked, state_of(leaked)


class SkipCell(WrappedCell):
    """h_t = F(h_{t-1}, [x_t, h_{t-k}]): a connection that skips k − 1 steps.

    Its weights W_sh are the last N columns of W_xh, rows of the inner cell's input kernel; around a
    VanillaCell h_t = phi(W_xh x_t + W_sh h_{t-k} + W_hh h_{t-1} + b_h). A gradient gets back over T
    steps in T/k of them (Lin et al. 1996, Learning long-term dependencies in NARX recurrent neural
    networks; Zhang et al. 2016, Architectural complexity measures of recurrent neural networks).

    Before h_0, the state in the initial carry, there are zeros. The carry is (past, inner carry),
    with past (*batch, k − 1, N) the states h_{t-k} … h_{t-2}, the oldest first: h_{t-1} is in the
    inner carry, so that its gradient is that of both its ways on.

    Attributes:
      cell: F, of D + N inputs.
      steps: k, at least 2: a skip of one step is W_hh.

    Raises:
      ValueError: steps that are no whole number or below 2; a cell that is none, emits anything but
        its state, or is a ``TruncatedCell``, past which the skip would carry a gradient.

    Example:
      >>> cell = SkipCell(VanillaCell(4), steps=3)
      >>> carry = cell.initialize_carry(jax.random.key(0), (2, 3))
      >>> jax.tree.map(jnp.shape, carry)  # (B, k − 1, N), (B, N)
      ((2, 2, 4), (2, 4))
      >>> variables = cell.init(jax.random.key(1), carry, jnp.ones((2, 3)))
      >>> variables["params"]["i"]["kernel"].shape  # (D + N, N)
      (7, 4)
    """

    steps: int

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, least=2)
        _refuse(self, TruncatedCell)
        super().__post_init__()

    def __call__(self, carry: Any, inputs: Float[Array, "..."]) -> tuple[Any, Any]:
        """One step: (past and h_{t-1}, x_t) → (past and h_t, h_t)."""
        past, inner = carry
        last = state_of(inner)[..., None, :]
        # Of different dtypes they promote: states keep their digits next to tokens or bfloat16.
        x = jnp.concatenate([inputs, past[..., 0, :]], axis=-1)
        inner = _step(self.cell, inner, x)
        past = jnp.concatenate([past[..., 1:, :], last], axis=-2)
        return (past, inner), state_of(inner)

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        """(past, inner carry) before the first step, for inputs of shape (*batch, D)."""
        inner = self.cell.initialize_carry(rng, input_shape)
        h = state_of(inner)
        return jnp.zeros((*h.shape[:-1], self.steps - 1, h.shape[-1]), h.dtype), inner


class TruncatedCell(WrappedCell):
    """Truncated BPTT inside a sequence: no gradient from a block of k steps into the one before it.

    Outputs are those of the inner cell. The carry is (count, inner carry), with count (*batch) the
    steps of the block that are behind, 0 … k, so that blocks go on where a carry does. The first
    block has none before it to be cut from, and the initial carry gets its gradient. See
    Williams & Peng (1990, An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories).

    Attributes:
      cell: F.
      steps: k, at least 1.

    Raises:
      ValueError: steps that are no whole number or below 1; a cell that is none.

    Example:
      >>> model = SequenceModel(TruncatedCell(VanillaCell(4), steps=2), 1, last_only=True)
      >>> inputs = jax.random.normal(jax.random.key(0), (1, 6, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> gradient = jax.grad(lambda x: model.apply(variables, x).sum())(inputs)
      >>> print(jnp.any(gradient != 0, axis=(0, 2)))  # by step: the last block alone
      [False False False False  True  True]
    """

    steps: int

    def __post_init__(self) -> None:
        check_whole("steps", self.steps)
        super().__post_init__()

    def __call__(self, carry: Any, inputs: Float[Array, "..."]) -> tuple[Any, Any]:
        """One step: (count and h_{t-1}, x_t) → (count and h_t, h_t)."""
        count, inner = carry

        begins = count == self.steps
        new, outputs = self.cell(select(begins, jax.lax.stop_gradient(inner), inner), inputs)
        return (count % self.steps + 1, new), outputs

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        """(count, inner carry) before the first step, for inputs of shape (*batch, D)."""
        batch = input_shape[: len(input_shape) - self.num_feature_axes]
        return jnp.zeros(batch, jnp.int32), self.cell.initialize_carry(rng, input_shape)


def innermost(cell: nn.RNNCellBase) -> nn.RNNCellBase:
    """The cell inside those of this module, or that cell itself."""
    return innermost(cell.cell) if isinstance(cell, WrappedCell) else cell


def state_of(carry: Any) -> Array:
    """What a cell emits: the last array of its carry, such as h of an LSTM's (c, h)."""
    return jax.tree.leaves(carry)[-1]


def class_of(cell: nn.RNNCellBase) -> type:
    """The cell's class; of an ``nn.remat(Cell)`` that is Cell."""
    kind: Any = type(cell)
    # A transformed class is a subclass whose call wraps that of Cell.
    is_transformed = "__call__" in vars(kind) and (
        inspect.unwrap(kind.__call__) is inspect.unwrap(kind.__base__.__call__)
    )
    return kind.__base__ if is_transformed else kind


def is_state(cell: nn.RNNCellBase, outputs: Any, state: Array) -> bool:
    """Whether the outputs are the state itself, or may be where a transformation copies them."""
    if outputs is state:
        return True
    return (
        class_of(cell) is not type(cell)
        and isinstance(outputs, Array)
        and (outputs.shape, outputs.dtype) == (state.shape, state.dtype)
    )


def _step(cell: Any, carry: Any, inputs: Array) -> Any:
    """The carry after a step of a cell that emits its state."""
    new, outputs = cell(carry, inputs)
    if not is_state(cell, outputs, state_of(new)):
        raise ValueError(
            "a wrapped cell has to emit its state, the last array of its carry, as Flax's do; "
            f"{type(cell).__name__} emits something else"
        )
    return new


def _refuse(outer: Any, kind: type) -> None:
    if isinstance(outer.cell, kind):
        raise ValueError(
            f"{type(outer).__name__} cannot go around {type(outer.cell).__name__}: combine them as "
            "TruncatedCell(SkipCell(LeakyCell(cell, ...), ...), ...)"
        )
