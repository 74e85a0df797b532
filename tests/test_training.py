"""Chunks of steps against the same steps taken one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import SequenceModel, VanillaCell, project_recurrent
from jaxrnn.convert import from_weights
from jaxrnn.tasks import Batch
from jaxrnn.training import (
    BatchMean,
    TrainState,
    batch_mesh,
    classification_loss,
    make_train_chunk,
    make_train_step,
)
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, K, N, S, T
from tests.trees import assert_trees_close, global_norm

# A few steps in float64, whose sums XLA orders differently from one program to the next.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-14}


def make_model(dtype=jnp.float64, **options):
    return SequenceModel(VanillaCell(N, param_dtype=dtype), C, param_dtype=dtype, **options)


# One classifier, optimizer and compiled chunk for several tests, since compiling takes longest.
CLIP = 0.1
LOSS = classification_loss(make_model(), D)
OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(CLIP), optax.adam(1e-2), project_recurrent(every=3)
)
CHUNK = jax.jit(make_train_chunk(LOSS, OPTIMIZER), donate_argnums=0)


def random_batches(rng, *leading):
    """Tokens and classes, (*leading, B, T) each."""
    shape = (*leading, B, T)
    return Batch(jnp.asarray(rng.integers(0, D, shape)), jnp.asarray(rng.integers(0, C, shape)))


def item(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@jax.jit
def plain_step(params, opt_state, batch):
    (value, accuracy), grads = jax.value_and_grad(LOSS, has_aux=True)(params, batch)
    updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, value, accuracy, grads


def test_chunks_are_their_steps_one_by_one(rng, x64):
    params = from_weights(reference.random_weights(rng))
    batches = random_batches(rng, 2, K)
    state, first = CHUNK(TrainState.create(params, OPTIMIZER), item(batches, 0))
    state, second = CHUNK(state, item(batches, 1))

    opt_state = OPTIMIZER.init(params)
    for chunk, k in np.ndindex(2, K):
        batch = item(batches, (chunk, k))
        params, opt_state, value, accuracy, grads = plain_step(params, opt_state, batch)
        W_hh = np.asarray(params["cell"]["h"]["kernel"]).T
        expected = {
            "loss": value,
            "accuracy": accuracy,
            "grad_norm": global_norm(grads),
            "spectral_norm": np.linalg.norm(W_hh, 2),
            "orthogonality_error": reference.orthogonality_error(W_hh),
        }
        assert expected["grad_norm"] > CLIP  # or else clipped and unclipped would be the same
        got = item((first, second)[chunk], k)._asdict()
        for name, number in expected.items():
            np.testing.assert_allclose(got[name], number, **FLOAT64, err_msg=f"{name} {k}")
    assert_trees_close(state.params, params, **FLOAT64)
    assert_trees_close(state.opt_state, opt_state, **FLOAT64)
    assert state.step == 2 * K
    assert not state.diverged


def test_vmapped_seeds_are_separate_runs(rng, x64):
    seeds = [from_weights(reference.random_weights(rng)) for _ in range(S)]
    batches = random_batches(rng, S, K)
    create = jax.vmap(lambda params: TrainState.create(params, OPTIMIZER))
    states = create(jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds))
    chunk = jax.vmap(make_train_chunk(LOSS, OPTIMIZER))
    together = jax.jit(chunk, donate_argnums=0)(states, batches)
    for s, params in enumerate(seeds):
        alone = CHUNK(TrainState.create(params, OPTIMIZER), item(batches, s))
        assert_trees_close(item(together, s), alone, **FLOAT64)


def test_vmapped_seeds_pay_for_tracked_steps_only(rng, x64):
    params = from_weights(reference.random_weights(rng))
    optimizer = optax.sgd(0.1)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * S), TrainState.create(params, optimizer))
    chunk = jax.vmap(make_train_chunk(LOSS, optimizer, track_every=3))
    program = str(jax.make_jaxpr(chunk)(states, random_batches(rng, S, K)))
    # A branch that depended on the seed would have become a select between both sides.
    assert "svd[" in program.partition("cond[")[2]
    assert "svd[" not in program.partition("cond[")[0]


# A model whose steps NumPy can follow: the gradient of the loss <G, W> is the batch G itself.
LR = 0.1


def linear_loss(params, G):
    return jnp.vdot(G, params["h"]["kernel"]), G.mean()


def linear_run(W, G, optimizer, track_every=1):
    chunk = jax.jit(make_train_chunk(linear_loss, optimizer, track_every))
    return chunk(TrainState.create({"h": {"kernel": jnp.asarray(W)}}, optimizer), jnp.asarray(G))


@pytest.mark.parametrize(
    ("track_every", "tracked"), [(1, range(K)), (3, [1, 4, 7]), (K, [K - 1]), (100, [K - 1])]
)
def test_track_every_counts_back_from_the_last_step(rng, x64, track_every, tracked):
    W, G = rng.standard_normal((N, N)), rng.standard_normal((K, N, N))
    state, measured = linear_run(W, G, optax.sgd(LR), track_every)
    after = W - LR * G.cumsum(axis=0)
    before = np.concatenate([W[None], after[:-1]])
    np.testing.assert_allclose(state.params["h"]["kernel"], after[-1], **FLOAT64)
    np.testing.assert_allclose(measured.loss, (G * before).sum((1, 2)), **FLOAT64)
    np.testing.assert_allclose(measured.accuracy, G.mean((1, 2)), **FLOAT64)
    np.testing.assert_allclose(measured.grad_norm, np.linalg.norm(G, axis=(1, 2)), **FLOAT64)
    untracked = ~np.isin(np.arange(K), tracked)
    for values, expected in (
        (measured.spectral_norm, np.linalg.norm(after, 2, axis=(1, 2))),
        (measured.orthogonality_error, reference.orthogonality_error(after)),
    ):
        expected[untracked] = np.nan  # NaN equals NaN here
        np.testing.assert_allclose(values, expected, **FLOAT64)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_applied_from_the_first_bad_batch_on(rng, x64, bad):
    W, G = rng.standard_normal((N, N)), rng.standard_normal((K, N, N))
    G[5, 1, 2] = bad
    optimizer = optax.sgd(LR, momentum=0.9)
    state, measured = linear_run(W, G, optimizer)
    good, _ = linear_run(W, G[:5], optimizer)
    assert state.diverged
    assert not good.diverged
    assert state.step == 5  # the place of the bad batch, counted from 0
    assert_trees_close(state.params, good.params, **FLOAT64)
    assert_trees_close(state.opt_state, good.opt_state, **FLOAT64)
    # What was measured until then is kept, and the bad batch is shown for what it was.
    assert np.isfinite(measured.loss[:5]).all()
    assert not np.isfinite(measured.loss[5])
    np.testing.assert_array_equal(measured.spectral_norm[5:], measured.spectral_norm[4])

    again, _ = jax.jit(make_train_chunk(linear_loss, optimizer))(state, jnp.asarray(G[:4]))
    assert_trees_close(again, state, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:recurrent_diagnostics")  # there is no recurrent kernel
@pytest.mark.parametrize(
    ("loss", "slope", "bad"),
    [
        (lambda x, batch: jnp.sqrt(x * batch), 1 / 4, 0.0),  # d√x = 1/(2√4); infinite at 0
        (lambda x, batch: x + batch, 1.0, np.inf),
    ],
    ids=["gradient alone", "loss alone"],
)
def test_loss_and_gradient_must_both_be_finite(loss, slope, bad):
    chunk = make_train_chunk(lambda p, batch: (loss(p["x"], batch), jnp.nan), optax.sgd(LR))
    state = TrainState.create({"x": jnp.float32(4.0)}, optax.sgd(LR))
    state, measured = jax.jit(chunk)(state, jnp.array([1.0, bad, 1.0]))
    assert np.isfinite(measured.loss[1]) != np.isfinite(measured.grad_norm[1])
    assert state.diverged
    assert state.step == 1
    np.testing.assert_allclose(state.params["x"], 4 - LR * slope, rtol=1e-7)


@pytest.mark.parametrize("keeps_params", [False, True])
def test_the_state_is_donated_and_the_callers_parameters_are_not(rng, x64, keeps_params):
    # Some optimizers, such as DoG and Prodigy, keep the first parameters in their state.
    keeping = optax.GradientTransformation(lambda params: params, lambda u, s, params: (u, s))
    optimizer = optax.chain(optax.sgd(LR), keeping if keeps_params else optax.identity())
    W = rng.standard_normal((N, N))
    params = {"h": {"kernel": jnp.asarray(W)}}
    state = TrainState.create(params, optimizer)
    chunk = jax.jit(make_train_chunk(linear_loss, optimizer), donate_argnums=0)
    chunk(state, jnp.asarray(rng.standard_normal((K, N, N))))
    assert state.params["h"]["kernel"].is_deleted()
    np.testing.assert_array_equal(params["h"]["kernel"], W)


def test_one_step_alone_does_not_track(rng, x64):
    W, G = rng.standard_normal((N, N)), rng.standard_normal((N, N))
    step = make_train_step(linear_loss, optax.sgd(LR))
    state, measured = step(
        TrainState.create({"h": {"kernel": jnp.asarray(W)}}, optax.sgd(LR)), jnp.asarray(G)
    )
    np.testing.assert_allclose(state.params["h"]["kernel"], W - LR * G, **FLOAT64)
    assert state.step == 1
    np.testing.assert_allclose(
        measured, [(G * W).sum(), G.mean(), np.linalg.norm(G), np.nan, np.nan], **FLOAT64
    )


def test_track_every_must_be_positive():
    with pytest.raises(ValueError, match="track_every must be a whole number, 1 or more, got 0"):
        make_train_chunk(linear_loss, optax.sgd(LR), track_every=0)


def test_optimizers_that_want_the_loss_are_given_it(rng, x64):
    def update(updates, state, params=None, *, value, **extra):
        return jax.tree.map(lambda u: -value * u, updates), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), update)
    params = from_weights(reference.random_weights(rng))
    batch = random_batches(rng)
    (value, _), grads = jax.value_and_grad(LOSS, has_aux=True)(params, batch)
    state, _ = make_train_step(LOSS, optimizer)(TrainState.create(params, optimizer), batch)
    expected = jax.tree.map(lambda p, g: p - value * g, params, grads)
    assert_trees_close(state.params, expected, **FLOAT64)


# Several devices. The tests run with two CPU devices, on a machine with two cores.


def over_seeds(chunk):
    return lambda *arguments: jax.lax.map(lambda each: chunk(*each), arguments)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("several_seeds", [False, True])
def test_one_device_and_several_agree(rng, x64, several_seeds):
    shape = (S, K, 4, T) if several_seeds else (K, 4, T)
    batches = Batch(rng.integers(0, D, shape), rng.integers(0, C, shape))
    params = [from_weights(reference.random_weights(rng)) for _ in range(S)]
    states = [TrainState.create(tree, OPTIMIZER) for tree in params]
    state = states[0]
    if several_seeds:
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    results = []
    for devices in (1, 2, 2):
        chunk = make_train_chunk(LOSS, OPTIMIZER, devices=devices)
        results.append(jax.jit(over_seeds(chunk) if several_seeds else chunk)(state, batches))
    one, two, again = results
    # The mean over a batch as a mean of two means; the accuracy is in float32.
    assert_trees_close(
        two[1]._replace(accuracy=0), one[1]._replace(accuracy=0), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(two[1].accuracy, one[1].accuracy, rtol=1e-6)
    assert_trees_close(two[0], one[0], rtol=1e-12, atol=1e-14)
    jax.tree.map(np.testing.assert_array_equal, two, again)


@pytest.mark.usefixtures("two_devices")
def test_the_devices_share_the_batch(rng):
    """Each device sees its half: a loss that adds one a sequence seen counts them."""
    seen = []

    def loss(params, batch):
        seen.append(batch.inputs.shape)
        return jnp.sum(params["cell"]["h"]["kernel"] ** 2), jnp.float32(0)

    params = {"cell": {"h": {"kernel": jnp.eye(N)}}}
    state = TrainState.create(params, optax.sgd(0.1))
    mean = BatchMean(loss)
    for each, size, devices, expected in (
        (mean, 16, None, 8),  # two devices
        (mean, 14, None, 14),  # too few sequences for two
        (mean, 17, None, 17),  # not divisible
        (loss, 16, None, 16),  # not known to be a mean
        (loss, 14, 2, 7),
        (mean, 16, 1, 16),
    ):
        seen.clear()
        chunk = make_train_chunk(each, optax.sgd(0.1), devices=devices)
        shape = (K, size, T)
        jax.jit(chunk)(state, Batch(jnp.zeros(shape), jnp.zeros(shape)))
        assert set(seen) == {(expected, T)}


@pytest.mark.usefixtures("two_devices")
def test_a_user_who_pinned_a_device_gets_that_one(rng):
    with jax.default_device(jax.devices()[1]):
        batches = Batch(rng.integers(0, D, (K, 16, T)), rng.integers(0, C, (K, 16, T)))
        model = make_model(jnp.float32)
        params = model.init(jax.random.key(0), jnp.zeros((1, T, D)))["params"]
        state = TrainState.create(params, optax.sgd(0.1))
        chunk = make_train_chunk(classification_loss(model, D), optax.sgd(0.1))
        state, _ = jax.jit(chunk)(state, batches)
    assert state.step.devices() == {jax.devices()[1]}


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (0, "from 1 to the 2 that JAX sees, got 0"),
        (3, "got 3"),
        (2, "divide the batch of 3, got 2"),
    ],
)
def test_devices_that_cannot_be(rng, devices, message):
    state = TrainState.create({"h": jnp.eye(N)}, optax.sgd(0.1))
    chunk = make_train_chunk(LOSS, optax.sgd(0.1), devices=devices)
    with pytest.raises(ValueError, match=message):
        chunk(state, Batch(jnp.zeros((K, 3, T)), jnp.zeros((K, 3, T))))


@pytest.mark.usefixtures("two_devices")
def test_leaves_of_other_shapes_are_not_shared(rng):
    """A weight for each time step goes with every sequence: no device may have half of them."""
    weights = jnp.asarray(rng.uniform(size=(K, T)), jnp.float32)
    inputs = jnp.asarray(rng.standard_normal((K, 16, T)), jnp.float32)

    def loss(params, batch):
        x, weight = batch
        return jnp.mean((x @ weight - params["cell"]["h"]["kernel"][0, 0]) ** 2), jnp.float32(0)

    state = TrainState.create({"cell": {"h": {"kernel": jnp.eye(N)}}}, optax.sgd(0.1))
    optimizer = optax.sgd(0.1)
    losses = [
        jax.jit(make_train_chunk(loss, optimizer, devices=n))(state, (inputs, weights))[1].loss
        for n in (None, 1)
    ]
    np.testing.assert_array_equal(*losses)
    with pytest.raises(ValueError, match="with one B, got"):
        make_train_chunk(loss, optimizer, devices=2)(state, (inputs, weights))


def test_a_platform_can_be_the_default_device():
    with jax.default_device("cpu"):
        assert batch_mesh(None, 64).size == 1
