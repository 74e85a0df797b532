"""How much early inputs count, against sums whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, VanillaCell
from jaxrnn.diagnosis.early import Exchange, early_share, plan_exchange
from jaxrnn.diagnostics import LayerObservation

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


def layers(steps, *batch):
    states = jax.ShapeDtypeStruct((steps + 1, *batch, 5), jnp.float32)
    return {"cell": LayerObservation(states, None, "GRUCell", "tanh")}


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
    found = share(Weighted(weights, kind), inputs, Exchange(T, 1, 0))
    np.testing.assert_allclose(found, expected(inputs, weights), rtol=1e-5)


def test_what_only_recent_inputs_move_has_none(inputs):
    assert share(Weighted((0, 0, 0, 1, 1, 1)), inputs, Exchange(T, 1, 0)) == 0
    # Sums over all that came: the outputs of the first steps must not hide it.
    assert share(Weighted((0, 0, 0, 1, 1, 1), "all"), inputs, Exchange(T, 1, 0)) == 0


def test_a_layer_that_runs_backwards_ends_at_the_first_step(inputs):
    # For it the last inputs are the early ones, and y_1 sees them all.
    model = Weighted((1.0,) * T, "back")
    found = share(model, inputs, Exchange(T, 1, 0))
    d = np.roll(inputs, 1, 0) - np.asarray(inputs)
    wanted = np.linalg.norm(d[:, T // 2 :].sum(1)) / np.linalg.norm(d.sum(1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_time_first(inputs):
    class Turned(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            weights = (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)
            return Weighted(weights, "all")(inputs.swapaxes(0, 1)).swapaxes(0, 1)

    found = share(Turned(), inputs.swapaxes(0, 1), Exchange(T, 0, 1))
    np.testing.assert_allclose(found, expected(inputs, (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)), rtol=1e-5)


@pytest.mark.parametrize("batch_axes", [0, 1])
def test_a_sequence_alone_gets_its_own_steps_in_another_order(inputs, batch_axes):
    x = inputs[0] if batch_axes == 0 else inputs[:1]
    exchange = Exchange(T, batch_axes, None)
    weights = np.array((0.5, 2.0, -1.0, 1.0, 0.3, 2.0))
    order = np.asarray(jax.random.permutation(jax.random.key(3), T))
    d = weights[:, None] * (np.asarray(inputs[0])[order] - np.asarray(inputs[0]))
    wanted = np.linalg.norm(d[: T // 2].sum(0)) / np.linalg.norm(d.sum(0))
    np.testing.assert_allclose(share(Weighted(tuple(weights)), x, exchange), wanted, rtol=1e-5)
    assert share(Weighted((0, 0, 0, 1, 1, 1)), x, exchange) == 0


def test_huge_and_no_outputs(inputs):
    weights = (0.5, 2.0, -1.0, 1.0, 0.3, 2.0)
    huge = tuple(1e30 * w for w in weights)  # whose squares are beyond float32
    found = share(Weighted(huge), inputs, Exchange(T, 1, 0))
    np.testing.assert_allclose(found, expected(inputs, weights), rtol=1e-5)
    assert np.isnan(share(Weighted((0.0,) * T), inputs, Exchange(T, 1, 0)))
    assert np.isnan(share(Weighted(weights), inputs, Exchange(T, None, None)))


def test_which_axis_is_which(inputs):
    x = np.asarray(inputs)
    assert plan_exchange(x, layers(T, B)) == Exchange(T, 1, 0)
    assert plan_exchange(x.swapaxes(0, 1), layers(T, B)) == Exchange(T, 0, 1)
    assert plan_exchange(x[0], layers(T)) == Exchange(T, 0, None)
    assert plan_exchange(np.arange(B * T).reshape(B, T), layers(T, B)) == Exchange(T, 1, 0)
    assert plan_exchange(np.arange(T * T).reshape(T, T), layers(T, T)) == Exchange(T, 1, 0)
    # Several arrays, of which the last layer sees every second step.
    both = {"words": np.arange(B * T).reshape(B, T), "more": x}
    assert plan_exchange(both, layers(T, B) | {"up": layers(T // 2, B)["cell"]}) == (T, 1, 0)
    assert plan_exchange({"words": x, "other": x[:, :2]}, layers(T, B)).time is None


def test_sequences_that_are_all_alike_are_no_others(inputs):
    x = np.asarray(inputs)
    assert plan_exchange(np.repeat(x[:1], B, axis=0), layers(T, B)) == Exchange(T, 1, None)
    assert plan_exchange(x[:1], layers(T, 1)) == Exchange(T, 1, None)


def test_a_recurrent_network(inputs):
    """Against the same model, called by hand."""
    model = SequenceModel(VanillaCell(5), C)
    variables = jax.jit(model.init)(jax.random.key(0), inputs)
    apply = jax.jit(model.apply)
    y = apply(variables, inputs)
    others = np.roll(inputs, 1, 0)
    mixed = jnp.concatenate([others[:, : T // 2], inputs[:, T // 2 :]], axis=1)
    moved = apply(variables, mixed)
    found = jax.jit(
        lambda y: early_share(model, variables, inputs, y, Exchange(T, 1, 0), jax.random.key(0))
    )(y)
    wanted = np.linalg.norm((moved - y)[:, -1]) / np.linalg.norm((np.roll(y, 1, 0) - y)[:, -1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
