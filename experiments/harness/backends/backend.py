"""What a backend offers, and how one is loaded: importing it imports its framework."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from experiments.harness.method.recipe import Recipe, State, TrainingBatch, Weights
from jaxrnn.tasks import Batch

BACKENDS = {
    name: f"experiments.harness.backends.{name}_backend" for name in ("jax", "torch", "numpy")
}


class Trainer(Protocol):
    """One method in training for S seeds at once."""

    def train(self, batches: Sequence[TrainingBatch | None]) -> Any:
        """Train each seed on its chunk of K batches; Measurements of (S, K) arrays.

        A seed that is given none stays as it is, and its measurements mean nothing.
        """

    def evaluate(self, batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Loss and accuracy (S,) of each seed on its one large batch."""

    def state(self, seed: int) -> State:
        """A copy of all that the training of a seed, by its place, goes on from."""

    def restore(self, seed: int, state: State) -> None:
        """Put a seed, by its place, back into a state."""

    def cut_learning_rate(self, seed: int, factor: float) -> None:
        """Multiply the learning rates of a seed, by its place."""


class Backend(Protocol):
    """What jax_backend, torch_backend and numpy_backend offer."""

    def initial_weights(self, recipe: Recipe, seed: int) -> Weights:
        """Fresh weights in the letters of the equations."""

    def make_trainer(self, recipe: Recipe, weights: Sequence[Weights]) -> Trainer:
        """A trainer that starts from the weights of each seed."""

    def weights_of(self, recipe: Recipe, state: State) -> Weights:
        """The weights in a trainer's state."""

    def sample(
        self,
        recipe: Recipe,
        weights: Weights,
        prompt: np.ndarray,
        length: int,
        temperature: float,
        seed: int,
    ) -> np.ndarray:
        """Tokens that continue a prompt, ``length`` of them, drawn one by one."""


def load_backend(name: str) -> ModuleType:
    """Import a backend, and with it JAX or PyTorch, by its name."""
    return importlib.import_module(BACKENDS[name])
