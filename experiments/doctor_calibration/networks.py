"""Networks whose condition is known, to calibrate jaxrnn.diagnose on and to judge it by.

A label comes from how a network is made (0.5 times an orthogonal W_hh with |phi'| ≤ 1 forgets by
0.5 a step), or from whether it learns a recall task; never from what jaxrnn measures. Networks
labelled healthy have to be seen to learn it, those labelled vanishing not to.

    recall: x_1 is one of four classes, x_2 … x_T are noise; at step T, which class was it?

The networks that thresholds are chosen on are in calibration_set.py, those that were kept
apart in held_out.py.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

CLASSES = 4
NOISE_INPUTS = 2
BASELINE = math.log(CLASSES)  # cross-entropy of a guess, nats
BATCH = 16
# A mean loss, over the last tenth of its training, below half the baseline is learnt; above nine
# tenths it is not.
LEARNT, NOT_LEARNT = 0.5 * BASELINE, 0.9 * BASELINE

# What may be found beside the label. A unit that is stuck, or never moves again, forgets, and what
# forgets has a short memory; growth may end in overflow.
BESIDE: dict[str, tuple[str, ...]] = {
    "healthy": (),
    "vanishing": ("short_memory",),
    "exploding": (),
    "saturated": ("vanishing", "short_memory"),
    "dead_units": ("vanishing", "short_memory"),
    "non_finite": ("exploding",),
    "short_memory": ("vanishing",),
}
Setter = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Network:
    """One network and what is wrong with it.

    Attributes:
      name: its own.
      family: how it is made, shared by those made alike.
      label: a key of ``BESIDE``.
      model: with outputs (B, C), or (B, T, C) of which the last step counts.
      length: T.
      changes: the end of a parameter's path → its values, from a generator and those of init.
      beside: conditions that this construction may have as well.
      noise: standard deviation of the noise.
      rate, steps: of Adam on the recall task.
    """

    name: str
    family: str
    label: str
    model: nn.Module
    length: int
    changes: dict[str, Setter] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    noise: float = 0.3
    rate: float = 3e-3
    steps: int = 400

    @property
    def excluded(self) -> set[str]:
        """The conditions that its construction rules out."""
        return set(BESIDE) - {self.label, *BESIDE[self.label], *self.beside}

    @property
    def rng(self) -> np.random.Generator:
        """Of its own, always with the same numbers."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def batch(self, rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (*shape, T, D) and the classes (*shape,) of x_1."""
        classes = rng.integers(0, CLASSES, shape, dtype=np.int32)
        inputs = np.zeros((*shape, self.length, CLASSES + NOISE_INPUTS), np.float32)
        inputs[..., 0, :CLASSES] = np.eye(CLASSES)[classes]
        inputs[..., CLASSES:] = self.noise * rng.standard_normal((*inputs.shape[:-1], NOISE_INPUTS))
        return inputs, classes

    def variables(self) -> dict[str, Any]:
        """Its parameters."""
        rng = self.rng
        inputs, _ = self.batch(rng, 2)
        key = jax.random.key(int(rng.integers(2**31)))
        initial: Any = jax.jit(self.model.init)(key, inputs)
        params = {path: np.array(leaf) for path, leaf in flatten_dict(initial, sep="/").items()}
        for end, change in self.changes.items():
            paths = [path for path in params if path.endswith(end)]
            if not paths:
                raise ValueError(f"{self.name} has no parameter …{end}, only {', '.join(params)}")
            for path in paths:
                params[path] = np.asarray(change(rng, params[path]), np.float32)
        return unflatten_dict({path: jnp.asarray(leaf) for path, leaf in params.items()}, sep="/")


def loss_fn(outputs: jax.Array, classes: jax.Array) -> jax.Array:
    """Mean cross-entropy at the last step."""
    last = outputs if outputs.ndim == 2 else outputs[:, -1]
    return optax.softmax_cross_entropy_with_integer_labels(last, classes).mean()


def train(network: Network) -> float:
    """The mean loss over the last tenth of its training on recall; Adam, clipped at norm 1."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(network.rate))
    variables = network.variables()
    batches = network.batch(np.random.default_rng([7, len(network.name)]), network.steps, BATCH)

    def step(state: Any, batch: Any) -> tuple[Any, jax.Array]:
        params, opt_state = state
        inputs, classes = batch
        value, grads = jax.value_and_grad(
            lambda p: loss_fn(network.model.apply(p, inputs), classes)  # type: ignore[arg-type]
        )(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), value

    start = variables, optimizer.init(variables)
    _, losses = jax.jit(lambda state, xs: jax.lax.scan(step, state, xs))(start, batches)
    return float(losses[-network.steps // 10 :].mean())


def outcome_fits(network: Network, loss: float) -> bool:
    """Whether a healthy network has learnt, and a vanishing one not."""
    if network.label == "healthy":
        return loss < LEARNT
    return network.label != "vanishing" or loss > NOT_LEARNT


# Parameters. Kernels are (in, out); those of W_hh are orthogonal from the start, by the cells'
# own initialisers, unless a network says otherwise.


def scaled(factor: float) -> Setter:
    """``factor`` times what init gave."""
    return lambda rng, old: factor * old


def constant(value: float) -> Setter:
    """The same number everywhere."""
    return lambda rng, old: np.full_like(old, value)


def identity(scale: float = 1.0) -> Setter:
    """scale · I."""
    return lambda rng, old: scale * np.eye(len(old))


def gaussian(gain: float) -> Setter:
    """N(0, gain² / N), N the units that it comes from."""
    return lambda rng, old: rng.normal(0, gain / math.sqrt(len(old)), old.shape)


def positive(scale: float = 1.0) -> Setter:
    """scale times the magnitudes of what init gave."""
    return lambda rng, old: scale * np.abs(old)


def signs(value: float) -> Setter:
    """± value, at random."""
    return lambda rng, old: value * rng.choice([-1.0, 1.0], old.shape)


def part(share: float, value: float) -> Setter:
    """The first units' entries, a share of them, the rest as it was."""

    def change(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
        new = old.copy()
        new[..., : round(share * old.shape[-1])] = value
        return new

    return change


def unread(share: float) -> Setter:
    """A readout that looks at the first units only, a share of them."""

    def change(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
        new = old.copy()
        new[round(share * len(old)) :] = 0.0
        return new

    return change


def planted(value: float) -> Setter:
    """One entry, anywhere."""

    def change(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
        new = old.copy()
        new.flat[int(rng.integers(new.size))] = value
        return new

    return change


def both(first: Setter, second: Setter) -> Setter:
    """One change after the other."""
    return lambda rng, old: second(rng, first(rng, old))


def check_names(networks: Sequence[Network]) -> tuple[Network, ...]:
    """The networks as they are; ValueError if two share a name, of which their numbers come."""
    names = [network.name for network in networks]
    if len(set(names)) < len(names):
        repeated = {name for name in names if names.count(name) > 1}
        raise ValueError(f"networks must have different names, got twice {', '.join(repeated)}")
    return tuple(networks)
