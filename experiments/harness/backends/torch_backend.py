"""Recipes carried out by torch_ref, one seed after the other."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import torch_ref
from experiments.harness.method.recipe import Recipe, State, TrainingBatch, Weights
from jaxrnn.tasks import Batch
from torch_ref import initializers, optimizers, training
from torch_ref.cells import map_carry


def build_model(recipe: Recipe) -> torch_ref.SequenceModel:
    """The model of a recipe, its weights as torch draws them."""
    cell: Any
    num_inputs = recipe.task.num_inputs
    if recipe.skip is not None:
        num_inputs += recipe.hidden
    if recipe.cell == "vanilla":
        cell = torch_ref.VanillaCell(num_inputs, recipe.hidden, recipe.activation)
    else:
        gated = {"gru": torch_ref.GRUCell, "lstm": torch_ref.LSTMCell}[recipe.cell]
        cell = gated(num_inputs, recipe.hidden)
    return torch_ref.SequenceModel(
        recipe.wrapped(cell, torch_ref), recipe.task.num_outputs, last_only=recipe.is_regression
    )


def build_loss(recipe: Recipe) -> training.Loss:
    """Cross-entropy of one-hot tokens, or the squared error of a regression."""
    if recipe.is_regression:
        return training.regression_loss()
    return training.classification_loss(recipe.task.num_inputs)


def build_stream_loss(recipe: Recipe) -> training.Loss:
    """The loss to train by: that of truncated BPTT for streams, else ``build_loss``."""
    if recipe.streams is None:
        return build_loss(recipe)
    return training.stream_loss(recipe.task.num_inputs)


def initial_carry(recipe: Recipe) -> Any:
    """What the streams of truncated BPTT begin with; None where there are none."""
    if recipe.streams is None:
        return None
    return build_model(recipe).cell.initialize_carry(recipe.streams)


def initial_weights(recipe: Recipe, seed: int) -> Weights:
    """Fresh weights in the letters of the equations."""
    generator = torch.Generator().manual_seed(seed)
    init = initializers.uniform(recipe.hidden)
    shapes = torch_ref.convert.to_weights(build_model(recipe))
    weights = {name: init(generator, array.shape) for name, array in shapes.items()}
    if recipe.recurrent_init != "uniform":
        recurrent_init = {
            "orthogonal": initializers.orthogonal(),
            "henaff": initializers.henaff(),
            "identity": initializers.identity(recipe.identity_scale),
        }[recipe.recurrent_init]
        for name in weights:
            if name.startswith("W_h") and name != "W_hy":
                weights[name] = recurrent_init(generator, weights[name].shape)
    if recipe.input_std is not None:
        input_init = initializers.normal(recipe.input_std)
        for name, array in weights.items():
            if name.startswith("W_x"):
                weights[name] = input_init(generator, array.shape)
            elif name.startswith("b_"):
                weights[name] = torch.zeros(array.shape)
    if "b_modrelu" in weights:
        weights["b_modrelu"] = torch.zeros(recipe.hidden)
    return {name: tensor.numpy() for name, tensor in weights.items()}


class TorchTrainer:
    """S seeds in training."""

    def __init__(self, recipe: Recipe, weights: Sequence[Weights], compiled: bool = False) -> None:
        loss, self._loss = build_stream_loss(recipe), build_loss(recipe)
        if compiled:
            loss, self._loss = torch.compile(loss), torch.compile(self._loss)
        self._chunk = training.make_train_chunk(loss, recipe.track_every)
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
        optimizer = optimizers.optimizer(recipe.optimizer, model, recipe.lr, recipe.recurrent_lr)
        factor = None
        if recipe.has_schedule:
            factor = optimizers.schedule(recipe.warmup_steps, recipe.decay_steps)
        return training.TrainState(
            model,
            optimizer,
            recipe.clip_norm,
            projection,
            carry=initial_carry(recipe),
            clip_value=recipe.clip_value,
            clip_adaptive=recipe.clip_adaptive,
            factor=factor,
        )

    def train(self, batches: Sequence[TrainingBatch | None]) -> training.Measurements:
        """Train each seed on its chunk of K batches, where it has one; (S, K) arrays."""
        rows = [
            None if chunk is None else self._chunk(state, chunk)
            for state, chunk in zip(self._states, batches, strict=True)
        ]
        anyone = next(row for row in rows if row is not None)
        columns = zip(*(row or anyone for row in rows), strict=True)
        return training.Measurements(*(np.stack(column) for column in columns))

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

    def state(self, seed: int) -> State:
        """The seed's parameters, what its optimizer keeps of them, and the counts."""
        state = self._states[seed]
        kept = state.optimizer.state_dict()
        tensors = {f"model/{name}": value for name, value in state.model.state_dict().items()}
        for index, entries in kept["state"].items():
            tensors |= {
                f"optimizer/{index}/{name}": value
                for name, value in entries.items()
                if value is not None
            }
        arrays = {name: tensor.numpy(force=True).copy() for name, tensor in tensors.items()}
        rates = [group["lr"] for group in kept["param_groups"]]
        count = state.projection.count if state.projection else 0
        numbers = {"rates": rates, "projection": count, "step": state.step}
        numbers |= {"diverged": state.diverged}
        arrays |= {f"carry/{i}": x.numpy().copy() for i, x in enumerate(_tensors(state.carry))}
        return arrays | {name: np.array(value) for name, value in numbers.items()}

    def restore(self, seed: int, arrays: State) -> None:
        """Put a seed back into a state."""
        state = self._states[seed]
        tensors = {name: torch.tensor(array) for name, array in arrays.items()}
        state.model.load_state_dict(_model_part(arrays))
        kept = state.optimizer.state_dict()
        kept["state"] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, index, entry = name.split("/")
                kept["state"].setdefault(int(index), {})[entry] = value
        for group, rate in zip(kept["param_groups"], arrays["rates"], strict=True):
            group["lr"] = float(rate)
        state.optimizer.load_state_dict(kept)
        if state.projection is not None:
            state.projection.count = int(arrays["projection"])
        state.step, state.diverged = int(arrays["step"]), bool(arrays["diverged"])
        if state.carry is not None:
            parts = (tensors[f"carry/{i}"] for i in itertools.count())
            state.carry = map_carry(lambda _: next(parts), state.carry)

    def cut_learning_rate(self, seed: int, factor: float) -> None:
        """Multiply the learning rates of a seed."""
        optimizers.cut_learning_rate(self._states[seed].optimizer, factor)


def _model_part(arrays: State) -> dict[str, torch.Tensor]:
    """A model's own state in that of its trainer."""
    return {
        name.removeprefix("model/"): torch.tensor(array)
        for name, array in arrays.items()
        if name.startswith("model/")
    }


def _tensors(carry: Any) -> tuple[torch.Tensor, ...]:
    """Those of a carry, in order: c and h, h alone, those of a wrapper first; or none."""
    if carry is None:
        return ()
    if isinstance(carry, tuple):
        return tuple(tensor for part in carry for tensor in _tensors(part))
    return (carry,)


make_trainer = TorchTrainer


def weights_of(recipe: Recipe, state: State) -> Weights:
    """The weights in a trainer's state."""
    model = build_model(recipe)
    model.load_state_dict(_model_part(state))
    return torch_ref.convert.to_weights(model)


def sample(
    recipe: Recipe,
    weights: Weights,
    prompt: np.ndarray,
    length: int,
    temperature: float,
    seed: int,
) -> np.ndarray:
    """Tokens that continue a prompt, ``length`` of them, drawn one by one."""
    model = build_model(recipe)
    torch_ref.convert.load_weights(model, weights)
    generator = torch.Generator().manual_seed(seed)
    return torch_ref.sample(model, generator, torch.as_tensor(prompt), length, temperature).numpy()
