"""Losses of a model on a batch, as in jaxrnn.losses.

(model, batch) → (L, accuracy)      (model, batch, carry) → (L, (accuracy, carry)) of streams
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.cells import map_carry
from torch_ref.checks import check_carry, check_range, check_tensor, check_tokens

# (model, batch) → (loss, accuracy), or (model, batch, carry) → (loss, (accuracy, carry)).
Loss = Callable[..., tuple[Tensor, Any]]

IGNORED = -100  # the class of a prediction that does not count, as torch.nn has it


def classification_loss(num_tokens: int) -> Loss:
    """Mean cross-entropy (nats) and accuracy over all B·T predictions of one-hot tokens.

    Predictions of class −100 do not count.

    Raises:
      ValueError: tokens or classes that are no whole numbers, that there are not, or of shapes that
        do not fit.

    Example:
      >>> model = SequenceModel(VanillaCell(9, 4), num_outputs=9)
      >>> for param in model.parameters():
      ...     _ = torch.nn.init.zeros_(param.data)
      >>> tokens = torch.zeros(2, 5, dtype=torch.int32)
      >>> value, _ = training.classification_loss(num_tokens=9)(model, (tokens, tokens))
      >>> print(f"{value:.3f} {np.log(9):.3f}")
      2.197 2.197
    """

    @_with_dropout
    def loss(model: nn.Module, batch: Any, train: bool = False) -> tuple[Tensor, Tensor]:
        tokens, classes = batch
        inputs = _one_hot(tokens, num_tokens).to(next(model.parameters()).dtype)
        logits = _outputs(model, inputs, train)
        return _cross_entropy(logits, classes)

    return loss


def stream_loss(num_tokens: int) -> Loss:
    """``classification_loss`` for truncated BPTT: each batch goes on where the last one ended.

    The loss takes (model, batch, carry) and gives (loss, (accuracy, carry)), where a batch has
    tokens and classes (B, T) and, for each stream (B,), whether it is fresh: those begin with
    zeros. No gradient flows from one batch into the one before it (Williams & Peng 1990).

    Example:
      >>> model = SequenceModel(VanillaCell(9, 4), num_outputs=9)
      >>> tokens, is_fresh = torch.zeros(2, 5, dtype=torch.int32), torch.tensor([True, False])
      >>> loss = training.stream_loss(num_tokens=9)
      >>> value, (accuracy, carry) = loss(model, (tokens, tokens, is_fresh), torch.zeros(2, 4))
      >>> tuple(carry.shape), carry.requires_grad  # (B, N), for the next batch
      ((2, 4), False)
    """

    def loss(model: nn.Module, batch: Any, carry: Any) -> tuple[Tensor, Any]:
        tokens, classes, is_fresh = batch
        check_tokens("tokens", tokens, ("B", "T"))

        def begin(h: Tensor) -> Tensor:
            return h.masked_fill(is_fresh.reshape(-1, *[1] * (h.ndim - 1)), 0)

        if not isinstance(is_fresh, Tensor) or is_fresh.dtype != torch.bool:
            raise ValueError(f"is_fresh must be a tensor of truth values, got {is_fresh!r:.60}")
        check_tensor("is_fresh", is_fresh.byte(), (len(tokens),))
        cell: Any = model.cell
        check_carry(carry, cell.initialize_carry(len(tokens)))
        carry = map_carry(begin, carry)
        inputs = _one_hot(tokens, num_tokens).to(next(model.parameters()).dtype)
        carry, logits = model(inputs, carry, return_carry=True)
        value, accuracy = _cross_entropy(logits, classes)
        return value, (accuracy, map_carry(Tensor.detach, carry))

    return loss


def _with_dropout(loss: Loss) -> Loss:
    """Marked as a loss that takes ``train=True``, as ``make_train_step`` gives it."""
    loss.takes_train = True  # type: ignore[attr-defined]
    return loss


def _outputs(model: nn.Module, inputs: Tensor, train: bool) -> Tensor:
    """The model's, with dropout in training where it has any."""
    if train and hasattr(model, "dropout_rate"):
        return model(inputs, train=True)
    return model(inputs)


def _one_hot(tokens: Tensor, num_tokens: int) -> Tensor:
    check_tokens("tokens", tokens, ("B", "T"))
    check_range("tokens", tokens, num_tokens)
    return nn.functional.one_hot(tokens.long(), num_tokens)


def _cross_entropy(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    check_tokens("classes", classes)
    if classes.shape != logits.shape[:-1]:
        raise ValueError(
            f"classes must have the shape {tuple(logits.shape[:-1])} of the predictions, "
            f"got {tuple(classes.shape)}"
        )
    classes = classes.long()
    check_range("classes", classes, logits.shape[-1], IGNORED)
    value = nn.functional.cross_entropy(
        logits.flatten(0, -2), classes.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    n = (classes != IGNORED).sum().clamp(min=1)
    return value / n, (logits.detach().argmax(-1) == classes).sum() / n


def regression_loss() -> Loss:
    """Mean squared error against targets of the outputs' shape; accuracy NaN.

    Where the model has one output, targets may lack its axis: (B,) beside (B, 1).

    Raises:
      ValueError: targets of another shape, which would be broadcast.

    Example:
      >>> model = SequenceModel(VanillaCell(2, 4), num_outputs=1, last_only=True)
      >>> batch = torch.randn(3, 5, 2), torch.ones(3)
      >>> value, accuracy = training.regression_loss()(model, batch)
      >>> torch.allclose(value, ((model(batch[0])[:, 0] - 1) ** 2).mean()), accuracy.item()
      (True, nan)
    """

    @_with_dropout
    def loss(model: nn.Module, batch: Any, train: bool = False) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        weight = next(model.parameters())
        check_tensor("inputs", inputs, None)
        check_tensor("targets", targets, None)
        outputs = _outputs(model, inputs.to(weight.dtype), train)
        if targets.ndim == outputs.ndim - 1 and outputs.shape[-1] == 1:
            outputs = outputs[..., 0]
        if targets.shape != outputs.shape:
            raise ValueError(
                f"targets must have the shape of the outputs, {tuple(outputs.shape)}, "
                f"got {tuple(targets.shape)}"
            )
        return torch.mean((outputs - targets.to(weight.dtype)) ** 2), torch.tensor(torch.nan)

    return loss
