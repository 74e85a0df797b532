"""What torch_ref has beyond the numbers that test_parity.py compares: selection and bad input."""

import math

import flax.linen
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxrnn
from torch_ref import (
    GRUCell,
    LeakyCell,
    LSTMCell,
    SequenceModel,
    SkipCell,
    StackedModel,
    TruncatedCell,
    VanillaCell,
    diagnostics,
    initializers,
    optimizers,
    orthogonal,
    project_recurrent,
    sample,
)
from torch_ref.convert import load_weights, to_weights
from torch_ref.training import (
    TrainState,
    classification_loss,
    make_train_chunk,
    make_train_step,
    regression_loss,
)

D, N, C = 3, 5, 2


@pytest.fixture
def model():
    return SequenceModel(VanillaCell(D, N), C)


def test_the_default_takes_recurrent_matrices_alone():
    kinds = {
        "lstm": torch.nn.LSTM(D, N),
        "rnn": torch.nn.RNN(D, N, 2),
        "gru": torch.nn.GRUCell(D, N),
    }
    projection = project_recurrent(torch.nn.ModuleDict(kinds))
    lstm, rnn, gru = kinds.values()
    expected = lstm.weight_hh_l0, rnn.weight_hh_l0, rnn.weight_hh_l1, gru.weight_hh
    assert {id(p) for p in projection.selected} == {id(p) for p in expected}


def test_each_gate_is_projected_and_measured():
    for model, gates in ((torch.nn.GRU(D, N, 2, bidirectional=True), 3), (torch.nn.LSTM(D, N), 4)):
        model = model.double()
        before = {name: param.detach().clone() for name, param in model.named_parameters()}
        projection = project_recurrent(model, "polar")
        assert len(projection.selected) == (4 if gates == 3 else 1)
        projection.step()
        for name, param in model.named_parameters():
            if "weight_hh" not in name:
                assert torch.equal(param, before[name])
                continue
            for W, old in zip(param.chunk(gates), before[name].chunk(gates), strict=True):
                torch.testing.assert_close(W, orthogonal.polar(old), rtol=0, atol=1e-14)
        norm, error = diagnostics.recurrent_diagnostics(model)
        # Rounding of sums of five products of size one.
        assert abs(norm - 1) < 1e-14
        assert error < 1e-14
        with torch.no_grad():
            last = model.weight_hh_l0[-N:]
            last *= 3
        norm, _ = diagnostics.recurrent_diagnostics(model)
        assert abs(norm - 3) < 1e-13


def test_gated_matrices_have_the_recurrent_rate():
    model = SequenceModel(LSTMCell(D, N), C)
    recurrent, rest = optimizers.sgd(model, 0.1, recurrent_lr=0.2).param_groups
    assert [id(p) for p in recurrent["params"]] == [id(model.cell.weight_hh_l0)]
    assert (recurrent["lr"], rest["lr"]) == (0.2, 0.1)
    assert len(rest["params"]) == 4


def test_where_by_name_and_by_predicate(model):
    for where in (r"weight_hh", lambda path, leaf: path == "cell.weight_hh_l0"):
        assert project_recurrent(model, where=where).selected == [model.cell.weight_hh_l0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retraction": "svd"}, "qr, householder.*'svd'"),
        ({"every": 0}, "1 or more, got 0"),
        ({"every": math.inf}, "1 or more, got inf"),
        ({"layout": "in"}, "'in_out' or 'out_in', got 'in'"),
        ({"where": "("}, r"where='\(' is not a regular expression"),
        ({"where": "nothing"}, r"none of the parameters: .*cell.weight_hh_l0 \(5, 5\)"),
        ({"where": "weight_ih"}, r"square matrices: cell.weight_ih_l0 has shape \(5, 3\)"),
    ],
)
def test_bad_options_are_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        project_recurrent(model, **options)


def test_other_bad_input_is_named(model):
    with pytest.raises(ValueError, match=r"tanh.*'elu'"):
        VanillaCell(D, N, "elu")
    with pytest.raises(ValueError, match=r"square \(N, N\) matrices, got shape \(5, 3\)"):
        initializers.identity()(torch.Generator(), (N, D))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        make_train_chunk(lambda model, batch: None, track_every=0)
    weights = to_weights(model)
    with pytest.raises(ValueError, match="expected arrays"):
        load_weights(model, {"W_hh": weights["W_hh"]})
    with pytest.raises(ValueError, match=r"W_hh must have shape \(5, 5\), got \(4, 4\)"):
        load_weights(model, weights | {"W_hh": weights["W_hh"][:4, :4]})
    last = {name: 2 * array for name, array in weights.items()} | {"b_y": weights["b_y"][:1]}
    with pytest.raises(ValueError, match="b_y must have shape"):
        load_weights(model, last)
    for name, array in to_weights(model).items():  # none was copied
        np.testing.assert_array_equal(array, weights[name])
    last_only = SequenceModel(VanillaCell(C, N), C, last_only=True)
    with pytest.raises(ValueError, match="got last_only=True"):  # else it draws token 0 alone
        sample(last_only, torch.Generator(), torch.tensor([0]), 3)


def test_dropout_is_between_layers_and_only_in_training():
    rate, T = 0.3, 200
    model = StackedModel([VanillaCell(D, N), VanillaCell(N, N, "identity")], N, rate)
    with torch.no_grad():
        for param in model.cells[1].parameters():
            param.zero_()
        model.cells[1].weight_ih_l0.copy_(torch.eye(N))
        model.readout.weight.copy_(torch.eye(N))
        model.readout.bias.zero_()
    inputs = torch.randn(4, T, D, generator=torch.Generator().manual_seed(0))
    carry, kept = model(inputs, return_carry=True)
    assert torch.equal(kept, model(inputs))
    torch.manual_seed(0)
    dropped_carry, dropped = model(inputs, return_carry=True, train=True)
    assert torch.equal(carry[0], dropped_carry[0])
    is_zero = dropped == 0
    torch.testing.assert_close(dropped, torch.where(is_zero, 0, kept / (1 - rate)))
    # Five standard errors of a share of 4 T N draws.
    spread = math.sqrt(rate * (1 - rate) / is_zero.numel())
    assert abs(is_zero.double().mean() - rate) < 5 * spread


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StackedModel([], C), "one cell or more, got none"),
        (lambda: StackedModel([GRUCell(D, N)], C, 1.0), r"in \[0, 1\), got 1.0"),
        (lambda: StackedModel(GRUCell(D, N), C), r"cells must be a list of cells, .* got GRUCell"),
        (lambda: StackedModel([5, 6], C), "each of cells must be one of torch_ref's, got 5"),
        (lambda: StackedModel([GRUCell(N, N)] * 2, C), "different cell, got the same one twice"),
        (
            lambda: StackedModel([GRUCell(D, N)], C)(torch.zeros(2, 4, D), ()),
            "must be a tuple of 1 carries, one for each cell, got a tuple of 0",
        ),
        (
            lambda: StackedModel([GRUCell(D, N)], C)(torch.zeros(2, 4, D), torch.zeros(1, N)),
            "must be a tuple of 1 carries, one for each cell, got Tensor",
        ),
        (lambda: LeakyCell(GRUCell(D, N), "a"), "rate must be above 0 and at most 1, got 'a'"),
        (lambda: SkipCell(GRUCell(D + N, N), 3.0), "whole number, 2 or more, got 3.0"),
        (lambda: TruncatedCell(GRUCell(D, N), "a"), "whole number, 1 or more, got 'a'"),
        (lambda: LeakyCell(GRUCell(D, N), 0), "rate must be above 0 and at most 1, got 0"),
        (lambda: SkipCell(GRUCell(D + N, N), 1), "whole number, 2 or more, got 1"),
        (lambda: SkipCell(GRUCell(D, N), 2), r"D \+ N inputs, got 3 for 5 units"),
        (lambda: TruncatedCell(GRUCell(D, N), 0), "whole number, 1 or more, got 0"),
        (lambda: LeakyCell(torch.nn.GRU(D, N), 0.5), r"one of torch_ref's, .*got GRU\(3, 5\)"),
        (lambda: LeakyCell(TruncatedCell(GRUCell(D, N), 2), 0.5), "around TruncatedCell: combine"),
        (lambda: SkipCell(TruncatedCell(GRUCell(D + N, N), 2), 2), "around TruncatedCell: combine"),
    ],
)
def test_bad_wrappers_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_states_keep_their_digits_with_inputs_of_other_dtypes():
    cell = SkipCell(GRUCell(D + N, N, dtype=torch.float64), 3)
    x = torch.eye(D)[torch.arange(12).reshape(2, 6) % D]  # exact in every dtype
    expected, _ = cell(x.double())
    for dtype in (torch.int64, torch.bfloat16, torch.float32):
        assert torch.equal(cell(x.to(dtype))[0], expected)


def test_half_precision_is_projected_and_measured_in_float32(model):
    model = model.to(torch.bfloat16)
    project_recurrent(model).step()
    norm, error = diagnostics.recurrent_diagnostics(model)
    # Rounding an orthogonal W to bfloat16 moves each entry by at most 2^-9 of it, so W by 2^-9
    # in the spectral norm times at most √N, and WᵀW by twice that.
    assert abs(norm - 1) < N**0.5 * 2.0**-9
    assert 1e-5 < error < 2 * N**0.5 * 2.0**-9


def test_initialisers_are_what_they_say():
    generator = torch.Generator().manual_seed(0)
    identity = torch.eye(N)
    assert torch.equal(initializers.identity(0.5)(generator, (N, N)), 0.5 * identity)
    with pytest.raises(ValueError, match=r"most must be finite and 2\.0 or more, got 1\.0"):
        initializers.rotations(2.0, 1.0)
    for init in (
        initializers.orthogonal(),
        initializers.special_orthogonal(),
        initializers.henaff(),
        initializers.cayley(),
    ):
        W = init(generator, (N, N), torch.float64)
        # Rounding of sums of five products of size one.
        torch.testing.assert_close(W.T @ W, identity.double(), rtol=0, atol=1e-14)
    W = initializers.uniform(4)(generator, (200, 100))
    assert W.abs().max() <= 0.5
    # Standard error of the variance of 20,000 uniform draws, 1/12: five of them are 0.003.
    torch.testing.assert_close(W.var().item(), 1 / 12, rtol=0, atol=0.003)
    W = initializers.xavier()(generator, (200, 100))
    # Variance 2/300; its standard error is √(2/20,000) of that.
    torch.testing.assert_close(W.var().item(), 2 / 300, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("theirs", "ours", "flax_cell"),
    [
        (torch.nn.RNN, VanillaCell, jaxrnn.VanillaCell),
        (torch.nn.GRU, GRUCell, flax.linen.GRUCell),
        (torch.nn.LSTM, LSTMCell, flax.linen.OptimizedLSTMCell),
    ],
)
@pytest.mark.parametrize("stacked", [False, True])
def test_a_pretrained_cells_two_biases_are_summed(theirs, ours, flax_cell, stacked, rng, x64):
    """torch.nn's own cells have a b_ih and a b_hh, and neither is zero."""

    def pretrained(size):
        cell = ours(size, N, dtype=torch.float64)
        cell.load_state_dict(theirs(size, N).double().state_dict())
        assert cell.bias_hh_l0.abs().min() > 0
        return cell

    if stacked:
        model = StackedModel([pretrained(D), pretrained(N)], C).double()
        twin = jaxrnn.StackedModel([flax_cell(N), flax_cell(N)], C)
    else:
        model = SequenceModel(pretrained(D), C).double()
        twin = jaxrnn.SequenceModel(flax_cell(N), C)
    x = rng.standard_normal((2, 6, D))
    wanted = model(torch.tensor(x)).detach().numpy()
    weights = to_weights(model)
    got = twin.apply({"params": jaxrnn.convert.from_weights(weights)}, jnp.asarray(x))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)  # sums of ten products
    # The other way, what was b_hh does not stay.
    load_weights(model, weights)
    again = model(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-14)
    for name, array in to_weights(model).items():
        np.testing.assert_array_equal(array, weights[name])


def test_classes_of_another_shape_are_no_classes(model):
    """As many of them as predictions, but turned: each would count for another."""
    loss = classification_loss(D)
    tokens = torch.arange(12).reshape(2, 6) % D
    with pytest.raises(ValueError, match=r"classes must have the shape \(\d, \d\) of the pred"):
        loss(model, (tokens, tokens.T % C))


def test_what_is_not_finite_is_not_a_number_and_leaves_the_others_as_they_are():
    """Where LAPACK would stop: as jaxrnn has it."""
    W = torch.randn(3, N, N)
    W[1, 2, 0] = torch.nan
    for function in (
        orthogonal.polar,
        diagnostics.spectral_norm,
        diagnostics.spectral_radius,
        diagnostics.orthogonality_error,
    ):
        found = function(W)
        assert torch.isnan(found[1]).all()
        for i in (0, 2):
            torch.testing.assert_close(found[i], function(W[i]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["classification", "regression"])
def test_the_ready_losses_drop_in_training_and_nowhere_else(loss):
    values = {}
    for rate in (0.0, 0.9):
        torch.manual_seed(0)
        model = StackedModel([VanillaCell(D, N), GRUCell(N, N)], D, dropout_rate=rate)
        if loss == "classification":
            batch, made = (torch.tensor([[0, 1, 2]]),) * 2, classification_loss(D)
        else:
            batch, made = (torch.ones(1, 3, D), torch.ones(1, 3, D)), regression_loss()
        evaluated = made(model, batch)[0].item()
        state = TrainState(model, optimizers.sgd(model, lr=0.0))
        step = make_train_step(made)
        values[rate] = [evaluated, *(step(state, batch).loss for _ in range(3))]
    assert len(set(values[0.0])) == 1
    assert values[0.9][0] == values[0.0][0]
    assert len(set(values[0.9])) == 4  # and other units each time


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_gradient_of_polar_where_singular_values_coincide(scale):
    """(G − Q Gᵀ Q) / 2s at W = sQ, as in jaxrnn."""
    generator = torch.Generator().manual_seed(0)
    A, G = (torch.randn(N, N, generator=generator, dtype=torch.float64) for _ in range(2))
    Q = orthogonal.qr(A)
    W = (scale * Q).requires_grad_()
    (orthogonal.polar(W) * G).sum().backward()
    torch.testing.assert_close(W.grad, (G - Q @ G.T @ Q) / (2 * scale), rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(orthogonal.polar, (A[None].requires_grad_(),))


@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu", "modrelu", "identity"])
def test_a_loaded_second_bias_counts_whatever_the_activation(activation):
    model = SequenceModel(VanillaCell(D, N, activation), C)
    model.cell.load_state_dict(torch.nn.RNN(D, N).state_dict(), strict=False)
    inputs = torch.randn(2, 4, D)
    before = model(inputs)
    load_weights(model, to_weights(model))  # as one bias, the sum
    assert torch.equal(model.cell.bias_hh_l0, torch.zeros(N))
    torch.testing.assert_close(model(inputs), before, rtol=0, atol=1e-6)  # a few eps


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16])
def test_tokens_of_few_bits_count_as_any(dtype):
    size = 300 if dtype == torch.int16 else 256
    model = SequenceModel(VanillaCell(size, N), size)
    tokens = torch.tensor([[1, 100, 5]])
    loss = classification_loss(size)
    narrow, wide = (loss(model, (tokens.to(kind),) * 2)[0] for kind in (dtype, torch.int64))
    assert torch.equal(narrow, wide)
