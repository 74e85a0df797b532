"""The states of every recurrent layer of a Flax model, and the loss's gradient by each of them.

    ∂L/∂h_t = g_t + J_{t+1}ᵀ ∂L/∂h_{t+1}              J_t = ∂h_t/∂h_{t-1}

with g_t what arrives at h_t from outside the recurrence. ‖∂L/∂h_t‖ over t shows whether gradients
vanish or explode (Bengio et al. 1994, Learning long-term dependencies with gradient descent is
difficult; Pascanu et al. 2013, On the difficulty of training recurrent neural networks). Every
backward pass computes ∂L/∂h_t and throws it away. Here it is kept: see jaxrnn/diagnostics/probe.py
for how.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import ScopeParamShapeError
from jaxtyping import Array, Key

from jaxrnn.array_checks import check_key, check_module
from jaxrnn.checks import check_function, described
from jaxrnn.diagnostics.probe import LayerObservation, Probe


class Observation(NamedTuple):
    """What ``observe`` returns.

    Attributes:
      loss: L.
      gradients: ∂L/∂params, like ``variables["params"]``.
      layers: each recurrent layer by the path of its cell's parameters; where a cell is run again,
        with "#2", "#3", … behind it.
      outputs: the model's.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 5, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> seen = diagnostics.observe(model, variables, (inputs, 0.0), lambda y, _: jnp.mean(y**2))
      >>> seen.outputs.shape, list(seen.layers), list(seen.gradients)
      ((2, 5, 6), ['cell'], ['cell', 'readout'])
    """

    loss: Any
    gradients: Any
    layers: dict[str, LayerObservation]
    outputs: Any


def observe(
    model: nn.Module, variables: Any, batch: Any, loss_fn: Callable[[Any, Any], Any]
) -> Observation:
    """The loss, its gradients, and the states of all recurrent layers with theirs.

    One forward and one backward pass, to be jitted; with the profile and shares of profiles.py they
    took 1.2 to 1.5 times as long as an ordinary gradient (a fused VanillaCell(100) on two cores of
    an AMD EPYC, (B, T) from (128, 21) to (16, 2000)). It sees the layers that ``nn.RNN`` runs, by
    itself or inside ``nn.Bidirectional`` and the like, and those of ``SequenceModel``.

    Args:
      model: any linen model; its outputs are ``model.apply(variables, inputs)``.
      variables: with "params" among them.
      batch: (inputs, targets).
      loss_fn: (outputs, targets) → L, a real scalar.

    Raises:
      ValueError: no "params"; no pair; outputs or a loss that are not real numbers; a loss that is
        no scalar; no recurrent layer, one inside a transformation of the model (nn.remat, nn.scan,
        …), or one whose cell emits anything but its state.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 5, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> def loss_fn(outputs, targets):
      ...     return jnp.mean((outputs - targets) ** 2)
      >>> observe = jax.jit(lambda v, batch: diagnostics.observe(model, v, batch, loss_fn))
      >>> seen = observe(variables, (inputs, jnp.zeros((2, 5, 6))))
      >>> diagnostics.gradient_profile(seen.layers["cell"]).shape  # (T+1,)
      (6,)
    """
    check_function("loss_fn", loss_fn)
    inputs, targets = split(batch)

    def observed(params: Any, eps: Any) -> tuple[Any, Probe, Any]:
        probe = Probe(eps)
        with nn.intercept_methods(probe.intercept):
            outputs = model.apply({**variables, "params": params}, inputs)
        _check_real("outputs", outputs)
        value = jnp.asarray(loss_fn(outputs, targets))
        _check_real("the loss", value)
        if value.shape != ():
            raise ValueError(f"the loss must be a scalar, got shape {value.shape}")
        return value, probe, outputs

    loss, (gradients, by_eps), (saw, outputs) = _differentiate(model, observed, (0, 1), variables)
    return Observation(loss, gradients, _layers(saw, by_eps), outputs)


def observe_memory(
    model: nn.Module, variables: Any, inputs: Any, key: Key[Array, ""]
) -> dict[str, LayerObservation]:
    """The layers as ``observe`` has them, for a signal at the end of each instead of the loss:

        L = Σ_b <v_b, h_T,b>

    with v_b a random direction of length 1 in the space of the carry. The profile then says how far
    back the recurrence carries anything at all, whatever a loss looks at, for

        E ‖∂L/∂h_t,b‖² = ‖∂h_T,b/∂h_t,b‖_F² / N          N all numbers of a sequence's carry

    Each layer is measured by itself: what it passes on to others is held constant. With
    ``seq_lengths`` the end of a sequence is its last valid step.

    Args:
      model: any linen model.
      variables: with "params" among them.
      inputs: the model's.
      key: for v.

    Raises:
      ValueError: as in ``observe``.

    Example:
      >>> model = SequenceModel(VanillaCell(4, activation="identity"), num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (1, 5, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> layers = diagnostics.observe_memory(model, variables, inputs, jax.random.key(2))
      >>> print(diagnostics.gradient_profile(layers["cell"]).round(3))  # W_hh is orthogonal
      [1. 1. 1. 1. 1. 1.]
    """
    check_key("key", key)

    def observed(params: Any, eps: Any) -> tuple[Any, Probe, None]:
        probe = Probe(eps, key)
        with nn.intercept_methods(probe.intercept):
            model.apply({**variables, "params": params}, inputs)
        return sum(probe.signals), probe, None

    _, (by_eps,), (saw, _) = _differentiate(model, observed, (1,), variables)
    return _layers(saw, by_eps)


def _differentiate(
    model: Any,
    observed: Callable[[Any, Any], tuple[Any, Probe, Any]],
    wanted: tuple[int, ...],
    variables: Any,
) -> tuple[Any, Any, tuple[dict[str, LayerObservation], Any]]:
    """L, its gradients by what is ``wanted`` of (params, ε), what the probe saw, and the outputs.

    ``observed`` takes ε = None once, to say which there are.
    """
    check_module("model", model)
    if not isinstance(variables, Mapping) or "params" not in variables:
        keys = ", ".join(map(str, variables)) if isinstance(variables, Mapping) else None
        raise ValueError(f'variables must have "params", got {keys or described(variables)}')
    params = variables["params"]
    modules: set[str] = set()

    def used(params: Any) -> dict[str, Any]:
        _, probe, _ = observed(params, None)
        modules.update(probe.modules)
        return probe.used

    def seen(params: Any, eps: Any) -> tuple[Any, Any]:
        value, probe, outputs = observed(params, eps)
        return value, (probe.layers, outputs)

    try:
        shapes = jax.eval_shape(used, params)
    except ScopeParamShapeError as error:
        raise ValueError(f"inputs do not fit the parameters in variables: {error}") from error
    if not shapes:
        raise ValueError(
            "there is no recurrent layer to observe: looked for nn.RNN and SequenceModel, "
            f"found {', '.join(sorted(modules)) or 'no modules'}"
        )
    eps = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    (value, saw), found = jax.value_and_grad(seen, wanted, has_aux=True)(params, eps)
    return value, found, saw


def split(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets; ValueError unless a batch is a pair of them."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise ValueError(f"batch must be (inputs, targets), got a {type(batch).__name__}{size}")
    inputs, targets = batch
    return inputs, targets


def _layers(
    saw: dict[str, LayerObservation], by_eps: dict[str, Any]
) -> dict[str, LayerObservation]:
    """The layers that the probe saw, with the gradients by their states."""
    return {path: layer.replace(state_gradients=by_eps[path]) for path, layer in saw.items()}


def _check_real(what: str, tree: Any) -> None:
    for leaf in jax.tree.leaves(tree):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(f"{what} must be real numbers, got {jnp.result_type(leaf)}")
