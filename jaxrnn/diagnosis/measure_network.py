"""What is measured of a model on one batch, by two gradients and a forward pass.

    m_t = ‖∂<v, h_T>/∂h_t‖     how much of h_t is still in h_T; v a random direction of length 1
    p_t = ‖∂L/∂h_t‖            what the loss sends back to h_t

of every recurrent layer (``observe_memory``, ``observe``), with the shares of saturated and of dead
units, the singular values of its recurrent kernels, and how much early inputs move the outputs
(jaxrnn/diagnosis/measure_early_inputs.py). In a padded batch (``seq_lengths``) m is counted from
each sequence's own end.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from jaxrnn import diagnostics
from jaxrnn.diagnosis.checks import LossFunction
from jaxrnn.diagnosis.freshness import is_fresh
from jaxrnn.diagnosis.measure_early_inputs import Exchange, early_share, plan_exchange
from jaxrnn.diagnostics import LayerObservation, Observation
from jaxrnn.paths import is_recurrent_kernel, named_leaves

HORIZON_FACTOR = 100.0  # of change, beyond which a gradient is not usable


@dataclass(frozen=True)
class Kernel:
    """A recurrent kernel: spectral radius, and singular values from the largest down."""

    spectral_radius: float
    singular_values: tuple[float, ...]

    @property
    def spectral_norm(self) -> float:
        """The largest singular value."""
        return self.singular_values[0]


@dataclass(frozen=True)
class LayerEvidence:
    """One recurrent layer, in the order in which it runs its steps.

    Attributes:
      cell: the name of the cell's class.
      activation: phi by its name; None: not known.
      steps: T; of padded sequences that of the longest.
      units: N of the state that it emits.
      memory: m_0 … m_T, in units of m_T; of padded sequences m_{T−k} is over those of k steps or
        more.
      gradient: p_0 … p_T.
      memory_rate: the factor by which m changes per step further back, fitted; NaN: m vanishes
        within a step.
      horizon: steps back until m has changed by more than a factor of 100; T: never.
      saturated: share of tanh's values beyond ±0.95; NaN: the cell has none.
      dead: share of units that are the same number at all steps and in all sequences.
      first_not_finite: the step t of the first h_t with NaN or Inf; None: there is none.
      kernels: its recurrent kernels by their paths.

    Example:
      >>> cell = VanillaCell(4, recurrent_kernel_init=initializers.identity(0.1))
      >>> model = SequenceModel(cell, num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 9, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> batch = inputs, jnp.ones((2, 9, 6))
      >>> report = diagnose(model, variables, batch, lambda y, target: jnp.mean((y - target) ** 2))
      >>> layer = report.evidence.layers["cell"]
      >>> layer.steps, layer.units, layer.memory_left < 1e-8  # W_hh = 0.1 I forgets
      (9, 4, True)
    """

    cell: str
    activation: str | None
    steps: int
    units: int
    memory: tuple[float, ...]
    gradient: tuple[float, ...]
    memory_rate: float
    horizon: int
    saturated: float
    dead: float
    first_not_finite: int | None
    kernels: dict[str, Kernel]

    @property
    def memory_left(self) -> float:
        """m_0: what is left of the signal at the start."""
        return self.memory[0]

    @property
    def memory_largest(self) -> float:
        """The largest m_t."""
        return max(self.memory)


@dataclass(frozen=True)
class Evidence:
    """All that was measured.

    Attributes:
      loss: L.
      gradient_norm: of all parameters together.
      early_share: s of jaxrnn/diagnosis/measure_early_inputs.py; NaN: there is nothing to
        exchange.
      not_finite: the first of inputs, parameters, states, outputs, targets (of a loss that is
        not finite), loss and gradients with NaN or Inf, by name; None: there is none.
      is_fresh: whether nothing has been trained yet, by jaxrnn/diagnosis/freshness.py.
      layers: by the path of their cell's parameters.

    Example:
      >>> cell = VanillaCell(4, recurrent_kernel_init=initializers.identity(0.1))
      >>> model = SequenceModel(cell, num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 9, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> batch = inputs, jnp.ones((2, 9, 6))
      >>> report = diagnose(model, variables, batch, lambda y, target: jnp.mean((y - target) ** 2))
      >>> list(report.evidence.layers), report.evidence.not_finite
      (['cell'], None)
    """

    loss: float
    gradient_norm: float
    early_share: float
    not_finite: str | None
    is_fresh: bool
    layers: dict[str, LayerEvidence]


def measure(
    model: nn.Module,
    variables: Any,
    batch: Any,
    loss_fn: LossFunction,
    key: Array,
    shapes: Observation,
) -> Evidence:
    """Measure a model; ``shapes`` is what ``checks.check`` found."""
    exchange = plan_exchange(model, variables, batch[0], shapes)

    @jax.jit
    def numbers(variables: Any, batch: Any, key: Array) -> Any:
        return _numbers(model, variables, batch, loss_fn, key, exchange)

    with jax.debug_nans(False):  # a NaN is a diagnosis here, or stands for what is not measured
        found = numbers(variables, batch, key)
    # By itself, where the compiler sees that init's outputs are not asked for.
    found["is_fresh"] = jax.jit(partial(is_fresh, model))(variables["params"], batch[0])
    return _evidence(jax.device_get(found), shapes)


def _numbers(
    model: nn.Module,
    variables: Any,
    batch: Any,
    loss_fn: LossFunction,
    key: Array,
    exchange: Exchange,
) -> dict[str, Any]:
    """All arrays that are small: norms, shares and singular values."""
    inputs, targets = batch
    direction, order = jax.random.split(key)
    seen = diagnostics.observe(model, variables, batch, loss_fn)
    memory = diagnostics.observe_memory(model, variables, inputs, direction)
    kernels = {
        path: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        for path, leaf in named_leaves(variables["params"])
        if is_recurrent_kernel(path, leaf) and leaf.ndim == 2
    }
    return {
        "loss": seen.loss,
        "gradients": diagnostics.gradient_norms(seen.gradients),
        "early_share": early_share(model, variables, inputs, seen.outputs, exchange, order),
        "layers": {
            path: _layer_numbers(layer, memory[path]) for path, layer in seen.layers.items()
        },
        "kernels": {
            path: (diagnostics.spectral_radius(W), jnp.linalg.svd(W, compute_uv=False))
            for path, W in kernels.items()
        },
        "finite": {
            "inputs": _finite_leaves(inputs),
            "params": _finite_leaves(variables["params"]),
            "outputs": _finite_leaves(seen.outputs),
            "targets": _finite_leaves(targets),
        },
    }


def _layer_numbers(layer: LayerObservation, remembered: LayerObservation) -> dict[str, Array]:
    memory = _memory(remembered)
    states, valid = _real_leaves(layer.states), diagnostics.valid_steps(layer)
    finite = [jnp.isfinite(h).all(axis=tuple(range(1, h.ndim))) for h in states]
    return {
        "memory": memory,
        "steps": jnp.max(jnp.asarray(len(memory) - 1 if layer.lengths is None else layer.lengths)),
        "gradient": diagnostics.gradient_profile(layer),
        "memory_rate": jnp.exp(diagnostics.decay_rate(memory)),
        "horizon": diagnostics.usable_horizon(memory, HORIZON_FACTOR).horizon,
        "saturated": diagnostics.layer_saturation(layer),
        # Of an LSTM's (c, h) the larger: what is not emitted is as good as dead.
        "dead": jnp.stack([diagnostics.dead_share(h, valid) for h in states if h.ndim > 1]).max(),
        "finite": jnp.stack(finite).all(0),
    }


def _memory(layer: LayerObservation) -> Array:
    """m_0 … m_T; NaN for steps back that no sequence is long enough for."""
    if layer.lengths is None:
        memory = diagnostics.gradient_profile(layer)
        return memory / memory[-1]
    gradients = [g for g in jax.tree.leaves(layer.state_gradients) if g.ndim > 1]  # no counters
    T = len(gradients[0]) - 1
    # Where T − k is in a sequence that ends at its own T_b: at T_b − k.
    place = jnp.asarray(layer.lengths)[None] - jnp.arange(T, -1, -1)[:, None]  # (T+1, B)

    def to_the_end(g: Array) -> Array:
        at = place.reshape(*place.shape, *[1] * (g.ndim - 2))
        return jnp.where(at >= 0, jnp.take_along_axis(g, jnp.maximum(at, 0), axis=0), 0)

    moved = layer.replace(state_gradients=[to_the_end(g) for g in gradients])
    count = (place >= 0).sum(1)  # v has length 1 in every sequence
    memory = diagnostics.gradient_profile(moved) / jnp.sqrt(jnp.maximum(count, 1))
    return jnp.where(count > 0, memory, diagnostics.not_measured())


def _real_leaves(tree: Any) -> list[Array]:
    return [h for h in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(h), jnp.floating)]


def _finite_leaves(tree: Any) -> dict[str, Array]:
    return {path: jnp.isfinite(leaf).all() for path, leaf in named_leaves(tree)}


def _evidence(numbers: dict[str, Any], shapes: Observation) -> Evidence:
    """Plain Python numbers."""
    kernels = {
        path: Kernel(float(radius), tuple(map(float, sigma)))
        for path, (radius, sigma) in numbers["kernels"].items()
    }
    layers = {}
    for path, seen in numbers["layers"].items():
        states = jax.tree.leaves(shapes.layers[path].states)[-1]
        cell = path.partition("#")[0]
        finite, steps = seen["finite"], int(seen["steps"])
        layers[path] = LayerEvidence(
            cell=shapes.layers[path].cell,
            activation=shapes.layers[path].activation,
            steps=steps,
            units=states.shape[-1],
            memory=tuple(map(float, seen["memory"][len(finite) - 1 - steps :])),
            gradient=tuple(map(float, seen["gradient"])),
            memory_rate=float(seen["memory_rate"]),
            horizon=min(int(seen["horizon"]), steps),
            saturated=float(seen["saturated"]),
            dead=float(seen["dead"]),
            first_not_finite=None if finite.all() else int(finite.argmin()),
            kernels={name: W for name, W in kernels.items() if name.startswith(f"{cell}/")},
        )
    norms = [float(norm) for norm in numbers["gradients"].values()]
    return Evidence(
        loss=float(numbers["loss"]),
        gradient_norm=math.hypot(*norms),
        early_share=float(numbers["early_share"]),
        not_finite=_first_not_finite(numbers, layers),
        is_fresh=bool(numbers["is_fresh"]),
        layers=layers,
    )


def _first_not_finite(numbers: dict[str, Any], layers: dict[str, LayerEvidence]) -> str | None:
    """In the order in which a forward pass and its gradient come by."""
    finite = numbers["finite"]
    for path, is_finite in finite["inputs"].items():
        if not is_finite:
            return f"inputs {path}".rstrip()
    for path, is_finite in finite["params"].items():
        if not is_finite:
            return f"parameter {path}"
    for path, layer in layers.items():
        if layer.first_not_finite is not None:
            return f"h_{layer.first_not_finite} of {path}"
    for path, is_finite in finite["outputs"].items():
        if not is_finite:
            return f"outputs {path}".rstrip()
    if not math.isfinite(numbers["loss"]):
        # A loss may leave out targets that are NaN on purpose; this one has not.
        for path, is_finite in finite["targets"].items():
            if not is_finite:
                return f"targets {path}".rstrip()
        return "the loss"
    for path, norm in numbers["gradients"].items():
        if not math.isfinite(norm):
            return f"the gradient of {path}"
    return None
