"""One problem carried out by both frameworks, for test_parity.py.

``JaxSide`` and ``TorchSide`` have the same methods and speak NumPy, so a check is written once for
the pair. They look up the names of jaxrnn and torch_ref when they are called: a bug that a test
plants there is a bug here.
"""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
import pytest
import torch

import jaxrnn
import torch_ref
from jaxrnn.tasks import Batch

Weights = dict[str, np.ndarray]
TORCH_DEVICES = {"cpu": "cpu", "gpu": "cuda"}


@dataclass(frozen=True)
class Problem:
    """A model, its first weights, and how it is trained.

    Attributes:
      weights: in the letters of the equations; they fix D, N, C and the dtype.
      activation: phi.
      regression: one output, read out at the last step, and squared error; else cross-entropy.
      lr, recurrent_lr: Adam's rate, and that of W_hh where it differs.
      clip_norm: global norm to clip gradients to.
      retraction, every: the projection, and the steps from one to the next; None: none.
      device: "cpu" or "gpu".
    """

    weights: Weights
    activation: str = "tanh"
    regression: bool = False
    lr: float = 1e-3
    recurrent_lr: float | None = None
    clip_norm: float = 0.1
    retraction: str | None = "qr"
    every: int = 1
    device: str = "cpu"

    @property
    def dtype(self) -> np.dtype:
        """Of the weights and the computation."""
        return self.weights["W_hh"].dtype

    @property
    def sizes(self) -> tuple[int, int, int]:
        """D, N, C."""
        return *self.weights["W_xh"].shape[::-1], self.weights["b_y"].size


class JaxSide:
    """A problem on jaxrnn.

    Attributes:
      recurrence: which path it takes through time; tests set it.
    """

    recurrence: Literal["scan", "fused"] = "fused"

    def __init__(self, problem: Problem) -> None:
        D, N, C = problem.sizes
        dtype = problem.dtype
        self.model = jaxrnn.SequenceModel(
            jaxrnn.VanillaCell(N, problem.activation, param_dtype=dtype),
            num_outputs=C,
            last_only=problem.regression,
            recurrence=self.recurrence,
            param_dtype=dtype,
        )
        self.loss = (
            jaxrnn.training.regression_loss(self.model)
            if problem.regression
            else jaxrnn.training.classification_loss(self.model, D)
        )
        optimizer = jaxrnn.optimizers.adam(problem.lr, problem.clip_norm, problem.recurrent_lr)
        if problem.retraction is not None:
            projection = jaxrnn.project_recurrent(problem.retraction, every=problem.every)
            optimizer = optax.chain(optimizer, projection)
        params = jaxrnn.convert.from_weights(problem.weights)
        self.state = jaxrnn.TrainState.create(params, optimizer)
        self.chunk = jax.jit(jaxrnn.training.make_train_chunk(self.loss, optimizer, track_every=5))

    def outputs(self, inputs: np.ndarray, carry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs, (B, T, C) or (B, C), and h_T (B, N), from inputs (B, T, D) and h_0."""
        variables = {"params": self.state.params}
        apply = jax.jit(functools.partial(self.model.apply, return_carry=True))
        last, outputs = apply(variables, inputs, carry)
        return np.asarray(outputs), np.asarray(last)

    def gradients(self, batch: Batch) -> tuple[np.ndarray, Weights]:
        """The loss, and its gradient by every leaf."""
        grad = jax.value_and_grad(self.loss, has_aux=True)
        (value, _), grads = jax.jit(grad)(self.state.params, batch)
        return np.asarray(value), jaxrnn.convert.to_weights(grads)

    def train(self, batches: Batch) -> Any:
        """Train on K batches; Measurements of arrays (K,)."""
        self.state, measured = self.chunk(self.state, batches)
        return jax.tree.map(np.asarray, measured)

    def weights(self) -> Weights:
        """All leaves as they stand."""
        return jaxrnn.convert.to_weights(self.state.params)

    def moments(self) -> tuple[Weights, Weights]:
        """Adam's first and second moment of every leaf."""
        found = (optax.tree.get(self.state.opt_state, name) for name in ("mu", "nu"))
        mu, nu = (jaxrnn.convert.to_weights(moment) for moment in found)
        return mu, nu


class TorchSide:
    """The same problem on torch_ref."""

    def __init__(self, problem: Problem) -> None:
        D, N, C = problem.sizes
        self.device = TORCH_DEVICES[problem.device]
        dtype = getattr(torch, problem.dtype.name)
        self.model = torch_ref.SequenceModel(
            torch_ref.VanillaCell(D, N, problem.activation, dtype=dtype, device=self.device),
            num_outputs=C,
            last_only=problem.regression,
        )
        self.loss = (
            torch_ref.training.regression_loss()
            if problem.regression
            else torch_ref.training.classification_loss(D)
        )
        torch_ref.convert.load_weights(self.model, problem.weights)
        optimizer = torch_ref.optimizers.adam(self.model, problem.lr, problem.recurrent_lr)
        projection = None
        if problem.retraction is not None:
            projection = torch_ref.project_recurrent(
                self.model, problem.retraction, every=problem.every
            )
        self.state = torch_ref.TrainState(self.model, optimizer, problem.clip_norm, projection)
        self.chunk = torch_ref.training.make_train_chunk(self.loss, track_every=5)

    def outputs(self, inputs: np.ndarray, carry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs, (B, T, C) or (B, C), and h_T (B, N), from inputs (B, T, D) and h_0."""
        with torch.no_grad():
            last, outputs = self.model(*self._tensors([inputs, carry]), return_carry=True)
        return outputs.cpu().numpy(), last.cpu().numpy()

    def gradients(self, batch: Batch) -> tuple[np.ndarray, Weights]:
        """The loss, and its gradient by every leaf."""
        self.model.zero_grad()
        value, _ = self.loss(self.model, self._tensors(batch))
        value.backward()
        return value.detach().cpu().numpy(), torch_ref.convert.to_gradients(self.model)

    def train(self, batches: Batch) -> Any:
        """Train on K batches; Measurements of arrays (K,)."""
        return self.chunk(self.state, self._tensors(batches))

    def weights(self) -> Weights:
        """All leaves as they stand."""
        return torch_ref.convert.to_weights(self.model)

    def moments(self) -> tuple[Weights, Weights]:
        """Adam's first and second moment of every leaf."""
        # Written over the gradients, which have the places and shapes that convert reads.
        found = []
        for name in ("exp_avg", "exp_avg_sq"):
            for param, state in self.state.optimizer.state.items():
                param.grad = state[name].clone()
            found.append(torch_ref.convert.to_gradients(self.model))
        mu, nu = found
        return mu, nu

    def _tensors(self, arrays: Any) -> list[torch.Tensor]:
        return [torch.tensor(array, device=self.device) for array in arrays]


@contextmanager
def running_on(device: str, dtype: str, tf32: bool = False):
    """Both frameworks on one device, and JAX in double precision where asked for.

    TF32, ten bits of mantissa in the products of a GPU, is off unless it is asked for.

    Skips the test when a GPU is asked for and one of the two does not see any.
    """
    if device == "gpu":
        _skip_without_gpus()
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    allowed = matmul.allow_tf32, cudnn.allow_tf32
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(dtype == "float64"))
        stack.enter_context(jax.default_device(jax.devices(device)[0]))
        precision = "tensorfloat32" if tf32 else "highest"
        stack.enter_context(jax.default_matmul_precision(precision))
        matmul.allow_tf32 = cudnn.allow_tf32 = tf32
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = allowed


def _skip_without_gpus() -> None:
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        pytest.skip(f"JAX sees no GPU: {error}")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")


class Comparison(NamedTuple):
    """What ``assert_agree`` has seen: the largest relative difference, and what was allowed."""

    what: str
    difference: float
    bound: float


_recordings: list[list[Comparison]] = []


@contextmanager
def recorded() -> Iterator[list[Comparison]]:
    """The comparisons made in this block, whether or not they agree."""
    found: list[Comparison] = []
    _recordings.append(found)
    try:
        yield found
    finally:
        _recordings.pop()


def assert_agree(
    what: str, ours: Any, theirs: Any, bound: float, elementwise: bool = False
) -> None:
    """|jax − torch| ≤ bound · |torch|, against the largest entry or, ``elementwise``, each one's.

    Shapes, dtypes and the places of NaN have to be equal.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: jax {ours.shape}, torch {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{what}: jax {ours.dtype}, torch {theirs.dtype}"
    numbers = np.isfinite(theirs)
    assert np.array_equal(np.isfinite(ours), numbers), f"{what}: finite in one framework only"
    if not numbers.any():
        return
    difference, scale = np.abs(ours[numbers] - theirs[numbers]), np.abs(theirs[numbers])
    scale = scale if elementwise else np.max(scale)
    # Where all of torch's is zero, any difference is infinitely large, and none is none.
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(difference > 0, difference / scale, 0)
    for found in _recordings:
        found.append(Comparison(what, float(np.max(relative)), bound))
    assert np.all(difference <= bound * scale), (
        f"{what}: jax and torch differ by {np.max(difference):.1e}, "
        f"allowed is {bound:.1e} of {np.max(scale):.1e}"
    )


def assert_weights_agree(what: str, ours: Weights, theirs: Weights, bound: float) -> None:
    """The same leaves, each agreeing to ``bound`` of its largest entry."""
    assert ours.keys() == theirs.keys(), f"{what}: jax {sorted(ours)}, torch {sorted(theirs)}"
    for name, array in ours.items():
        assert_agree(f"{what} {name}", array, theirs[name], bound)
