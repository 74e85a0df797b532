"""Losses to train by: what to lower, and what to report beside it.

    loss(params, batch) → (value, accuracy)
    loss(params, batch, carry) → (value, (accuracy, carry))          of streams, truncated BPTT

Any such function trains on one device. That devices may share its batches, ``BatchMean`` says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxrnn.array_checks import (
    as_flags,
    as_real_array,
    as_whole_array,
    check_module,
    check_range,
)
from jaxrnn.checks import check_whole
from jaxrnn.diagnostics import not_measured
from jaxrnn.diagnostics.observation import split
from jaxrnn.model import SequenceModel
from jaxrnn.recurrent_layer import checked_carry
from jaxrnn.sequences import select
from jaxrnn.stacked import StackedModel

# (params, batch) → (loss, accuracy), or (params, batch, carry) → (loss, (accuracy, carry)).
Loss = Callable[..., tuple[Float[Array, ""], Any]]

IGNORED = -100  # the class of a prediction that does not count, as in PyTorch


@dataclass(frozen=True)
class BatchMean:
    """A loss that is a mean over its batch, of which devices can each take a part.

        L = Σ_d n_d L_d / Σ_d n_d

    with n_d terms in the mean L_d of device d. It is called like the loss itself.

    Attributes:
      loss: (params, batch) → (mean, mean accuracy), or of streams.
      count: batch → n, a number of terms that may differ from part to part (a mask, weights of
        classes); None: the same in equal parts.
      has_dropout: whether ``loss`` takes a ``key=`` to drop by, one a step.

    Example:
      >>> def masked(params, batch):
      ...     x, y, mask = batch
      ...     return jnp.sum(mask * (params * x - y) ** 2) / jnp.sum(mask), jnp.nan
      >>> loss = training.BatchMean(masked, count=lambda batch: jnp.sum(batch[2]))
      >>> value, _ = loss(2.0, (jnp.ones(3), jnp.zeros(3), jnp.array([1, 1, 0])))
      >>> float(value)
      4.0
    """

    loss: Loss
    count: Callable[[Any], Array] | None = None
    has_dropout: bool = False

    def __call__(self, *arguments: Any, **options: Any) -> tuple[Float[Array, ""], Any]:
        """The loss."""
        return self.loss(*arguments, **options)


def classification_loss(model: nn.Module, num_tokens: int) -> BatchMean:
    """Mean cross-entropy (nats) and accuracy over all B·T predictions.

    The loss takes (params, (tokens (B, T), classes (B, T))); tokens enter as one-hot vectors of
    ``num_tokens`` = D features. Predictions of class −100 do not count. With ``key=``, which
    training gives it, the layers of a ``StackedModel`` drop.

    Raises:
      ValueError: tokens or classes that there are not. Under jit, where their values are not known,
        the loss is NaN instead.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=9)
      >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 5, 9)))
      >>> params = jax.tree.map(jnp.zeros_like, shapes["params"])
      >>> loss = training.classification_loss(model, num_tokens=9)
      >>> value, _ = loss(params, CopyTask(seq_len=2).sample(np.random.default_rng(0), 2))
      >>> print(f"{value:.3f} {np.log(9):.3f}")
      2.197 2.197
    """

    check_module("model", model)
    check_whole("num_tokens", num_tokens)

    def loss(params: Any, batch: Any, key: Any = None) -> tuple[jax.Array, jax.Array]:
        tokens, classes = split(batch)
        logits: Any = model.apply(
            {"params": params}, _one_hot(tokens, num_tokens, params), **_dropping(key)
        )
        return _cross_entropy(logits, classes)

    return BatchMean(loss, _count, _drops(model))


def stream_loss(model: SequenceModel, num_tokens: int) -> BatchMean:
    """``classification_loss`` for truncated BPTT: each batch goes on where the last one ended.

    The loss takes (params, batch, carry) and gives (loss, (accuracy, carry)), where a batch has
    tokens and classes (B, T) and, for each stream (B,), whether it is fresh: those begin with the
    cell's initial carry. No gradient flows from one batch into the one before it (Williams & Peng
    1990).

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=9)
      >>> params = model.init(jax.random.key(0), jnp.zeros((2, 5, 9)))["params"]
      >>> task = CharacterTask(Text("abcdefghi" * 20), seq_len=5, streams=2)
      >>> batch = jax.tree.map(lambda leaf: leaf[0], task.batches(start=0, count=1))
      >>> loss = training.stream_loss(model, num_tokens=9)
      >>> value, (accuracy, carry) = loss(params, batch, jnp.zeros((2, 4)))
      >>> carry.shape  # (B, N), for the next batch
      (2, 4)
    """

    check_module("model", model)
    check_whole("num_tokens", num_tokens)

    def loss(params: Any, batch: Any, carry: Any) -> tuple[jax.Array, Any]:
        tokens, classes, is_fresh = batch
        inputs = _one_hot(tokens, num_tokens, params)
        cell: Any = model.cell
        initial = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)

        carry = checked_carry("carry", cell, carry, inputs[:, 0].shape)
        initial = jax.tree.map(lambda first, h: first.astype(h.dtype), initial, carry)
        carry = select(as_flags("is_fresh", is_fresh, inputs.shape[:1]), initial, carry)
        variables = {"params": params}
        applied: Any = model.apply(variables, inputs, initial_carry=carry, return_carry=True)
        carry, logits = applied
        value, accuracy = _cross_entropy(logits, classes)
        return value, (accuracy, carry)

    return BatchMean(loss, _count)


def regression_loss(model: nn.Module) -> BatchMean:
    """Mean squared error against targets of the outputs' shape; accuracy NaN.

    Where the model has one output, targets may lack its axis: (B,) beside (B, 1).

    Raises:
      ValueError: targets of another shape, which would be broadcast.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=1, last_only=True)
      >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 5, 2)))
      >>> params = jax.tree.map(jnp.zeros_like, shapes["params"])
      >>> batch = jax.tree.map(jnp.asarray, AddingTask(5).sample(np.random.default_rng(0), 2))
      >>> value, _ = training.regression_loss(model)(params, batch)
      >>> bool(jnp.isclose(value, jnp.mean(batch.targets**2)))
      True
    """

    check_module("model", model)

    def loss(params: Any, batch: Any, key: Any = None) -> tuple[jax.Array, jax.Array]:
        inputs, targets = split(batch)
        targets = as_real_array("targets", targets)
        dtype = jax.tree.leaves(params)[0].dtype
        inputs = as_real_array("inputs", inputs).astype(dtype)
        outputs: Any = model.apply({"params": params}, inputs, **_dropping(key))
        if targets.ndim == outputs.ndim - 1 and outputs.shape[-1] == 1:
            outputs = outputs[..., 0]
        if targets.shape != outputs.shape:
            raise ValueError(
                f"targets must have the shape of the outputs, {outputs.shape}, got {targets.shape}"
            )
        return jnp.mean((outputs - targets) ** 2), jnp.asarray(not_measured())

    return BatchMean(loss, has_dropout=_drops(model))


def _drops(model: nn.Module) -> bool:
    return isinstance(model, StackedModel) and model.dropout_rate > 0


def _dropping(key: Any) -> dict[str, Any]:
    """The options of a StackedModel that drops; none without a key."""
    return {} if key is None else {"train": True, "rngs": {"dropout": key}}


def _one_hot(tokens: Any, num_tokens: int, params: Any) -> Array:
    """Tokens as vectors in the dtype of the parameters; NaN for those that there are not."""
    tokens = as_whole_array("tokens", tokens)
    if tokens.ndim < 1:
        raise ValueError("tokens must have axes (..., T), got one number")
    check_range("tokens", tokens, num_tokens)
    vectors = jax.nn.one_hot(tokens, num_tokens, dtype=jax.tree.leaves(params)[0].dtype)
    is_known = (tokens >= 0) & (tokens < num_tokens)
    return jnp.where(is_known[..., None], vectors, jnp.nan)


def _count(batch: Any) -> Array:
    """How many predictions count."""
    return jnp.sum(as_whole_array("classes", batch[1]) != IGNORED)


def _cross_entropy(logits: Array, classes: Any) -> tuple[Array, Array]:
    """Means over the predictions that count; NaN where a class is none of the outputs."""
    C = logits.shape[-1]
    classes = as_whole_array("classes", classes)
    if classes.shape != logits.shape[:-1]:
        raise ValueError(
            f"classes must have the shape {logits.shape[:-1]} of the predictions, "
            f"got {classes.shape}"
        )
    check_range("classes", classes, C, ignored=IGNORED)
    counts = classes != IGNORED
    is_known = (classes >= 0) & (classes < C)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.where(is_known, classes, 0)
    )
    # 1 where all count, so that the mean is rounded as any other.
    scale = counts.size / jnp.maximum(jnp.sum(counts), 1).astype(losses.dtype)
    value = jnp.mean(jnp.where(is_known, losses, 0)) * scale
    value = jnp.where(jnp.all(is_known == counts), value, jnp.nan)
    return value, jnp.mean(logits.argmax(-1) == classes) * scale
