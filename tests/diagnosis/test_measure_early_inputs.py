"""How much early inputs count, against sums whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, VanillaCell
from jaxrnn.diagnosis.measure_early_inputs import Exchange, early_share, plan_exchange
from jaxrnn.diagnostics import observe

B, T, D, C = 3, 6, 2, 4


class Weighted(nn.Module):
    """Σ_t w_t x_t of each sequence, or the sums up to each step, or from it on."""

    weights: tuple[float, ...]
    kind: str = "last"

    @nn.compact
    def __call__(self, inputs):
        x = jnp.asarray(self.weights)[:, None] * inputs
        if self.kind == "last":
            return x.sum(-2)
        sums = jnp.cumsum(x, axis=-2)
        return sums if self.kind == "all" else x.sum(-2, keepdims=True) - sums + x


LAST, ALL = Exchange(T, 1, 0, (None,)), Exchange(T, 1, 0, (1,))


def share(model, inputs, exchange):
    outputs = model.apply({}, inputs)
    return float(early_share(model, {}, inputs, outputs, exchange, jax.random.key(3)))


@pytest.fixture
def inputs(rng):
    return jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)


def expected(inputs, weights):
    """‖Σ_{t < T/2} w_t d_t‖ / ‖Σ_t w_t d_t‖, d the difference from the sequence before."""
    d = np.asarray(weights)[:, None] * (np.roll(inputs, 1, 0) - np.asarray(inputs))
    return np.linalg.norm(d[:, : T // 2].sum(1)) / np.linalg.norm(d.sum(1))


@pytest.mark.parametrize("kind", ["last", "all"])
def test_a_weighted_sum(inputs, kind):
    weights = (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)
    found = share(Weighted(weights, kind), inputs, LAST if kind == "last" else ALL)
    np.testing.assert_allclose(found, expected(inputs, weights), rtol=1e-5)


def test_what_only_recent_inputs_move_has_none(inputs):
    assert share(Weighted((0, 0, 0, 1, 1, 1)), inputs, LAST) == 0
    # Sums over all that came: the outputs of the first steps must not hide it.
    assert share(Weighted((0, 0, 0, 1, 1, 1), "all"), inputs, ALL) == 0


def test_a_layer_that_runs_backwards_ends_at_the_first_step(inputs):
    # For it the last inputs are the early ones, and y_1 sees them all.
    model = Weighted((1.0,) * T, "back")
    found = share(model, inputs, ALL)
    d = np.roll(inputs, 1, 0) - np.asarray(inputs)
    wanted = np.linalg.norm(d[:, T // 2 :].sum(1)) / np.linalg.norm(d.sum(1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_time_first(inputs):
    class Turned(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            weights = (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)
            return Weighted(weights, "all")(inputs.swapaxes(0, 1)).swapaxes(0, 1)

    found = share(Turned(), inputs.swapaxes(0, 1), Exchange(T, 0, 1, (0,)))
    np.testing.assert_allclose(found, expected(inputs, (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)), rtol=1e-5)


@pytest.mark.parametrize("batch_axes", [0, 1])
def test_a_sequence_alone_gets_its_own_steps_in_another_order(inputs, batch_axes):
    x = inputs[0] if batch_axes == 0 else inputs[:1]
    exchange = Exchange(T, batch_axes, None, (None,))
    weights = np.array((0.5, 2.0, -1.0, 1.0, 0.3, 2.0))
    order = np.asarray(jax.random.permutation(jax.random.key(3), T))
    d = weights[:, None] * (np.asarray(inputs[0])[order] - np.asarray(inputs[0]))
    wanted = np.linalg.norm(d[: T // 2].sum(0)) / np.linalg.norm(d.sum(0))
    np.testing.assert_allclose(share(Weighted(tuple(weights)), x, exchange), wanted, rtol=1e-5)
    assert share(Weighted((0, 0, 0, 1, 1, 1)), x, exchange) == 0


def test_huge_and_no_outputs(inputs):
    weights = (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)
    huge = tuple(1e30 * w for w in weights)  # whose squares are beyond float32
    found = share(Weighted(huge), inputs, LAST)
    np.testing.assert_allclose(found, expected(inputs, weights), rtol=1e-5)
    assert np.isnan(share(Weighted((0.0,) * T), inputs, LAST))
    assert np.isnan(share(Weighted(weights), inputs, Exchange(T, None, None, (None,))))


class Turned(nn.Module):
    """Of inputs (T, B, D), outputs (T, B, C)."""

    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(C)(nn.RNN(nn.GRUCell(5), time_major=True)(inputs))


class Words(nn.Module):
    """Every second step of words (B, T) goes on; the last of them is read out."""

    outputs: int = C

    @nn.compact
    def __call__(self, inputs):
        hidden = nn.RNN(nn.GRUCell(5))(nn.Embed(B * B * T, D)(inputs["words"]))
        hidden = nn.RNN(nn.GRUCell(3))(hidden[:, ::2])
        return {"all": hidden, "last": nn.Dense(self.outputs)(hidden[:, -1])}


class OfOneLength(nn.Module):
    """A model that takes T steps and no other number of them."""

    per_step: bool = True
    outputs: int = C

    @nn.compact
    def __call__(self, inputs):
        hidden = nn.RNN(nn.GRUCell(5))(inputs + self.param("at", nn.initializers.ones, (T, 1)))
        return nn.Dense(self.outputs)(hidden if self.per_step else hidden[:, -1])


def plan(model, inputs):
    """Of a model with parameters of zero."""
    inputs = jax.tree.map(np.asarray, inputs)
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    seen = jax.eval_shape(
        lambda v, x: observe(model, v, (x, 0), lambda y, _: jax.tree.leaves(y)[0].sum()),
        variables,
        inputs,
    )
    return plan_exchange(model, variables, inputs, seen)


@pytest.mark.parametrize("batch", [B, T])
def test_which_axis_is_which(rng, batch):
    x = rng.standard_normal((batch, T, D)).astype(np.float32)
    model = SequenceModel(VanillaCell(5), C)
    assert plan(model, x) == ALL
    assert plan(model, x[0]) == (T, 0, None, (0,))
    assert plan(SequenceModel(VanillaCell(5), C, last_only=True), x) == LAST
    # As many classes as steps.
    assert plan(SequenceModel(VanillaCell(5), T, last_only=True), x) == LAST
    assert plan(SequenceModel(VanillaCell(5), T), x) == ALL
    # As many sequences as steps, where they are turned.
    assert plan(Turned(), x.swapaxes(0, 1)) == (T, 0, 1, (0,))


def test_words_and_models_of_one_length(rng):
    words = {"words": np.arange(B * T).reshape(B, T)}
    assert plan(Words(), words) == (T, 1, 0, (1, None))
    x = rng.standard_normal((B, T, D)).astype(np.float32)
    assert plan(Words(), words | {"other": x[:, :2]}).time is None
    # It cannot be asked what it does with less steps.
    assert plan(OfOneLength(), x) == ALL
    assert plan(OfOneLength(per_step=False), x) == LAST
    assert plan(OfOneLength(per_step=False, outputs=T), x).time is None


def test_sequences_that_are_all_the_same_cannot_be_exchanged(rng):
    model = SequenceModel(VanillaCell(5), C)
    x = rng.standard_normal((B, T, D)).astype(np.float32)
    assert plan(model, x).batch == 0
    assert plan(model, np.repeat(x[:1], B, axis=0)) == (T, 1, None, (1,))
    assert plan(model, x[:1]) == (T, 1, None, (1,))
    # The same if only the first half is equal, or the second, such as a copy task's blanks.
    for half in (slice(T // 2), slice(T // 2, None)):
        alike = x.copy()
        alike[:, half] = 1.0
        assert plan(model, alike) == (T, 1, None, (1,))


@pytest.mark.parametrize(("weights", "wanted"), [((0, 0, 0, 1, 1, 1), 0), ((1, 1, 1, 0, 0, 0), 1)])
def test_inputs_whose_second_half_is_blank(inputs, weights, wanted):
    """The last three steps count, or the first three; with blanks exchanged for blanks both would
    seem to be moved by early inputs alone."""
    blank = inputs.at[:, T // 2 :].set(1.0)
    found = share(Weighted(weights), blank, Exchange(T, 1, None, (None,)))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_last_outputs_that_are_masked_are_not_compared(inputs):
    class Masked(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            return Weighted((1.0,) * T, "all")(inputs).at[:, -2:].set(0.0)

    assert np.isnan(share(Masked(), inputs, ALL))


def test_a_recurrent_network(inputs):
    """Against the same model, called by hand."""
    model = SequenceModel(VanillaCell(5), C)
    variables = jax.jit(model.init)(jax.random.key(0), inputs)
    apply = jax.jit(model.apply)
    y = apply(variables, inputs)
    others = np.roll(inputs, 1, 0)
    mixed = jnp.concatenate([others[:, : T // 2], inputs[:, T // 2 :]], axis=1)
    moved = apply(variables, mixed)
    found = jax.jit(lambda y: early_share(model, variables, inputs, y, ALL, jax.random.key(0)))(y)
    wanted = np.linalg.norm((moved - y)[:, -1]) / np.linalg.norm((np.roll(y, 1, 0) - y)[:, -1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
