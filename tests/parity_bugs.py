"""Bugs to plant, one a function: each breaks an implementation in a way that could happen.

test_parity.py runs its own checks on the broken pair, and they have to fail. Nothing here touches
an expected value.
"""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest
import torch
from flax import linen as nn

import jaxrnn
import torch_ref
from jaxrnn import activations, recurrent_layer


def torch_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own clipping, which divides by the norm + 1e-6."""

    def clip(gradients, norm, max_norm):
        holders = [torch.zeros_like(gradient) for gradient in gradients]
        for holder, gradient in zip(holders, gradients, strict=True):
            holder.grad = gradient
        torch.nn.utils.clip_grad_norm_(holders, max_norm)

    monkeypatch.setattr(torch_ref.training, "clip_by_global_norm", clip)


def unsigned_qr(monkeypatch: pytest.MonkeyPatch) -> None:
    """QR with the signs that LAPACK leaves."""
    monkeypatch.setitem(torch_ref.orthogonal.RETRACTIONS, "qr", torch_ref.orthogonal.qr_unsigned)


def sign_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q · sign(diag R), which is 0 where R_jj is."""

    def qr(W):
        Q, R = torch.linalg.qr(W)
        return Q * torch.sign(torch.diagonal(R, dim1=-2, dim2=-1)).unsqueeze(-2)

    monkeypatch.setitem(torch_ref.orthogonal.RETRACTIONS, "qr", qr)


def first_matrix_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first matrix of a batch is retracted."""
    polar = jaxrnn.orthogonal.polar

    def first_only(W):
        return polar(W) if W.ndim == 2 else W.at[0].set(polar(W[0]))

    monkeypatch.setitem(jaxrnn.orthogonal.RETRACTIONS, "polar", first_only)


def strides_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix read in the order in which its memory lies."""
    qr = torch_ref.orthogonal.qr

    def in_memory_order(W):
        return qr(torch.as_strided(W, W.shape, (W.shape[-1], 1)))

    monkeypatch.setitem(torch_ref.orthogonal.RETRACTIONS, "qr", in_memory_order)


def flipped_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """W_hhᵀ retracted where W_hh is meant."""
    step = torch_ref.project_recurrent.step

    def flipped(self):
        self.transposed = not self.transposed
        step(self)
        self.transposed = not self.transposed

    monkeypatch.setattr(torch_ref.project_recurrent, "step", flipped)


def projection_before_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters are projected first and moved off again by the optimizer."""
    right = jaxrnn.project_recurrent

    def project_recurrent(*args, **kwargs):
        projection = right(*args, **kwargs)

        def update(updates, state, params=None):
            still = jax.tree.map(jnp.zeros_like, updates)
            moves, state = projection.update(still, state, params)
            return jax.tree.map(jnp.add, moves, updates), state

        return optax.GradientTransformation(projection.init, update)

    monkeypatch.setattr(jaxrnn, "project_recurrent", project_recurrent)


def shifted_cadence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The projection counts from 1: it acts one step early, and not on the first."""
    init = torch_ref.project_recurrent.__init__

    def counting_from_one(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.count = 1

    monkeypatch.setattr(torch_ref.project_recurrent, "__init__", counting_from_one)


def second_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.nn.RNN's redundant b_hh is trained as well."""
    init = torch_ref.VanillaCell.__init__

    def with_both(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.bias_hh_l0.requires_grad_(True)

    monkeypatch.setattr(torch_ref.VanillaCell, "__init__", with_both)


def dropped_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """h_t = phi(W_xh x_t + W_hh h_{t-1}), without b_h, in the fused recurrence."""
    monkeypatch.setattr(recurrent_layer, "_affine", lambda x, kernel, bias: x @ kernel)


def dropped_bias_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the cell, which nn.scan runs."""
    dense = nn.Dense

    def without_b_h(*args, **kwargs):
        return dense(*args, **kwargs | {"use_bias": kwargs["name"] == "readout"})

    monkeypatch.setattr(nn, "Dense", without_b_h)


def ignored_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sequence starts from zeros whatever h_0 was given."""
    forward = torch_ref.VanillaCell.forward
    monkeypatch.setattr(
        torch_ref.VanillaCell, "forward", lambda self, inputs, carry=None: forward(self, inputs)
    )


def swapped_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    """ReLU where tanh was asked for."""
    wrong = activations.ACTIVATIONS["tanh"]._replace(phi=jax.nn.relu)
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", wrong)


def leaky_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leaky ReLU of slope 0.02."""
    leaky_relu = functools.partial(torch.nn.functional.leaky_relu, negative_slope=0.02)
    monkeypatch.setitem(torch_ref.cells.ACTIVATIONS, "leaky_relu", leaky_relu)


def plant_backward(monkeypatch: pytest.MonkeyPatch, wrong) -> None:
    """``wrong(right, activation, residuals, g)`` in place of the fused recurrence's way back."""
    right = jaxrnn.bptt._backward
    monkeypatch.setattr(jaxrnn.bptt._recurrence, "bwd", functools.partial(wrong, right))


def modrelu_bias_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient reaches b_modrelu; the outputs are right."""

    def wrong(right, *args):
        d_kernel, d_bias, *rest = right(*args)
        return d_kernel, jnp.zeros_like(d_bias), *rest

    plant_backward(monkeypatch, wrong)


def modrelu_bias_of_the_cell_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the cell, which nn.scan runs."""
    wrong = activations.ACTIVATIONS["modrelu"]._replace(
        phi=lambda z, bias: activations.modrelu(z, jax.lax.stop_gradient(bias))
    )
    monkeypatch.setitem(activations.ACTIVATIONS, "modrelu", wrong)


def truncated_bptt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient stops at each step's carry; the outputs are right."""

    def wrong(right, activation, residuals, g):
        kernel, *states = residuals
        return right(activation, (jnp.zeros_like(kernel), *states), g)

    plant_backward(monkeypatch, wrong)


def truncated_bptt_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the cell, which nn.scan runs."""
    call = jaxrnn.VanillaCell.__call__
    monkeypatch.setattr(
        jaxrnn.VanillaCell,
        "__call__",
        lambda self, carry, inputs: call(self, jax.lax.stop_gradient(carry), inputs),
    )


def deltas_a_step_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """W_hh's gradient pairs each error with the state it produced, not with the one before."""

    def wrong(right, activation, residuals, g):
        kernel, _, states, _ = residuals
        _, d_bias, deltas, *rest = right(activation, residuals, g)
        d_kernel = jnp.tensordot(states, deltas, axes=((0, 1), (0, 1)))
        return d_kernel.astype(kernel.dtype), d_bias, deltas, *rest

    plant_backward(monkeypatch, wrong)


def loss_over_wrong_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cross-entropy averaged over one prediction less than there are."""
    cross_entropy = torch.nn.functional.cross_entropy

    def over_one_less(logits, classes, **options):
        return cross_entropy(logits, classes, **options) * len(classes) / (len(classes) - 1)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", over_one_less)


def half_squared_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The regression loss with the ½ that some textbooks put before it."""
    right = torch_ref.training.regression_loss

    def halved():
        loss = right()

        def half(model, batch):
            value, accuracy = loss(model, batch)
            return value / 2, accuracy

        return half

    monkeypatch.setattr(torch_ref.training, "regression_loss", halved)


def eps_inside_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam divides by √(v + 1e-8) and not by √v + 1e-8."""
    monkeypatch.setattr(
        optax, "scale_by_adam", functools.partial(optax.scale_by_adam, eps=0.0, eps_root=1e-8)
    )


def other_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's ε = 1e-7, as in Keras."""
    monkeypatch.setattr(optax, "scale_by_adam", functools.partial(optax.scale_by_adam, eps=1e-7))


def one_rate_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate of W_hh is taken for every leaf."""
    adam = torch_ref.optimizers.adam
    monkeypatch.setattr(
        torch_ref.optimizers,
        "adam",
        lambda model, lr, recurrent_lr=None: adam(model, recurrent_lr or lr),
    )


def transposed_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """W_hh copied into a Flax kernel as it is: a square matrix fits either way."""
    turned = jaxrnn.convert._turned
    monkeypatch.setattr(
        jaxrnn.convert,
        "_turned",
        lambda path, array: array if path == "cell/h/kernel" else turned(path, array),
    )


def tenth_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the rate that was asked for."""
    right = torch_ref.optimizers.optimizer
    monkeypatch.setattr(
        torch_ref.optimizers,
        "optimizer",
        lambda name, model, lr, recurrent_lr=None: right(name, model, lr / 10),
    )
