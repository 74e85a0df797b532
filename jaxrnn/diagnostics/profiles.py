"""Numbers that sum up the gradients and states that ``observe`` returns.

    p_t = ‖∂L/∂h_t‖          t = 0 … T

Vanishing gradients are a p that falls on the way back from T to 0, exploding ones a p that grows;
in a linear network by a constant factor per step, so that ln p is a straight line. (Pascanu et al.
2013, On the difficulty of training recurrent neural networks.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrnn.activations import ACTIVATIONS, activation_of
from jaxrnn.array_checks import as_flags, as_float_array, as_real_array
from jaxrnn.cell_types import cell_types
from jaxrnn.checks import check_real, described
from jaxrnn.diagnostics.matrices import not_measured
from jaxrnn.diagnostics.probe import LayerObservation
from jaxrnn.paths import named_leaves

# phi' below this: less than a tenth of a gradient gets through. Of tanh that is |h| > 0.95.
SATURATED = 0.1


class Horizon(NamedTuple):
    """How far back a gradient is usable.

    Attributes:
      horizon: steps back from the end after which it no longer is; T: it is all the way.
      direction: −1 vanished, 1 exploded, 0 neither.

    Example:
      >>> profile = 10.0 ** jnp.arange(-5, 1)  # falls tenfold at each step back
      >>> horizon, direction = diagnostics.usable_horizon(profile, factor=50.0)
      >>> int(horizon), int(direction)
      (2, -1)
    """

    horizon: Int[Array, ""]
    direction: Int[Array, ""]


def gradient_profile(layer: LayerObservation) -> Float[Array, " times"]:
    """‖∂L/∂h_t‖ for t = 0 … T, over the batch and all leaves of the carry.

    Norms from the smallest to the largest number of the dtype come out right, their squares need
    not exist.

    Example:
      >>> gradients = jnp.array([[[0.3, 0.4]], [[3.0, 4.0]], [[30.0, 40.0]]])  # (T+1, B, N)
      >>> layer = diagnostics.LayerObservation(gradients, gradients, "VanillaCell", "tanh")
      >>> print(diagnostics.gradient_profile(layer).round(2))
      [ 0.5  5.  50. ]
    """
    _check_layer(layer)
    leaves = [
        leaf.reshape(leaf.shape[0], -1).astype(_wide(leaf))
        for leaf in jax.tree.leaves(layer.state_gradients)
    ]
    largest = jnp.stack([jnp.max(jnp.abs(leaf), axis=1) for leaf in leaves]).max(0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    squares = jnp.stack([jnp.sum((leaf / scale[:, None]) ** 2, axis=1) for leaf in leaves])
    return scale * jnp.sqrt(squares.sum(0))


def usable_horizon(profile: Float[Array, " times"], factor: float = 100.0) -> Horizon:
    """The least k for which p_{T−k} < p_T / factor (vanished) or > factor · p_T (exploded).

    T and direction 0 if there is none. NaN counts as exploded. A p_T that is 0 or not finite, as of
    a loss that does not look at the last step, is nothing to compare with: horizon and direction 0.

    Raises:
      ValueError: factor is not above 1.

    Example:
      >>> for base in (0.5, 1.0, 2.0):  # per step back
      ...     horizon, direction = diagnostics.usable_horizon(base ** jnp.arange(9.0, -1.0, -1.0))
      ...     print(horizon, direction)
      7 -1
      9 0
      7 1
    """
    profile = _as_profile(profile)
    check_real("factor", factor, "above 1", lambda factor: factor > 1)
    factor = float(factor)  # a whole number may have more than 32 bits
    back = profile[::-1]
    last = back[0]
    vanished = back < last / factor
    exploded = ~vanished & ~(back <= factor * last)
    out = vanished | exploded
    first = jnp.argmax(out)
    horizon = jnp.where(out.any(), first, len(profile) - 1)
    direction = exploded[first].astype(int) - vanished[first].astype(int)
    usable = (last > 0) & jnp.isfinite(last)
    return Horizon(jnp.where(usable, horizon, 0), jnp.where(usable, direction, 0))


def decay_rate(profile: Float[Array, " times"]) -> Float[Array, ""]:
    """The slope of ln p_{T−k} over k, by least squares: how ln p changes per step further back.

    Negative for vanishing gradients, positive for exploding ones: the logarithm of the factor by
    which a step multiplies. Entries that are 0 or not finite are left out; NaN with less than two.

    Example:
      >>> profile = jnp.array([1.0, 2.0, 4.0, 8.0])  # halves at each step back
      >>> print(f"{jnp.exp(diagnostics.decay_rate(profile)):.3f}")
      0.500
    """
    profile = _as_profile(profile)
    steps_back = jnp.arange(len(profile), dtype=profile.dtype)[::-1]
    valid = (profile > 0) & jnp.isfinite(profile)
    count = valid.sum()
    logs = jnp.log(jnp.where(valid, profile, 1))
    mean = jnp.sum(jnp.where(valid, steps_back, 0)) / jnp.maximum(count, 1).astype(profile.dtype)
    k = jnp.where(valid, steps_back - mean, 0)
    slope = jnp.sum(k * logs) / jnp.where(count > 1, jnp.sum(k * k), 1)
    return jnp.where(count > 1, slope, not_measured())


def _as_profile(profile: Any) -> Array:
    profile = as_float_array("profile", profile)
    if profile.ndim != 1 or not profile.size:
        raise ValueError(f"profile must be p_0 ... p_T, (T+1,), got shape {profile.shape}")
    return profile


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, LayerObservation):
        raise ValueError(
            f"layer must be one of the layers that observe returns, got {described(layer)}"
        )


def valid_steps(layer: LayerObservation) -> Bool[Array, "T B"] | None:
    """Which of h_1 … h_T are those of a sequence and not of its padding; None: all of them.

    Example:
      >>> states = jnp.zeros((4, 2, 5))  # (T+1, B, N)
      >>> lengths = jnp.array([3, 1])
      >>> layer = diagnostics.LayerObservation(states, states, "VanillaCell", "tanh", lengths)
      >>> print(diagnostics.valid_steps(layer).T)
      [[ True  True  True]
       [ True False False]]
    """
    _check_layer(layer)
    if layer.lengths is None:
        return None
    T = len(jax.tree.leaves(layer.states)[-1]) - 1
    return jnp.arange(T)[:, None] < jnp.asarray(layer.lengths)[None]


def saturated_share(
    states: Float[Array, "*steps N"],
    threshold: float = SATURATED,
    valid: Bool[Array, "*steps"] | None = None,
    activation: str = "tanh",
) -> Float[Array, ""]:
    """The share of values h = phi(z) at which phi'(z) is below ``threshold``; tanh' = 1 − h².

    Args:
      states: h.
      threshold: of phi'.
      valid: which steps count; None: all.
      activation: phi, a name in ``jaxrnn.activations.ACTIVATIONS``.

    Raises:
      ValueError: states that are no floating-point numbers, a threshold that is no finite number,
        ``valid`` of other steps, an unknown activation.

    Example:
      >>> states = jnp.array([[0.0, 0.99], [0.5, -0.98]])
      >>> float(diagnostics.saturated_share(states))
      0.5
    """
    states = _as_states(states)
    check_real("threshold", threshold)
    threshold = float(threshold)  # a whole number may have more than 32 bits
    if valid is not None:
        valid = as_flags("valid", valid, states.shape[:-1])
    # Counted: XLA would write out a mean's floating-point ones and zeros.
    derivative = activation_of(activation).derivative
    saturated = jnp.count_nonzero(derivative(states) < threshold, axis=-1)
    return jnp.mean(saturated / states.shape[-1], dtype=_wide(states), where=valid)


def layer_saturation(layer: LayerObservation, threshold: float = SATURATED) -> Float[Array, ""]:
    """``saturated_share`` of the units whose phi saturates, over h_1 … h_T without padding.

    Of the activations that is tanh. Its values are, by jaxrnn/cell_types.py, h of a VanillaCell,
    SimpleCell, GRUCell or MGUCell (a mean of them, in the last two) and tanh(c) of an LSTM, whose
    carry is (c, h); also in the wrappers of jaxrnn/wrappers.py, where a unit that leaks is a mean
    of them over time: tanh of that mean, of an LSTM's c. NaN for any other cell or activation.

    Example:
      >>> states = jnp.array([[[0.0, 0.0]], [[0.2, 0.99]], [[0.5, -0.98]]])  # h_0, h_1, h_2
      >>> layer = diagnostics.LayerObservation(states, states, "VanillaCell", "tanh")
      >>> float(diagnostics.layer_saturation(layer))  # h_0 does not count
      0.5
    """
    _check_layer(layer)
    cell, name = cell_types(layer.cell)[-1], layer.activation
    if name not in ACTIVATIONS or not ACTIVATIONS[name].saturates or cell.activated is None:
        return jnp.asarray(not_measured())
    later = [h[1:] for h in jax.tree.leaves(layer.states)]
    values = cell.activated(later, ACTIVATIONS[name].phi)
    return saturated_share(values, threshold, valid_steps(layer), name)


def dead_share(
    states: Float[Array, "times *batch N"], valid: Bool[Array, "T ..."] | None = None
) -> Float[Array, ""]:
    """The share of the N units that are the same number at all t ≥ 1 and in all of the batch.

    Such a unit says nothing about the inputs: a ReLU at zero, a tanh stuck at 1.

    Args:
      states: h_0 … h_T.
      valid: which of h_1 … h_T count, by the first of their axes; None: all. h_1 of the first
        sequence has to.

    Raises:
      ValueError: states that are no floating-point numbers, ``valid`` of other steps.

    Example:
      >>> states = jnp.array([[[0.0, 0.0]], [[0.0, 0.3]], [[0.0, 0.1]]])  # (T+1, B, N)
      >>> float(diagnostics.dead_share(states))
      0.5
    """
    states = _as_states(states)
    if valid is not None:
        later = (max(len(states) - 1, 0), *states.shape[1 : getattr(valid, "ndim", 1)])
        valid = as_flags("valid", valid, later)
    units = states[1:].reshape(-1, states.shape[-1])
    same = units == units[:1]
    if valid is not None:
        inner = states[1:].size // (valid.size * states.shape[-1])  # as of a window of states
        same |= ~jnp.repeat(valid.reshape(-1), inner)[:, None]
    return jnp.mean(same.all(0), dtype=_wide(states))


def gradient_norms(gradients: Any) -> dict[str, Float[Array, ""]]:
    """‖∂L/∂p‖ of every leaf, by its path.

    Example:
      >>> gradients = {"h": {"kernel": jnp.array([[3.0, 4.0]])}, "b": jnp.array([2.0])}
      >>> {path: float(norm) for path, norm in diagnostics.gradient_norms(gradients).items()}
      {'b': 2.0, 'h/kernel': 5.0}
    """
    return _norms("gradients", gradients)


def update_ratios(updates: Any, params: Any) -> dict[str, Float[Array, ""]]:
    """‖u‖ / ‖p‖ of every leaf, by its path: how much of itself a step changes.

    Not finite for parameters that are all zero, such as a bias at first.

    Raises:
      ValueError: trees of different structure, leaves that are no real numbers.

    Example:
      >>> params, updates = {"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([0.0, 0.5])}
      >>> print(f"{diagnostics.update_ratios(updates, params)['w']:.2f}")
      0.10
    """
    sizes, changes = _norms("params", params), _norms("updates", updates)
    if changes.keys() != sizes.keys():
        raise ValueError(
            f"updates must have the leaves of params, {', '.join(sizes)}; got {', '.join(changes)}"
        )
    return {path: changes[path] / size for path, size in sizes.items()}


def _norms(name: str, tree: Any) -> dict[str, Float[Array, ""]]:
    """Of every leaf, by its path."""
    leaves = [(path, as_real_array(f"{name}: {path}", leaf)) for path, leaf in named_leaves(tree)]
    return {path: jnp.linalg.norm(jnp.ravel(x).astype(_wide(x))) for path, x in leaves}


def _as_states(states: Any) -> Array:
    states = as_float_array("states", states)
    if not states.ndim or not states.shape[-1]:
        raise ValueError(f"states must be (..., N), got shape {states.shape}")
    return states


def _wide(x: Array) -> Any:
    return jnp.promote_types(jnp.result_type(x), jnp.float32)
