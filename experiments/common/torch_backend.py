"""Recipes carried out by torch_ref, one seed after the other."""

from collections.abc import Sequence

import numpy as np
import torch

import torch_ref
from experiments.common.recipe import Recipe, Weights
from jaxrnn.tasks import Batch
from torch_ref import initializers, training


def build_model(recipe: Recipe) -> torch_ref.SequenceModel:
    """The model of a recipe, its weights as torch draws them."""
    cell = torch_ref.VanillaCell(recipe.task.num_inputs, recipe.hidden, recipe.activation)
    return torch_ref.SequenceModel(cell, recipe.task.num_outputs, last_only=recipe.is_regression)


def build_loss(recipe: Recipe) -> training.Loss:
    """Cross-entropy of one-hot tokens, or the squared error of a regression."""
    if recipe.is_regression:
        return training.regression_loss()
    return training.classification_loss(recipe.task.num_inputs)


def initial_weights(recipe: Recipe, seed: int) -> Weights:
    """Fresh weights in the letters of the equations."""
    generator = torch.Generator().manual_seed(seed)
    init = initializers.uniform(recipe.hidden)
    shapes = torch_ref.convert.to_weights(build_model(recipe))
    weights = {name: init(generator, array.shape) for name, array in shapes.items()}
    if recipe.recurrent_init != "uniform":
        recurrent_init = getattr(initializers, recipe.recurrent_init)()
        weights["W_hh"] = recurrent_init(generator, (recipe.hidden, recipe.hidden))
    if "b_modrelu" in weights:
        weights["b_modrelu"] = torch.zeros(recipe.hidden)
    return {name: tensor.numpy() for name, tensor in weights.items()}


class TorchTrainer:
    """S seeds in training."""

    def __init__(self, recipe: Recipe, weights: Sequence[Weights], compiled: bool = False) -> None:
        self._loss = torch.compile(build_loss(recipe)) if compiled else build_loss(recipe)
        self._chunk = training.make_train_chunk(self._loss, recipe.track_every)
        self._states = [self._create(recipe, seed_weights) for seed_weights in weights]

    @staticmethod
    def _create(recipe: Recipe, weights: Weights) -> training.TrainState:
        model = build_model(recipe)
        torch_ref.convert.load_weights(model, weights)
        projection = None
        if recipe.retraction is not None:
            projection = torch_ref.project_recurrent(
                model, recipe.retraction, every=recipe.project_every
            )
        optimizer = training.adam(model, recipe.lr, recipe.recurrent_lr)
        return training.TrainState(model, optimizer, recipe.clip_norm, projection)

    def train(self, batches: Sequence[Batch]) -> training.Measurements:
        """Train each seed on its chunk of K batches; (S, K) arrays."""
        rows = [
            self._chunk(state, chunk) for state, chunk in zip(self._states, batches, strict=True)
        ]
        return training.Measurements(*(np.stack(column) for column in zip(*rows, strict=True)))

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Loss and accuracy (S,) of each seed on its one large batch."""
        rows = [
            self._loss(state.model, [torch.as_tensor(array) for array in batch])
            for state, batch in zip(self._states, batches, strict=True)
        ]
        value, accuracy = (
            np.array([float(x) for x in column]) for column in zip(*rows, strict=True)
        )
        return value, accuracy


make_trainer = TorchTrainer
