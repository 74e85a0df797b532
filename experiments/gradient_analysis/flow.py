"""Where gradients go in networks before training: panels of the gradient analysis.

All of them follow the loss at the last step of a text, L = −ln p(x_{T+1}), back through time:
‖∂L/∂h_t‖ is the root mean square over sequences of the norm over units.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from experiments.harness.records.panels import Series
from jaxrnn import initializers
from jaxrnn.diagnostics import (
    decay_rate,
    gradient_profile,
    jacobian_singular_values,
    lyapunov_spectrum,
    observe,
    spectral_norm,
    spectral_radius,
    usable_horizon,
)
from jaxrnn.text import CharacterTask

Params = Any
FLOW, INITS = "gradient_flow_analysis", "weight_initialization_analysis"
FLOW_LENGTHS = (5, 10, 25, 35, 50, 75, 100)
SHOWN_LENGTHS = (10, 25, 50, 100)  # whose whole way back is drawn
SPECTRUM_LENGTH = 35
INIT_LENGTH = 50
LYAPUNOV_SEQUENCES = 4

# W_hh of N units; "small" and "large" are a tenth and three times of what keeps a state's size.
INITIALISERS: dict[str, Callable[[int], Any]] = {
    "small": lambda N: initializers.normal(0.1 / N**0.5),
    "uniform ±1/√N": initializers.uniform,
    "Xavier": lambda N: initializers.xavier(),
    "orthogonal": lambda N: initializers.orthogonal(),
    "identity": lambda N: initializers.identity(),
    "Henaff": lambda N: initializers.henaff(),
    "large": lambda N: initializers.normal(3 / N**0.5),
}


def last_step_loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean cross-entropy, in nats, of the last character alone."""
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs[:, -1], targets[:, -1])
    return losses.mean()


def network(task: CharacterTask, hidden: int) -> jaxrnn.SequenceModel:
    """A tanh RNN; whatever it starts from is in its parameters."""
    return jaxrnn.SequenceModel(jaxrnn.VanillaCell(hidden), task.num_outputs)


def initial_params(task: CharacterTask, hidden: int, init: str, seed: int) -> Params:
    """Xavier's input and output weights, no biases, and W_hh by one of INITIALISERS."""
    xavier = initializers.xavier()
    cell = jaxrnn.VanillaCell(
        hidden, kernel_init=xavier, recurrent_kernel_init=INITIALISERS[init](hidden)
    )
    model = jaxrnn.SequenceModel(cell, task.num_outputs, kernel_init=xavier)
    return model.init(jax.random.key(seed), jnp.zeros((1, 1, task.num_inputs)))["params"]


@partial(jax.jit, static_argnames="model")
def flow(
    model: jaxrnn.SequenceModel, params: Params, tokens: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """‖∂L/∂h_t‖ for t = 0 … T, and the mean of φ' = 1 − h² over units, sequences and steps."""
    inputs = jax.nn.one_hot(tokens, model.num_outputs)
    seen = observe(model, {"params": params}, (inputs, targets), last_step_loss).layers["cell"]
    # L is a mean over B sequences, of which each has 1/B of the gradient.
    profile = gradient_profile(seen) * len(tokens) ** 0.5
    return profile, jnp.mean(1 - seen.states[1:] ** 2)


@partial(jax.jit, static_argnames=("model", "measure"))
def along_sequences(
    model: jaxrnn.SequenceModel, params: Params, tokens: jax.Array, measure: Callable
) -> jax.Array:
    """A measurement of Jacobians along each of some sequences, from h_0 = 0."""
    cell: Any = model.cell
    inputs = jax.nn.one_hot(tokens, model.num_outputs)
    carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
    return measure(cell, {"params": params["cell"]}, carry, inputs)


def windows(task: CharacterTask, length: int, count: int, seed: int) -> Any:
    """(tokens, targets), (count, length) each, from anywhere in the training split."""
    longer = CharacterTask(task.text, length, streams=1)
    return longer.sample(np.random.default_rng([seed, length]), count)


def flow_series(
    task: CharacterTask, networks: Mapping[str, Params], sequences: int, lengths: Sequence[int]
) -> list[Series]:
    """The panels of gradient_flow_analysis.png; the first network is looked at at all lengths."""
    model = network(task, next(iter(networks.values()))["cell"]["h"]["kernel"].shape[0])
    make = partial(Series, FLOW)
    found: list[Series] = []
    for name, params in networks.items():
        profiles, slopes = {}, {}
        for T in lengths:
            batch = windows(task, T, sequences, seed=0)
            profile, slope = flow(model, params, *batch)
            profiles[T], slopes[T] = np.asarray(profile), float(slope)
        longest = max(lengths)
        steps_back = np.arange(longest + 1)
        found.append(make("networks", name, steps_back, profiles[longest][::-1]))
        if not any(series.panel == "lengths" for series in found):
            for T in sorted(set(SHOWN_LENGTHS) & set(lengths)):
                found.append(make("lengths", f"T = {T}", np.arange(T + 1), profiles[T]))
        starts = [profiles[T][0] for T in lengths]
        found.append(make("start", name, lengths, starts))
        W_hh = params["cell"]["h"]["kernel"]
        sigma, radius = float(spectral_norm(W_hh)), float(spectral_radius(W_hh))
        tokens = windows(task, longest, LYAPUNOV_SEQUENCES, seed=1).inputs
        exponents = along_sequences(model, params, tokens, lyapunov_spectrum)
        rates = {
            "fitted": fitted_rate(lengths, starts),
            "Lyapunov exponent": float(exponents.mean(axis=0).max()),
            "ln(σ_max · mean φ')": float(np.log(sigma * slopes[longest])),
            "ln(ρ · mean φ')": float(np.log(radius * slopes[longest])),
            "horizon": int(usable_horizon(jnp.asarray(profiles[longest])).horizon),
        }
        found.append(make("rates", name, list(rates), list(rates.values())))
        tokens = windows(task, min(SPECTRUM_LENGTH, longest), LYAPUNOV_SEQUENCES, seed=2).inputs
        logs = along_sequences(model, params, tokens, jacobian_singular_values)
        values = np.asarray(logs).mean(axis=0)
        # The rest is rounding.
        known = values[values > values[0] + np.log(np.finfo(np.float32).eps)]
        found.append(make("spectrum", name, np.arange(1, len(known) + 1), known / np.log(10)))
    return found


def fitted_rate(lengths: Sequence[int], norms: Sequence[float]) -> float:
    """The slope of ln ‖∂L/∂h_0‖ against T, by least squares; NaN with less than two of them."""
    pairs = zip(lengths, norms, strict=True)
    points = [(T, np.log(norm)) for T, norm in pairs if np.isfinite(norm) and norm > 0]
    return slope(*np.array(points).T) if len(points) > 1 else np.nan


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the straight line through points, by least squares."""
    return float(np.polyfit(x, y, 1)[0])


def init_series(
    task: CharacterTask, hidden: int, sequences: int, seeds: Sequence[int]
) -> list[Series]:
    """The panels of weight_initialization_analysis.png: each initialiser from several seeds."""
    model, make = network(task, hidden), partial(Series, INITS)
    batch = windows(task, INIT_LENGTH, sequences, seed=0)
    found: list[Series] = []
    for name in INITIALISERS:
        profiles = np.array(
            [flow(model, initial_params(task, hidden, name, seed), *batch)[0] for seed in seeds]
        )
        back = profiles[:, ::-1]
        found.append(make("flow", name, np.arange(INIT_LENGTH + 1), *spread(back)))
        rates = np.array([float(decay_rate(jnp.asarray(profile))) for profile in profiles])
        for panel, values in (
            ("mean", profiles.mean(axis=1)),
            ("variance", profiles.var(axis=1)),
            ("rate", -rates),
        ):
            found.append(make(panel, name, [name], *spread(values[:, None])))
    return found


def spread(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the seeds, lowest and highest, of (S, ...) rows."""
    return rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0)
