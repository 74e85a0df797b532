"""Runs the recurrent layers of a Flax model with a zero ε_t added to every state.

Flax calls ``Probe.intercept`` instead of ``nn.RNN``, which then does what ``nn.RNN`` does, except

    h_t = F(h_{t-1}, x_t) + ε_t          h_0 = the initial carry + ε_0

and whatever the layer emits is that h_t, so that ∂L/∂ε_t is ∂L/∂h_t. A ``VanillaCell`` goes by
jaxrnn/diagnostics/observed_bptt.py, where that gradient is derived by hand. A ``RecurrentLayer``
goes the same ways.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from flax.core import tracers
from jaxtyping import Array

from jaxrnn.cells import VanillaCell
from jaxrnn.diagnostics.observed_bptt import observed_recurrence
from jaxrnn.recurrent_layer import RecurrentLayer, weights_for
from jaxrnn.sequences import Steps, from_valid, select, steps_of
from jaxrnn.wrappers import WrappedCell, class_of, innermost, is_state, state_of


class LayerObservation(struct.PyTreeNode):
    """What was seen of one recurrent layer, in the order in which it runs its steps.

    Attributes:
      states: h_0 … h_T, the cell's carry with leading axes (T+1, *batch).
      state_gradients: ∂L/∂h_0 … ∂L/∂h_T of the same shapes, through everything later.
      cell: the name of the cell's class; of a wrapped one, LeakyCell(GRUCell).
      activation: phi, by its name, of a VanillaCell and of Flax's cells; None: not known.
      lengths: valid steps of each sequence (B,), of a layer with ``seq_lengths``; None: all T.

    Example:
      >>> model = SequenceModel(VanillaCell(4, activation="identity"), num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (1, 5, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> layer = diagnostics.observe_memory(model, variables, inputs, jax.random.key(2))["cell"]
      >>> layer.cell, layer.activation, layer.states.shape  # (T+1, B, N)
      ('VanillaCell', 'identity', (6, 1, 4))
    """

    states: Any
    state_gradients: Any
    cell: str = struct.field(pytree_node=False)
    activation: str | None = struct.field(pytree_node=False)
    lengths: Any = None


class Probe:
    """One pass over a model; the attributes are filled on the way, a layer's by its path.

    Attributes:
      eps: zeros (T+1, *batch, ...) for the states of each layer; None at first, to find out shapes.
      key: of random directions v for ``observe_memory``; None: no signal.
      used: the ε that were added.
      layers: their states, without gradients.
      signals: Σ_b <v_b, h_T,b> of each layer.
      modules: the names of all classes that were called.
    """

    def __init__(self, eps: dict[str, Any] | None, key: Any = None) -> None:
        self.eps = eps
        self.key = key
        self.used: dict[str, Any] = {}
        self.layers: dict[str, LayerObservation] = {}
        self.signals: list[Any] = []
        self.modules: set[str] = set()
        self._trace = tracers.current_trace()

    def intercept(self, call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        """For ``nn.intercept_methods``."""
        module, name = context.module, context.method_name
        self.modules.add(type(module).__name__)
        if isinstance(module, RecurrentLayer) and name == "__call__":
            return self._run_layer(module, *args, **kwargs)
        if type(module).__call__ is nn.RNN.__call__ and name == "__call__":
            return self._run(module, *args, **kwargs)
        return call(*args, **kwargs)

    def _run_layer(
        self,
        layer: RecurrentLayer,
        inputs: Array,
        readout: Callable[[Array], Array],
        *,
        initial_carry: Any = None,
        seq_lengths: Array | None = None,
        reverse: bool = False,
    ) -> tuple[Any, Array]:
        """``RecurrentLayer.__call__``."""
        steps, carry = layer.prepare(inputs, initial_carry, seq_lengths, reverse)
        layer.wants_fused(steps.inputs)  # for its errors
        last, hidden = self._observed(nn.RNN(layer.cell, parent=None), carry, steps)
        return last, layer.read(steps, hidden, state_of(last), readout)

    def _run(
        self,
        rnn: nn.RNN,
        inputs: Array,
        *,
        initial_carry: Any = None,
        init_key: Any = None,
        seq_lengths: Array | None = None,
        **overridden: bool | None,
    ) -> Any:
        """``nn.RNN.__call__``, time-major inside."""

        def option(name: str) -> bool:
            given = overridden.get(name)
            return getattr(rnn, name) if given is None else given

        num_batch_dims = inputs.ndim - rnn.cell.num_feature_axes - 1
        time_axis = 0 if option("time_major") else num_batch_dims
        # Flax's recurrence goes on in the padding.
        steps = steps_of(inputs, time_axis, seq_lengths, option("reverse"), stays=False)
        if initial_carry is None:
            key = jax.random.key(0) if init_key is None else init_key
            initial_carry = rnn.cell.initialize_carry(key, steps.inputs.shape[1:])
        last, outputs = self._observed(rnn, initial_carry, steps)
        if option("keep_order"):
            outputs = jax.tree.map(steps.in_order_of_inputs, outputs)
        outputs = jax.tree.map(lambda y: jnp.moveaxis(y, 0, time_axis), outputs)
        return (last, outputs) if option("return_carry") else outputs

    def _observed(self, rnn: nn.RNN, carry: Any, steps: Steps) -> tuple[Any, Any]:
        """The last carry and the outputs, with ε; writes down what was seen."""
        if tracers.current_trace() != self._trace:  # whose states cannot leave it
            raise ValueError(
                f"{'/'.join(rnn.path) or 'nn.RNN'} runs inside a transformation of the model "
                "(nn.remat, nn.jit, nn.vmap, nn.scan), where it cannot be observed"
            )
        # Not the layer's own path: parameters have their names from the cell's.
        path = base = "/".join(rnn.cell.path)
        while path in self.used:
            path = f"{base}#{int(path.rpartition('#')[2]) + 1 if path != base else 2}"
        is_vanilla = type(rnn.cell) is VanillaCell and steps.inputs.ndim == 3
        run = _run_fused if is_vanilla and not rnn.variable_axes else _run_scan
        states, outputs, eps = run(rnn, carry, steps, None if self.eps is None else self.eps[path])
        self.used[path] = eps
        self.layers[path] = LayerObservation(
            states, None, _name(rnn.cell), _activation(innermost(rnn.cell)), steps.lengths
        )
        last = jax.tree.map(steps.last, states)
        if self.key is None:
            return last, outputs
        self.signals.append(self._signal(last, steps.inputs.ndim - rnn.cell.num_feature_axes - 1))
        return jax.lax.stop_gradient((last, outputs))

    def _signal(self, last: Any, num_batch_dims: int) -> Array:
        """Σ_b <v_b, h_T,b>, with v_b of length 1 over all leaves of the carry."""
        key = jax.random.fold_in(self.key, len(self.signals))
        products, squares = [], []
        for i, h in enumerate(filter(_is_real, jax.tree.leaves(last))):
            v = jax.random.normal(jax.random.fold_in(key, i), h.shape, h.dtype)
            numbers = tuple(range(num_batch_dims, h.ndim))
            products.append(jnp.sum(v * h, numbers))
            squares.append(jnp.sum(v * v, numbers))
        return jnp.sum(sum(products) / jnp.sqrt(sum(squares)))


def _is_real(leaf: Any) -> bool:
    """A carry may also hold counters and keys."""
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _zeros(T: int, h: Array) -> Array:
    return jnp.zeros((T + 1, *h.shape), h.dtype) if _is_real(h) else jnp.zeros(T + 1)


def _plus(h: Array, eps: Array) -> Array:
    return h + eps if _is_real(h) else h


def _run_scan(rnn: nn.RNN, carry: Any, steps: Steps, eps: Any) -> tuple[Any, Any, Any]:
    """Any cell, by nn.scan as ``nn.RNN`` has it; in padding the carry stays."""
    T = steps.inputs.shape[0]
    if eps is None:
        eps = jax.tree.map(partial(_zeros, T), carry)

    def step(cell: nn.RNNCellBase, carry: Any, at: tuple[Any, ...]) -> tuple[Any, Any]:
        x_t, valid, eps_t = at
        h, y = cell(from_valid(valid, carry), x_t)
        if valid is None:
            moved = jax.tree.map(_plus, h, eps_t)
        else:
            moved = select(valid, jax.tree.map(_plus, h, eps_t), carry)
        return moved, (moved, _emitted(rnn.cell, h, moved, y))

    scan: Any = nn.scan(
        step,
        unroll=rnn.unroll,
        variable_axes=rnn.variable_axes,
        variable_broadcast=rnn.variable_broadcast,
        variable_carry=rnn.variable_carry,
        split_rngs=rnn.split_rngs,
    )
    first = jax.tree.map(lambda h, zeros: _plus(h, zeros[0]), carry, eps)
    later = jax.tree.map(lambda zeros: zeros[1:], eps)
    _, (states, outputs) = scan(rnn.cell, first, (steps.inputs, steps.valid, later))
    states = jax.tree.map(lambda h_0, h: jnp.concatenate([h_0[None], h]), first, states)
    return states, outputs, eps


def _emitted(cell: nn.RNNCellBase, h: Any, moved: Any, y: Any) -> Any:
    """The outputs y of a step, taken from h_t + ε_t instead of h_t."""
    by_id = {
        id(leaf): new for leaf, new in zip(jax.tree.leaves(h), jax.tree.leaves(moved), strict=True)
    }
    if any(id(leaf) not in by_id for leaf in jax.tree.leaves(y)):
        if is_state(cell, y, state_of(h)):
            return state_of(moved)
        raise ValueError(
            "a state's gradient is that of all it goes to, so a cell has to emit its state, as "
            f"Flax's do; {type(cell).__name__} emits something else"
        )
    return jax.tree.map(lambda leaf: by_id[id(leaf)], y)


def _run_fused(rnn: nn.RNN, carry: Array, steps: Steps, eps: Any) -> tuple[Any, Any, Any]:
    """A VanillaCell, by ``observed_recurrence``."""
    cell: Any = rnn.cell
    x, weights = weights_for(cell, steps.inputs)
    W_hh = weights.W_hh
    if eps is None:
        eps = jnp.zeros((x.shape[0] + 1, *carry.shape), W_hh.dtype)
    h_0 = carry.astype(W_hh.dtype)
    hidden = observed_recurrence(cell.activation, weights, h_0, x, eps, steps.valid)
    return jnp.concatenate([h_0[None], hidden]), hidden, eps


def _name(cell: Any) -> str:
    name = class_of(cell).__name__
    return f"{name}({_name(cell.cell)})" if isinstance(cell, WrappedCell) else name


def _activation(cell: Any) -> str | None:
    if isinstance(cell, VanillaCell):
        return cell.activation
    return getattr(getattr(cell, "activation_fn", None), "__name__", None)
