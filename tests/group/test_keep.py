"""``keep_orthogonal`` and the parts of a chain, on models, and in company."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import linen as nn

from jaxrnn import (
    SequenceModel,
    VanillaCell,
    assert_orthogonal,
    diagnostics,
    group,
    keep_orthogonal,
    project_recurrent,
    retract_params,
    training,
)
from tests.numpy_reference import B, C, D, N, S, T

RATE = 0.02


@pytest.fixture
def model():
    return SequenceModel(VanillaCell(N), C)


def params_of(model, dtype=jnp.float32, seed=0):
    inputs = jnp.zeros((B, T, D))
    params = model.init(jax.random.key(seed), inputs)["params"]
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    return retract_params(params)  # to the digits of the dtype


def gradients_like(params, rng):
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), leaf.dtype), params
    )


def steps(optimizer, params, rng, count=5):
    """The parameters after some steps of random gradients."""
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(count):
        updates, state = update(gradients_like(params, rng), state, params)
        params = optax.apply_updates(params, updates)
    return params


def error_of(params, where=None):
    return float(diagnostics.recurrent_diagnostics(params, where)[1])


def test_others_move_as_before_and_the_matrix_along_the_group(model, x64):
    params = params_of(model, jnp.float64)
    kept = steps(keep_orthogonal(optax.adam(RATE)), params, np.random.default_rng(1))
    plain = steps(optax.adam(RATE), params, np.random.default_rng(1))
    np.testing.assert_array_equal(kept["readout"]["kernel"], plain["readout"]["kernel"])
    np.testing.assert_array_equal(kept["cell"]["i"]["kernel"], plain["cell"]["i"]["kernel"])
    W = params["cell"]["h"]["kernel"].T
    rng, optimizer = np.random.default_rng(1), group.on_group(optax.adam(RATE))
    state, update = optimizer.init(W), jax.jit(optimizer.update)
    for _ in range(5):
        G = gradients_like(params, rng)["cell"]["h"]["kernel"].T
        move, state = update(G, state, W)
        W = W + move
    np.testing.assert_allclose(kept["cell"]["h"]["kernel"], W.T, rtol=0, atol=1e-14)
    assert error_of(kept) < 5e-14  # 7 products of N terms and more


def test_the_same_as_a_chain_of_its_parts(model, x64):
    params = params_of(model, jnp.float64)
    adam = optax.adam(RATE)
    chained = optax.chain(group.to_skew(), adam, group.from_skew())
    for one, other in zip(
        jax.tree.leaves(steps(chained, params, np.random.default_rng(1))),
        jax.tree.leaves(steps(keep_orthogonal(adam), params, np.random.default_rng(1))),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_muon_as_a_chain_of_its_parts(model, x64):
    params = params_of(model, jnp.float64)
    where = "h/kernel"
    chained = optax.chain(
        group.to_skew(where),
        group.orthogonalize_skew(0.9, where),
        optax.scale_by_learning_rate(RATE),
        group.from_skew(where=where),
    )
    method = keep_orthogonal(optax.sgd(RATE), group.group_muon(RATE), where)
    found = [steps(one, params, np.random.default_rng(1)) for one in (chained, method)]
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-14), *found
    )


def test_layouts_are_transposes_of_each_other(rng, x64):
    W = np.linalg.qr(rng.standard_normal((N, N)))[0]
    optimizers = {
        layout: keep_orthogonal(optax.adam(RATE), where="W", layout=layout)
        for layout in ("in_out", "out_in")
    }
    G = rng.standard_normal((N, N))
    moves = {}
    for layout, optimizer in optimizers.items():
        turned = (lambda M: M.T) if layout == "in_out" else (lambda M: M)
        params, gradients = ({"W": jnp.asarray(turned(M))} for M in (W, G))
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        moves[layout] = turned(updates["W"])
    np.testing.assert_array_equal(moves["in_out"], moves["out_in"])


def test_the_tangent_before_the_optimizer_is_not_the_tangent_after_it(model, x64):
    """Before, moments are those of tangent vectors; after, the step is tangent."""
    params, adam, to_tangent = params_of(model, jnp.float64), optax.adam(RATE), group.to_tangent()
    found = {
        name: steps(optax.chain(*chain), params, np.random.default_rng(1), count=1)
        for name, chain in {
            "before": (to_tangent, adam),
            "after": (adam, to_tangent),
            "not at all": (adam,),
        }.items()
    }
    W = params["cell"]["h"]["kernel"].T

    def share_off_the_group(moved):
        A = W.T @ (moved["cell"]["h"]["kernel"].T - W)
        return float(jnp.linalg.norm(A + A.T) / jnp.linalg.norm(A))

    shares = {name: share_off_the_group(moved) for name, moved in found.items()}
    assert shares["after"] < 1e-12
    assert 0.01 < shares["before"] < shares["not at all"]


@pytest.mark.slow
def test_gates_seeds_and_other_names(rng):
    model = SequenceModel(nn.LSTMCell(N), C)
    params = jax.vmap(lambda key: model.init(key, jnp.zeros((B, T, D)))["params"])(
        jax.random.split(jax.random.key(0), S)
    )
    moved = steps(keep_orthogonal(optax.adam(RATE)), params, rng)
    assert error_of(moved) < 2e-6
    for gate in "ifgo":
        assert (
            float(
                jnp.abs(
                    moved["cell"][f"h{gate}"]["kernel"] - params["cell"][f"h{gate}"]["kernel"]
                ).max()
            )
            > RATE
        )
    tree = {"mine": jnp.eye(N), "h": {"kernel": jnp.eye(N)}}
    moved = steps(keep_orthogonal(optax.sgd(0.3), where="mine"), tree, rng)
    assert error_of({"h": {"kernel": moved["mine"]}}) < 1e-6
    assert error_of(moved) > 0.1


@pytest.mark.slow
def test_vmap_over_seeds_is_each_seed_alone(model, rng):
    optimizer = keep_orthogonal(optax.adam(RATE))
    params = [params_of(model, seed=seed) for seed in range(S)]
    gradients = [gradients_like(one, rng) for one in params]

    @jax.jit
    def one_step(params, gradients):
        return optimizer.update(gradients, optimizer.init(params), params)[0]

    together = jax.vmap(one_step)(
        *(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (params, gradients))
    )
    for seed in range(S):
        alone = one_step(params[seed], gradients[seed])
        jax.tree.map(
            lambda leaf, own, seed=seed: np.testing.assert_allclose(leaf[seed], own, atol=1e-6),
            together,
            alone,
        )


@pytest.mark.slow
def test_training_with_chunks_two_devices_and_donation(model, rng):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), keep_orthogonal(optax.adam(RATE)))
    loss = training.regression_loss(model)
    batches = (
        jnp.asarray(rng.standard_normal((9, 4, T, D)), jnp.float32),
        jnp.asarray(rng.standard_normal((9, 4, T, C)), jnp.float32),
    )
    found = []
    for devices in range(1, len(jax.devices()) + 1):
        chunk = jax.jit(
            training.make_train_chunk(loss, optimizer, devices=devices), donate_argnums=0
        )
        _, measured = chunk(training.TrainState.create(params_of(model), optimizer), batches)
        assert float(measured.orthogonality_error.max()) < 1e-6
        assert measured.loss[-1] < measured.loss[0]
        found.append(measured.loss)
    np.testing.assert_allclose(found[0], found[-1], rtol=1e-4)


def test_bfloat16_is_as_orthogonal_as_its_digits(model, rng):
    params = params_of(model, jnp.bfloat16)
    moved = steps(keep_orthogonal(optax.adam(RATE)), params, rng)
    assert moved["cell"]["h"]["kernel"].dtype == jnp.bfloat16
    assert error_of(moved) < N * float(jnp.finfo(jnp.bfloat16).eps)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda kept: optax.chain(optax.clip_by_global_norm(0.1), kept),
        lambda kept: optax.MultiSteps(kept, 2),
        lambda kept: optax.apply_if_finite(kept, 3),
        lambda kept: optax.inject_hyperparams(lambda rate: keep_orthogonal(optax.adam(rate)))(
            rate=RATE
        ),
        lambda kept: optax.partition(
            {"matrix": kept, "rest": optax.sgd(0.1)},
            lambda params: jax.tree_util.tree_map_with_path(
                lambda path, _: "matrix" if "'h'" in str(path) else "rest", params
            ),
        ),
        lambda kept: keep_orthogonal(optax.adamw(RATE, weight_decay=0.3)),
        lambda kept: keep_orthogonal(optax.contrib.muon(RATE)),
        lambda kept: keep_orthogonal(optax.lion(RATE)),
        lambda kept: keep_orthogonal(optax.flatten(optax.adam(RATE))),
        lambda kept: optax.masked(kept, True),
        lambda kept: keep_orthogonal(optax.adam(optax.cosine_decay_schedule(RATE, 9))),
        lambda kept: optax.chain(group.to_tangent(), optax.adam(RATE), project_recurrent()),
        lambda kept: keep_orthogonal(optax.adam(0.1), group.exprnn(optax.rmsprop(RATE))),
        lambda kept: keep_orthogonal(optax.adam(0.1), group.stiefel_adam(RATE)),
        lambda kept: keep_orthogonal(optax.adam(0.1), group.pogo(group.matrix_adam(RATE))),
    ],
)
def test_in_company_the_matrix_stays_orthogonal(make, model, rng):
    optimizer = make(keep_orthogonal(optax.adam(RATE)))
    params = params_of(model)
    moved = steps(optimizer, params, rng, count=6)
    assert error_of(moved) < 2e-6
    for path in (("cell", "h", "kernel"), ("readout", "kernel")):
        old, new = params, moved
        for key in path:
            old, new = old[key], new[key]
        assert float(jnp.abs(new - old).max()) > 1e-3


def test_a_frozen_matrix_stays(model, rng):
    labels = lambda params: jax.tree_util.tree_map_with_path(  # noqa: E731
        lambda path, _: "frozen" if "'h'" in str(path) else "rest", params
    )
    optimizer = optax.partition({"frozen": optax.set_to_zero(), "rest": optax.adam(RATE)}, labels)
    params = params_of(model)
    moved = steps(keep_orthogonal(optimizer), params, rng)
    np.testing.assert_allclose(
        moved["cell"]["h"]["kernel"], params["cell"]["h"]["kernel"], atol=1e-6
    )


def quadratic(rng):
    """Parameters, and a loss that a rotation of the matrix makes zero."""
    W, target = (np.linalg.qr(rng.standard_normal((N, N)))[0] for _ in range(2))
    target = target * np.where(np.arange(N) == 0, np.linalg.det(W @ target), 1)  # W's half of O(N)
    params = {"h": {"kernel": jnp.asarray(W)}, "o": {"kernel": jnp.ones((N, C))}}

    def loss(params, scale=1.0):
        distance = jnp.sum((params["h"]["kernel"] - target) ** 2)
        return scale * (distance + jnp.sum(params["o"]["kernel"] ** 2))

    return params, loss


@pytest.mark.slow
def test_a_search_along_a_line_is_one_along_the_group(rng, x64):
    """L-BFGS evaluates the loss where the coordinates that it tries lead to."""
    params, loss = quadratic(rng)
    optimizer = keep_orthogonal(optax.lbfgs())

    @jax.jit
    def step(params, state):
        value, gradients = jax.value_and_grad(loss)(params)
        extra = {"value": value, "grad": gradients, "value_fn": loss}
        updates, state = optimizer.update(gradients, state, params, **extra)
        return optax.apply_updates(params, updates), state, value

    state, values = optimizer.init(params), []
    for _ in range(15):
        params, state, value = step(params, state)
        values.append(float(value))
        assert error_of(params) < 1e-13
    assert all(later < earlier for earlier, later in itertools.pairwise(values))
    assert values[-1] < 1e-3 * values[0]


@pytest.mark.slow
def test_around_the_wrapper_averages_leave_the_group_and_are_put_back(rng):
    """What an average of orthogonal matrices needs, and what inside of the wrapper is none."""
    params, loss = quadratic(rng)
    kept = keep_orthogonal(optax.adam(0.05))

    def trained(optimizer, params, averages=lambda params: params):
        def step(at, _):
            params, state = at
            updates, state = optimizer.update(jax.grad(loss)(averages(params)), state, params)
            return (optax.apply_updates(params, updates), state), None

        start = params, optimizer.init(params)
        return jax.jit(lambda: jax.lax.scan(step, start, length=7)[0])()

    lookahead = optax.lookahead(kept, sync_period=7, slow_step_size=0.5)
    synced, _ = trained(
        lookahead, optax.LookaheadParams.init_synced(params), lambda params: params.fast
    )
    outside = [synced.slow, trained(optax.chain(kept, optax.ema(0.9)), params)[0]]
    moving, state = trained(optax.contrib.schedule_free(kept, 0.05), params)
    outside += [moving, optax.contrib.schedule_free_eval_params(state, moving)]
    for average in outside:
        assert error_of(average) > 1e-4
        with pytest.raises(ValueError, match="h/kernel is not orthogonal"):
            assert_orthogonal(average)
        assert_orthogonal(retract_params(average), 1e-6)
    inside = optax.chain(optax.adam(0.05), optax.ema(0.9))
    assert_orthogonal(trained(keep_orthogonal(inside), params)[0], 1e-6)
    free = optax.contrib.schedule_free_adamw(0.05)
    assert_orthogonal(trained(keep_orthogonal(free), params)[0], 1e-6)


def test_a_wrapper_that_hides_the_matrix_is_refused(model):
    flat = optax.flatten(keep_orthogonal(optax.adam(RATE)))
    with pytest.raises(ValueError, match="keep_orthogonal: where= selects none of the leaves"):
        flat.init(params_of(model))


@pytest.mark.slow
def test_a_state_is_saved_and_restored(model, tmp_path):
    method = group.exprnn(optax.rmsprop(RATE), every=3)
    optimizer, params = keep_orthogonal(optax.adam(RATE), method), params_of(model)
    rng, state = np.random.default_rng(1), optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(4):
        updates, state = update(gradients_like(params, rng), state, params)
        params = optax.apply_updates(params, updates)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", (params, state))
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", (params, optimizer.init(params)))
    gradients = gradients_like(params, rng)
    for one, other in zip(
        jax.tree.leaves(update(gradients, state, params)),
        jax.tree.leaves(update(gradients, restored[1], restored[0])),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_bad_arguments_are_named(model, unchecked):
    params = params_of(model)
    with pytest.raises(ValueError, match="optimizer must be an Optax optimizer"):
        keep_orthogonal(0.1)
    with pytest.raises(ValueError, match="method must be an Optax optimizer"):
        keep_orthogonal(optax.sgd(0.1), "muon")
    with pytest.raises(ValueError, match="keep_orthogonal: where= selects none of the leaves"):
        keep_orthogonal(optax.sgd(0.1), where="nothing").init(params)
    with pytest.raises(ValueError, match="keep_orthogonal needs square matrices: readout/kernel"):
        keep_orthogonal(optax.sgd(0.1), where="readout/kernel").init(params)
    far = jax.tree.map(lambda leaf: 1.5 * leaf, params)
    for optimizer in (
        keep_orthogonal(optax.sgd(0.1)),
        keep_orthogonal(optax.sgd(0.1), group.landing()),
    ):
        with pytest.raises(
            ValueError, match="starts from orthogonal matrices, such as retract_params"
        ):
            optimizer.init(far)
        jax.jit(optimizer.init)(far)  # values are not known
    optimizer = keep_orthogonal(optax.sgd(0.1))
    with pytest.raises(ValueError, match="keep_orthogonal needs params"):
        optimizer.update(params, optimizer.init(params))
    for make in (group.to_tangent, group.to_skew, group.from_skew, group.orthogonalize_skew):
        with pytest.raises(ValueError, match="layout must be 'in_out' or 'out_in'"):
            make(layout="rows")
        with pytest.raises(ValueError, match=f"{make.__name__}: where= selects none"):
            make(where="nothing").init(params)
    with pytest.raises(ValueError, match="way must be one of"):
        group.from_skew("euler")
    with pytest.raises(ValueError, match="momentum must be in"):
        group.orthogonalize_skew(1.5)
