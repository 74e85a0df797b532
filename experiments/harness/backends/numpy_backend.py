"""Recipes carried out by jaxrnn.numpy_rnn, one seed after the other, in float64.

It knows one initialiser besides the uniform one and the identity, one rate for all weights, and QR.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.harness.method.randomness import generator
from experiments.harness.method.recipe import Recipe, State, TrainingBatch, Weights
from jaxrnn import numpy_rnn
from jaxrnn.tasks import Batch
from jaxrnn.text import StreamBatch


class Measurements(NamedTuple):
    """What a step measured; see jaxrnn.training.Measurements."""

    loss: np.ndarray
    accuracy: np.ndarray
    grad_norm: np.ndarray
    spectral_norm: np.ndarray
    orthogonality_error: np.ndarray


def initial_weights(recipe: Recipe, seed: int) -> Weights:
    """Fresh weights in the letters of the equations."""
    rng = generator(seed, "numpy weights")
    N = recipe.hidden
    weights = numpy_rnn.initial_weights(rng, recipe.task.num_inputs, N, recipe.task.num_outputs)
    if recipe.recurrent_init == "orthogonal":
        weights["W_hh"] = numpy_rnn.project(rng.standard_normal((N, N)))
    elif recipe.recurrent_init == "identity":
        weights["W_hh"] = np.eye(N)
    if recipe.activation == "modrelu":
        weights["b_modrelu"] = np.zeros(N)
    return weights


class NumpyTrainer:
    """S seeds in training."""

    def __init__(self, recipe: Recipe, weights: Sequence[Weights]) -> None:
        known = Recipe(recipe.task, recipe.hidden)
        unknown = ("cell", "leak", "skip", "bptt_steps", "input_std", "optimizer", "clip_value")
        for name in (*unknown, "clip_adaptive", "warmup_steps", "decay_steps"):
            if getattr(recipe, name) != getattr(known, name):
                raise ValueError(
                    f"the network in NumPy knows the {name} {getattr(known, name)} alone, "
                    f"got {getattr(recipe, name)}"
                )
        self._states = [_Training(recipe, seed_weights) for seed_weights in weights]

    def train(self, batches: Sequence[TrainingBatch | None]) -> Measurements:
        """Train each seed on its chunk of K batches, where it has one; (S, K) arrays."""
        rows = [
            None if chunk is None else state.train(chunk)
            for state, chunk in zip(self._states, batches, strict=True)
        ]
        anyone = next(row for row in rows if row is not None)
        return Measurements(*np.stack([anyone if row is None else row for row in rows], axis=1))

    def evaluate(self, batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Loss and accuracy (S,) of each seed on its one large batch."""
        rows = [state.loss(batch)[:2] for state, batch in zip(self._states, batches, strict=True)]
        values, accuracies = np.array(rows).T
        return values, accuracies

    def state(self, seed: int) -> State:
        """The seed's weights, Adam's means of them, and the counts."""
        training = self._states[seed]
        adam = training.adam
        arrays = {
            f"{group}/{name}": array.copy()
            for group, named in (("weights", training.weights), ("m", adam.m), ("v", adam.v))
            for name, array in named.items()
        }
        numbers: dict[str, Any] = {
            "steps": adam.steps,
            "rate": adam.lr,
            "diverged": training.diverged,
        }
        if training.carry is not None:
            numbers["carry"] = training.carry
        return arrays | {name: np.array(value) for name, value in numbers.items()}

    def restore(self, seed: int, state: State) -> None:
        """Put a seed back into a state."""
        training = self._states[seed]
        adam = training.adam
        for group, named in (("weights", training.weights), ("m", adam.m), ("v", adam.v)):
            named.update({name: state[f"{group}/{name}"].copy() for name in named})
        adam.steps, adam.lr = int(state["steps"]), float(state["rate"])
        training.diverged = bool(state["diverged"])
        if training.carry is not None:
            training.carry = state["carry"].copy()

    def cut_learning_rate(self, seed: int, factor: float) -> None:
        """Multiply the learning rate of a seed."""
        self._states[seed].adam.lr *= factor


class _Training:
    """One seed: its weights, what Adam keeps of them, and the carry of its streams."""

    def __init__(self, recipe: Recipe, weights: Weights) -> None:
        self.recipe = recipe
        self.weights = {name: np.asarray(array, np.float64) for name, array in weights.items()}
        self.adam = numpy_rnn.Adam(self.weights, recipe.lr)
        self.diverged = False
        self.carry = None if recipe.streams is None else np.zeros((recipe.streams, recipe.hidden))

    def train(self, batches: TrainingBatch) -> np.ndarray:
        """K steps; the columns of Measurements as rows (5, K)."""
        K = len(batches.inputs)
        measured = np.full((5, K), np.nan)
        for k, arrays in enumerate(zip(*batches, strict=True)):
            measured[:3, k] = self.step(type(batches)(*arrays))
            if (K - 1 - k) % self.recipe.track_every == 0:
                sigma = np.linalg.svd(self.weights["W_hh"], compute_uv=False)
                # ‖WᵀW − I‖_F, by the singular values.
                error = np.linalg.norm(sigma**2 - 1) / np.sqrt(len(sigma))
                measured[3:, k] = sigma[0], error
        return measured

    def step(self, batch: TrainingBatch) -> tuple[float, float, float]:
        """Loss, accuracy and gradient norm; none is applied after one that was not finite."""
        recipe = self.recipe
        carry = self.carry
        if carry is not None and isinstance(batch, StreamBatch):
            carry = np.where(batch.is_fresh[:, None], 0, carry)
        value, accuracy, dy, inputs, hidden = self.loss(batch, carry)
        gradients = numpy_rnn.backward(self.weights, inputs, hidden, dy, recipe.activation)
        gradients, norm = numpy_rnn.clip_by_global_norm(gradients, recipe.clip_norm)
        self.diverged |= not (np.isfinite(value) and np.isfinite(norm))
        if not self.diverged:
            self.weights = self.adam.update(self.weights, gradients)
            if recipe.retraction and (self.adam.steps - 1) % recipe.project_every == 0:
                self.weights["W_hh"] = numpy_rnn.project(self.weights["W_hh"])
            if self.carry is not None:
                self.carry = hidden[:, -1]
        return value, accuracy, norm

    def loss(
        self, batch: TrainingBatch, carry: np.ndarray | None = None
    ) -> tuple[float, float, np.ndarray, np.ndarray, np.ndarray]:
        """Loss and accuracy, then what the way back needs: ∂L/∂y, inputs and states."""
        recipe, inputs = self.recipe, batch.inputs
        if not recipe.is_regression:
            inputs = np.eye(recipe.task.num_inputs)[inputs]
        outputs, hidden = numpy_rnn.forward(self.weights, inputs, carry, recipe.activation)
        if recipe.is_regression:
            value, dy = numpy_rnn.squared_error(outputs, batch.targets)
            return value, np.nan, dy, inputs, hidden
        value, dy = numpy_rnn.cross_entropy(outputs, batch.targets)
        accuracy = np.mean(outputs.argmax(axis=-1) == batch.targets)
        return value, float(accuracy), dy, inputs, hidden


make_trainer = NumpyTrainer


def weights_of(recipe: Recipe, state: State) -> Weights:
    """The weights in a trainer's state."""
    prefix = "weights/"
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}


def sample(
    recipe: Recipe,
    weights: Weights,
    prompt: np.ndarray,
    length: int,
    temperature: float,
    seed: int,
) -> np.ndarray:
    """Tokens that continue a prompt, ``length`` of them, drawn one by one."""
    rng = np.random.default_rng(seed)
    tokens = numpy_rnn.sample(weights, rng, length, prompt, temperature, recipe.activation)
    return np.array(tokens)
