"""Losses against NumPy; what is ignored, refused, dropped, and shared by devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, StackedModel, TrainState, VanillaCell
from jaxrnn.convert import from_weights
from jaxrnn.losses import (
    IGNORED,
    BatchMean,
    classification_loss,
    regression_loss,
    stream_loss,
)
from jaxrnn.tasks import Batch
from jaxrnn.training import make_train_chunk
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, K, N, T
from tests.trees import assert_trees_close

# Sums of some hundred numbers of size one.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-14}


def make_model(num_outputs=C, dtype=jnp.float64, **options):
    return SequenceModel(
        VanillaCell(N, param_dtype=dtype), num_outputs, param_dtype=dtype, **options
    )


def with_outputs(weights, count):
    return {**weights, "W_hy": weights["W_hy"][:count], "b_y": weights["b_y"][:count]}


def random_batches(rng, *leading):
    """Tokens and classes, (*leading, B, T) each."""
    shape = (*leading, B, T)
    return Batch(jnp.asarray(rng.integers(0, D, shape)), jnp.asarray(rng.integers(0, C, shape)))


def test_classification_loss_is_mean_cross_entropy_and_accuracy(rng, x64):
    weights, (tokens, classes) = reference.random_weights(rng), random_batches(rng)
    value, accuracy = jax.jit(classification_loss(make_model(), D))(
        from_weights(weights), (tokens, classes)
    )
    logits = reference.outputs(weights, reference.hidden_states(weights, np.eye(D)[tokens]))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    of_the_class = np.take_along_axis(probabilities, np.asarray(classes)[..., None], axis=-1)
    np.testing.assert_allclose(value, -np.log(of_the_class).mean(), **FLOAT64)
    right = (logits.argmax(axis=-1) == classes).mean()
    assert 0 < right < 1
    np.testing.assert_allclose(accuracy, right, rtol=1e-6)  # a mean in float32


def test_regression_loss_is_mean_squared_error_without_accuracy(rng, x64):
    weights = with_outputs(reference.random_weights(rng), 1)
    inputs, targets = rng.standard_normal((B, T, D)).astype(np.float32), rng.standard_normal(B)
    loss = jax.jit(regression_loss(make_model(1, last_only=True)))
    value, accuracy = loss(from_weights(weights), (inputs, targets))
    last = reference.hidden_states(weights, inputs.astype(np.float64))[:, -1]
    errors = reference.outputs(weights, last)[:, 0] - targets
    np.testing.assert_allclose(value, (errors**2).mean(), **FLOAT64)
    assert np.isnan(accuracy)

    # A model in a lower precision than its data computes in its own. A few eps of float32.
    params = jax.tree.map(jnp.float32, from_weights(weights))
    loss = jax.jit(regression_loss(make_model(1, jnp.float32, last_only=True)))
    again, _ = loss(params, (inputs.astype(np.float64), targets))
    np.testing.assert_allclose(again, value, rtol=1e-5)


def test_ignored_predictions_do_not_count(rng, x64):
    params = from_weights(reference.random_weights(rng))
    tokens, classes = random_batches(rng)
    ignored = jnp.asarray(rng.random((B, T)) < 0.4)
    loss = classification_loss(make_model(), D)
    masked = jnp.where(ignored, IGNORED, classes)
    (value, accuracy), gradients = jax.value_and_grad(loss, has_aux=True)(params, (tokens, masked))

    def right(params):
        logits = make_model().apply({"params": params}, jax.nn.one_hot(tokens, D))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
        hits = (logits.argmax(-1) == classes)[~ignored]
        return losses[~ignored].mean(), hits.mean()

    (expected, hits), right_gradients = jax.value_and_grad(right, has_aux=True)(params)
    np.testing.assert_allclose(value, expected, **FLOAT64)
    np.testing.assert_allclose(accuracy, hits, rtol=1e-6)  # a mean in float32
    assert_trees_close(gradients, right_gradients, **FLOAT64)
    nothing, _ = loss(params, (tokens, jnp.full((B, T), IGNORED)))
    assert nothing == 0


def assert_refused(loss, params, batch, message):
    """Where values are known; under jit, where they are not, the loss is NaN."""
    with pytest.raises(ValueError, match=message):
        loss(params, batch)
    value, _ = jax.jit(loss)(params, batch)
    assert np.isnan(value)


@pytest.mark.parametrize("wrong", [-1, C, -99])
def test_classes_that_there_are_not(wrong, rng, x64):
    params = from_weights(reference.random_weights(rng))
    tokens, classes = random_batches(rng)
    loss, bad = classification_loss(make_model(), D), classes.at[1, 2].set(wrong)
    assert_refused(loss, params, (tokens, bad), rf"classes must be from 0 to {C - 1}.*got {wrong}")
    carry = jnp.zeros((B, N))
    with pytest.raises(ValueError, match="classes must be from 0"):
        stream_loss(make_model(), D)(params, (tokens, bad, jnp.ones(B, bool)), carry)


def test_numbers_of_64_bits_are_not_cut_to_others(rng):
    """In 32 bits, which JAX counts in, 2³² + 1 is token 1."""
    model = make_model(dtype=jnp.float32)
    params = model.init(jax.random.key(0), jnp.zeros((1, 1, D)))["params"]
    tokens, classes = (np.array(array) for array in random_batches(rng))
    loss = classification_loss(model, D)
    with pytest.raises(ValueError, match=r"tokens must be .* of 32 bits, got int64"):
        loss(params, (tokens.astype(np.int64) + 2**32, classes))
    with pytest.raises(ValueError, match=r"classes must be .* of 32 bits, got int64"):
        loss(params, (tokens, classes.astype(np.int64) + 2**32))


@pytest.mark.parametrize("wrong", [-1, D])
def test_tokens_that_there_are_not(wrong, rng, x64):
    params = from_weights(reference.random_weights(rng))
    tokens, classes = random_batches(rng)
    loss, bad = classification_loss(make_model(), D), tokens.at[0, 1].set(wrong)
    assert_refused(loss, params, (bad, classes), f"tokens must be from 0 to {D - 1}, got {wrong}")


def test_regression_targets_have_the_shape_of_the_outputs(rng, x64):
    weights = with_outputs(reference.random_weights(rng), 1)
    params, inputs = from_weights(weights), jnp.asarray(rng.standard_normal((B, T, D)))
    targets = jnp.asarray(rng.standard_normal((B, T)))
    hidden = reference.hidden_states(weights, np.asarray(inputs))
    outputs = reference.outputs(weights, hidden)[..., 0]
    every, last = regression_loss(make_model(1)), regression_loss(make_model(1, last_only=True))
    right = np.mean((outputs - targets) ** 2)
    for given in (targets, targets[..., None]):
        np.testing.assert_allclose(every(params, (inputs, given))[0], right, **FLOAT64)
    right = np.mean((outputs[:, -1] - targets[:, 0]) ** 2)
    for given in (targets[:, 0], targets[:, :1]):
        np.testing.assert_allclose(last(params, (inputs, given))[0], right, **FLOAT64)
    for loss, given in ((last, targets), (every, targets[:, 0]), (every, targets[:, :1])):
        with pytest.raises(ValueError, match="targets must have the shape of the outputs"):
            loss(params, (inputs, given))


def masked_loss(params, batch):
    """A mean over the valid steps alone, of which sequences have different numbers."""
    inputs, targets, mask = batch
    outputs = make_model(1).apply({"params": params}, inputs)[..., 0]
    return jnp.sum(mask * (outputs - targets) ** 2) / jnp.sum(mask), jnp.nan


def masked_problem(rng, sequences=16):
    params = from_weights(with_outputs(reference.random_weights(rng), 1))
    shape = (K, sequences, T)
    lengths = np.sort(rng.integers(1, T + 1, shape[:2]))  # sorted, as bucketing does
    mask = jnp.asarray(np.arange(T) < lengths[..., None], jnp.float64)
    data = (rng.standard_normal((*shape, D)), rng.standard_normal(shape))
    return params, (*map(jnp.asarray, data), mask)


def trained(loss, params, batches, devices):
    optimizer = optax.sgd(0.1)
    chunk = jax.jit(make_train_chunk(loss, optimizer, devices=devices))
    state, measured = chunk(TrainState.create(params, optimizer), batches)
    return state.params, measured


@pytest.mark.parametrize(
    ("loss", "devices"),
    [(masked_loss, None), (BatchMean(masked_loss, lambda batch: jnp.sum(batch[2])), 2)],
    ids=["of an unknown kind, by default", "with its count, on two devices"],
)
def test_a_masked_mean_is_that_of_the_whole_batch(loss, devices, rng, x64, two_devices):
    params, batches = masked_problem(rng)
    right = trained(masked_loss, params, batches, 1)
    assert_trees_close(trained(loss, params, batches, devices), right, **FLOAT64)
    # The mean of the devices' means, which would be another loss.
    _, wrong = trained(BatchMean(masked_loss), params, batches, 2)
    assert abs(wrong.loss[0] - right[1].loss[0]) > 1e-3


def test_ignored_predictions_on_two_devices(rng, x64, two_devices):
    params = from_weights(reference.random_weights(rng))
    tokens = jnp.asarray(rng.integers(0, D, (K, 4, T)))
    classes = jnp.asarray(rng.integers(0, C, (K, 4, T)))
    classes = classes.at[:, 0, 1:].set(IGNORED).at[0, 1].set(IGNORED)
    classes = classes.at[1, :2].set(IGNORED)  # one device has none at all
    loss = classification_loss(make_model(), D)
    one, two = (trained(loss, params, (tokens, classes), devices) for devices in (1, 2))
    assert_trees_close(two[0], one[0], **FLOAT64)
    np.testing.assert_allclose(two[1].loss, one[1].loss, **FLOAT64)
    np.testing.assert_allclose(two[1].accuracy, one[1].accuracy, rtol=1e-6)  # in float32


def dropping_chunk(rate, devices=1):
    model = StackedModel([nn.GRUCell(N), VanillaCell(N + 1)], C, dropout_rate=rate)
    params = model.init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    loss, optimizer = classification_loss(model, D), optax.sgd(0.1)
    state = TrainState.create(params, optimizer, key=jax.random.key(7))
    return jax.jit(make_train_chunk(loss, optimizer, devices=devices)), state, loss


def test_layers_drop_in_training_and_not_in_evaluation(rng):
    batches = random_batches(rng, K)
    losses, evaluated = {}, {}
    for rate in (0.0, 0.5, 0.9):
        chunk, state, loss = dropping_chunk(rate)
        losses[rate] = np.asarray(chunk(state, batches)[1].loss)
        evaluated[rate] = loss(state.params, jax.tree.map(lambda leaf: leaf[0], batches))[0]
    assert len({float(values[0]) for values in losses.values()}) == 3
    assert len({float(value) for value in evaluated.values()}) == 1
    assert losses[0.0][0] == pytest.approx(float(evaluated[0.0]), rel=1e-6)  # float32 sums


def test_each_step_drops_by_its_own_key_and_resumes_bit_for_bit(rng):
    chunk, state, _ = dropping_chunk(0.5)
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * K), random_batches(rng, K))
    # Steps of rate 0 would repeat themselves: here only the keys differ.
    frozen = optax.sgd(0.0)
    still = jax.jit(make_train_chunk(dropping_chunk(0.5)[2], frozen, devices=1))
    losses = still(TrainState.create(state.params, frozen, key=state.key), same)[1].loss
    assert len(set(map(float, losses))) == K
    whole, _ = chunk(state, same)
    half = K // 2
    for part in (slice(0, half), slice(half, K)):
        piece = jax.tree.map(lambda leaf, part=part: leaf[part], same)
        state, _ = chunk(state, piece)
    jax.tree.map(np.testing.assert_array_equal, whole.params, state.params)


def test_dropout_needs_a_key(rng):
    chunk, state, _ = dropping_chunk(0.5)
    with pytest.raises(ValueError, match=r"dropout needs TrainState.create\(..., key="):
        chunk(state.replace(key=None), random_batches(rng, K))


def test_devices_drop_differently(rng, two_devices):
    tokens = jnp.asarray(rng.integers(0, D, (K, 2, T)))
    batches = (tokens.at[:, 1].set(tokens[:, 0]), jnp.zeros((K, 2, T), int))
    chunk, state, _ = dropping_chunk(0.5, devices=2)
    measured = chunk(state, batches)[1]
    half = dropping_chunk(0.5)[0](state, jax.tree.map(lambda leaf: leaf[:, :1], batches))[1]
    assert measured.loss[0] != half.loss[0]


@pytest.mark.parametrize(
    ("num_tokens", "dtype"), [(256, np.uint8), (300, np.uint8), (200, np.int8)]
)
def test_tokens_and_classes_of_few_bits_count_as_any(num_tokens, dtype):
    """In 8 bits 156 is −100, and 256 is 0."""
    model = SequenceModel(VanillaCell(3), num_tokens)
    params = model.init(jax.random.key(0), jnp.zeros((1, 1, num_tokens)))["params"]
    loss = classification_loss(model, num_tokens)
    tokens = np.array([[1, 100, 7]])
    classes = np.array([[156 if dtype == np.uint8 else 3, 0, 99]])
    found, expected = (
        loss(params, (tokens.astype(kind), classes.astype(kind)))[0] for kind in (dtype, np.int32)
    )
    np.testing.assert_array_equal(found, expected)
    assert loss.count((tokens.astype(dtype), classes.astype(dtype))) == 3
