"""Whole reports of real models, and what they cost."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxrnn import (
    CopyTask,
    SequenceModel,
    SkipCell,
    TruncatedCell,
    VanillaCell,
    diagnose,
    initializers,
)
from jaxrnn.diagnosis import FIRST_AID, HistoryThresholds, Thresholds, how
from jaxrnn.diagnosis.checks import check
from jaxrnn.diagnosis.measure_early_inputs import plan_exchange
from jaxrnn.diagnosis.measure_network import _memory, _numbers
from jaxrnn.diagnostics import observe_memory

B, T, D, N, C = 4, 30, 2, 6, 3


def loss_fn(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def problem(rng, model, batch=(B, T, D)):
    inputs = jnp.asarray(rng.standard_normal(batch), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(1), inputs)
    # Biases that are not zero.
    params = jax.tree.map(
        lambda leaf: (
            leaf + 0.1 * rng.standard_normal(leaf.shape).astype(np.float32)
            if leaf.ndim == 1
            else leaf
        ),
        variables["params"],
    )
    return {"params": params}, (inputs, jnp.zeros(()))


def linear(scale, **options):
    """W_hh = scale · Q, without activation."""
    W = initializers.orthogonal(scale)
    return SequenceModel(VanillaCell(N, "identity", recurrent_kernel_init=W), C, **options)


@pytest.mark.parametrize(
    ("scale", "conditions"),
    [
        (0.5, ("vanishing", "short_memory")),
        (1.6, ("exploding",)),
        (30.0, ("non_finite", "exploding")),
    ],
)
def test_linear_networks_whose_answer_is_known(scale, conditions, rng):
    model = linear(scale)
    report = diagnose(model, *problem(rng, model), loss_fn)
    assert report.conditions == conditions
    layer = report.evidence.layers["cell"]
    assert (layer.cell, layer.activation, layer.steps, layer.units) == (
        *("VanillaCell", "identity"),
        *(T, N),
    )
    # A product of T roundings of 6e-8 each, some N wide.
    kernel = layer.kernels["cell/h/kernel"]
    np.testing.assert_allclose(kernel.singular_values, [scale] * N, rtol=1e-5)
    np.testing.assert_allclose(kernel.spectral_radius, scale, rtol=1e-4)
    if scale < 30:
        expected = scale ** np.arange(T, -1, -1.0)
        np.testing.assert_allclose(layer.memory, expected, rtol=1e-4)
        np.testing.assert_allclose(layer.memory_rate, scale, rtol=1e-5)
        assert report.evidence.not_finite is None
        assert layer.dead == 0
    else:
        assert report.evidence.not_finite.startswith("h_2")  # 30^26 is beyond 3e38
        assert report.evidence.not_finite.endswith("of cell")


class BothWays(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Bidirectional(nn.RNN(nn.GRUCell(N)), nn.RNN(nn.SimpleCell(N + 1)))(inputs)


class Words(nn.Module):
    @nn.compact
    def __call__(self, words):
        return nn.RNN(nn.OptimizedLSTMCell(N))(nn.Embed(9, D)(words))


def test_every_layer_has_its_evidence(rng):
    variables, batch = problem(rng, BothWays(), (B, 5, D))
    report = diagnose(BothWays(), variables, batch, loss_fn)
    layers = {layer.cell: layer for layer in report.evidence.layers.values()}
    assert layers.keys() == {"GRUCell", "SimpleCell"}
    for cell, kernels, units in (("GRUCell", 3, N), ("SimpleCell", 1, N + 1)):
        layer = layers[cell]
        assert (len(layer.kernels), layer.units, layer.steps) == (kernels, units, 5)
        assert len(layer.memory) == len(layer.gradient) == 6
        np.testing.assert_allclose(layer.memory[-1], 1, rtol=1e-6)
    assert report.conditions == ("healthy",)


def test_words_go_through_an_embedding(rng):
    words = jnp.asarray(rng.integers(0, 9, (B, 6)))
    variables = jax.jit(Words().init)(jax.random.key(0), words)
    report = diagnose(Words(), variables, (words, 0.0), loss_fn)
    assert report.conditions == ("healthy",)
    assert report.evidence.early_share > 0.1


def test_nan_is_a_diagnosis_and_one_sequence_is_enough(rng):
    model = SequenceModel(nn.LSTMCell(N), C, last_only=True)
    variables, (inputs, targets) = problem(rng, model, (1, 7, D))
    bias = variables["params"]["cell"]["hg"]["bias"]
    variables["params"]["cell"]["hg"]["bias"] = bias.at[2].set(jnp.nan)
    run = {"history": {"val_loss": [1.0, 1.1, 0.7], "spectral_norm": [1, 2]}}
    run |= {"status": "diverged"}
    limits = Thresholds(history=HistoryThresholds(stuck=0.6))
    report = diagnose(model, variables, (inputs, targets), loss_fn, None, limits, run, 1.0)
    assert report.conditions == ("non_finite", "unstable", "stuck_at_baseline")
    assert "in training the spectral norm of W_hh went from 1 to 2" in str(report)
    assert report.to_json()["course"]["losses"] == [1.0, 1.1, 0.7]
    assert report.to_json()["thresholds"]["history"]["stuck"] == 0.6
    assert report.evidence.not_finite == "parameter cell/hg/bias"


def test_what_a_run_shows_comes_before_what_it_leads_to_and_without_what_is_in_use(rng):
    large = nn.initializers.constant(9.0)
    cell = SkipCell(nn.SimpleCell(N, recurrent_kernel_init=large), 2)
    model = SequenceModel(cell, C)
    variables, batch = problem(rng, model)
    losses = {"val_loss": [1.0, 0.95, 0.99], "train_loss": [0.2, 1.0, 0.9]}
    run = {"history": losses, "status": "completed"}
    report = diagnose(model, variables, batch, loss_fn, None, None, run, 1.0)
    assert report.conditions[:2] == ("unstable", "saturated")
    assert report.conditions[-1] == "stuck_at_baseline"
    assert "skip" in FIRST_AID["stuck_at_baseline"].remedies
    assert "skip" not in report.findings[-1].first_aid


# Fresh networks, and those that no gradient reaches

FRESH = {
    "SimpleCell": nn.SimpleCell(N),  # orthogonal, as Flax has it
    "GRUCell": nn.GRUCell(N),
    "LSTMCell": nn.OptimizedLSTMCell(N),
}


@pytest.mark.parametrize("cell", FRESH)
def test_a_fresh_network_is_called_fresh_and_keeps_its_gates(rng, cell):
    model = SequenceModel(FRESH[cell], C, last_only=True)
    _, batch = problem(rng, model, (B, 40, D))
    variables = jax.jit(model.init)(jax.random.key(3), batch[0])
    report = diagnose(model, variables, batch, loss_fn)
    assert report.evidence.is_fresh
    assert "nothing has been trained yet" in str(report)
    for one in report.findings if cell != "SimpleCell" else ():
        assert not any("cell.copy" in how(remedy) for remedy in one.first_aid)
    trained = jax.tree.map(lambda leaf: leaf + 1e-3, variables)
    report = diagnose(model, trained, batch, loss_fn)
    assert not report.evidence.is_fresh
    assert "nothing has been trained yet" not in str(report)


def constant(outputs, _):
    return jnp.float32(0.7)


def counted(outputs, _):
    return (outputs.argmax(-1) == 0).mean()


def stopped(outputs, targets):
    return loss_fn(jax.lax.stop_gradient(outputs), targets)


@pytest.mark.parametrize("loss", [constant, counted, stopped])
def test_a_loss_without_a_gradient(rng, loss):
    model = SequenceModel(VanillaCell(N, "identity"), C)
    variables, batch = problem(rng, model)
    report = diagnose(model, variables, batch, loss)
    assert report.conditions == ("no_gradient",)
    assert "exactly 0 in every parameter" in str(report)


def test_a_layer_that_no_gradient_reaches(rng):
    model = SequenceModel(
        VanillaCell(N, "identity"),
        C,
        kernel_init=nn.initializers.zeros,
        bias_init=nn.initializers.ones,
    )
    report = diagnose(model, *problem(rng, model), loss_fn)
    (found,) = (one for one in report.findings if one.condition == "no_gradient")
    assert found.layer == "cell"
    assert "no gradient of the loss reaches this layer" in found.cause


# Padded, truncated and masked sequences, and tasks that end in blanks


class Padded(nn.Module):
    """An orthogonal or a contracting linear network over sequences of some lengths."""

    scale: float
    lengths: tuple[int, ...]
    cell: Callable = lambda cell: cell

    @nn.compact
    def __call__(self, inputs):
        W = initializers.orthogonal(self.scale)
        cell = VanillaCell(N, "identity", recurrent_kernel_init=W)
        return nn.RNN(self.cell(cell))(inputs, seq_lengths=jnp.array(self.lengths))


@pytest.mark.parametrize("lengths", [(T,) * B, (T - 1,) * B, (T, 5, 5, 5), (7, 12, 3, 5)])
def test_padded_sequences_are_judged_from_their_own_ends(rng, lengths):
    model = Padded(0.7, lengths)
    variables, (inputs, _) = problem(rng, model)

    def memory(variables, inputs):
        (layer,) = observe_memory(model, variables, inputs, jax.random.key(3)).values()
        return _memory(layer)

    found = jax.jit(memory)(variables, inputs)
    # A product of max(lengths) factors, each with a rounding error of 6e-8 times some N.
    np.testing.assert_allclose(
        found[T - max(lengths) :], 0.7 ** np.arange(max(lengths), -1, -1), rtol=1e-4
    )
    assert np.isnan(found[: T - max(lengths)]).all()


def test_the_report_on_padded_sequences(rng):
    model = Padded(1.0, (19, 7, 12, 3), lambda cell: TruncatedCell(cell, T))
    report = diagnose(model, *problem(rng, model), loss_fn)
    assert report.conditions == ("healthy",)
    (layer,) = report.evidence.layers.values()
    assert (layer.steps, layer.horizon, len(layer.memory)) == (19, 19, 20)
    np.testing.assert_allclose(layer.memory, np.ones(20), rtol=1e-4)


@pytest.mark.parametrize(
    ("activation", "inside", "condition"),
    [("tanh", 50.0, "saturated"), ("relu", -1.0, "dead_units")],
)
def test_padding_hides_no_fault(rng, activation, inside, condition):
    lengths = np.array([3, 2, 4, 1])  # of T = 20: most of the batch is padding

    class Short(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            ones, zeros = nn.initializers.ones, nn.initializers.zeros
            cell = VanillaCell(N, activation, kernel_init=ones, recurrent_kernel_init=zeros)
            return nn.RNN(cell)(inputs, seq_lengths=jnp.asarray(lengths))

    model = Short()
    variables, (inputs, targets) = problem(rng, model)
    valid = (np.arange(T) < lengths[:, None])[..., None]
    inputs = jnp.where(valid, inside, 0.1 * jnp.abs(inputs))
    report = diagnose(model, variables, (inputs, targets), loss_fn)
    assert condition in report.conditions


@pytest.mark.parametrize(("steps", "conditions"), [(T, ("healthy",)), (T // 2, ("vanishing",))])
def test_truncation_is_named_where_it_is_to_blame(rng, steps, conditions):
    W = initializers.orthogonal()
    cell = TruncatedCell(VanillaCell(N, "identity", recurrent_kernel_init=W), steps)
    model = SequenceModel(cell, C)
    report = diagnose(model, *problem(rng, model), loss_fn)
    assert report.conditions == conditions
    for one in report.findings:
        assert "TruncatedCell" in one.cause
        assert "W_hh" not in one.cause
        assert one.first_aid[0] == "longer_bptt"


class Masked(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return linear(1.0)(inputs).at[:, -3:].set(0.0)


def test_a_healthy_model_whose_last_outputs_are_masked(rng):
    report = diagnose(Masked(), *problem(rng, Masked()), loss_fn)
    assert report.conditions == ("healthy",)
    assert np.isnan(report.evidence.early_share)


def test_as_many_classes_as_steps(rng):
    model = SequenceModel(
        VanillaCell(N, recurrent_kernel_init=initializers.identity(0.0)), T, last_only=True
    )
    report = diagnose(model, *problem(rng, model), loss_fn)
    assert report.conditions == ("vanishing", "short_memory")
    assert report.evidence.early_share == 0


@pytest.mark.parametrize(
    ("scale", "conditions"), [(1.0, ("healthy",)), (0.2, ("vanishing", "short_memory"))]
)
def test_the_copy_task(rng, scale, conditions):
    """Whose inputs end in the same blanks for all."""
    task = CopyTask(10)
    inputs, targets = task.sample(rng, B)
    inputs = np.eye(task.num_inputs, dtype=np.float32)[inputs]
    model = linear(scale)
    variables, _ = problem(rng, model, inputs.shape)
    report = diagnose(model, variables, (inputs, targets), lambda y, t: jnp.mean(y**2))
    assert report.conditions == conditions


# Cost


def products(jaxpr: Jaxpr) -> float:
    """Multiplications in the matrix products of a program, those in loops as often as they run."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += equation.outvars[0].aval.size * np.prod([shape[i] for i in contracted])
        times = equation.params.get("length", 1)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr)
        ):
            if isinstance(inner, ClosedJaxpr):
                total += times * products(inner.jaxpr)
            elif isinstance(inner, Jaxpr):
                total += times * products(inner)
    return total


LARGE = {"B": 16, "T": 1000, "N": 512}


def large_problem(cell):
    """Shapes alone."""
    model = SequenceModel(cell(LARGE["N"]), 10)
    inputs = jax.ShapeDtypeStruct((LARGE["B"], LARGE["T"], 8), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), inputs)
    return model, variables, (inputs, jax.ShapeDtypeStruct((), jnp.float32))


def diagnosing(model, variables, batch):
    shapes = check(model, variables, batch, loss_fn)
    # With contents, to see that the sequences differ.
    inputs = np.broadcast_to(np.arange(LARGE["B"])[:, None, None], batch[0].shape)
    exchange = plan_exchange(model, variables, inputs, shapes)
    assert exchange.batch == 0
    return jax.jit(
        lambda variables, batch, key: _numbers(model, variables, batch, loss_fn, key, exchange)
    )


@pytest.mark.parametrize("cell", [VanillaCell, nn.OptimizedLSTMCell])
def test_it_takes_less_than_five_gradients_and_a_forward_pass(cell):
    model, variables, batch = large_problem(cell)
    forward = jax.make_jaxpr(model.apply)(variables, batch[0])
    gradient = jax.make_jaxpr(
        jax.grad(lambda v, batch: loss_fn(model.apply(v, batch[0]), batch[1]))
    )(variables, batch)
    seen = jax.make_jaxpr(diagnosing(model, variables, batch))(variables, batch, jax.random.key(0))
    per_gradient = products(gradient.jaxpr)
    assert per_gradient > 2 * products(forward.jaxpr) > 0
    gradients = (products(seen.jaxpr) - products(forward.jaxpr)) / per_gradient
    # Two, the spectral radius of the kernels, by 35 products each, and no other.
    assert 2 <= gradients < 3


@pytest.mark.parametrize("cell", [VanillaCell, nn.OptimizedLSTMCell])
def test_a_thousand_steps_of_512_units_fit_into_two_gigabytes(cell):
    model, variables, batch = large_problem(cell)
    lowered = diagnosing(model, variables, batch).lower(variables, batch, jax.random.key(0))
    memory = lowered.compile().memory_analysis()
    needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    assert needed < 2e9
