"""Optimizers of orthogonal matrices: against NumPy, along the group, and on it after many steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import diagnostics, group
from tests.group import steps_in_numpy as numpy_steps
from tests.group.steps_in_numpy import RATE

N, S = 7, 3

METHODS = {
    "on_group": lambda rate=RATE: group.on_group(optax.adam(rate), "exponential"),
    "stiefel_adam": group.stiefel_adam,
    "group_muon": group.group_muon,
    "pogo": lambda rate=RATE: group.pogo(group.matrix_adam(rate)),
    "landing": lambda rate=RATE: group.landing(rate, momentum=0.5),
    "exprnn": lambda rate=RATE: group.exprnn(optax.rmsprop(rate), every=3),
}
WAYS = ("second_order", "exponential", "cayley")


def random_orthogonal(rng, *shape):
    return np.linalg.qr(rng.standard_normal((*shape, N, N)))[0]


def error(W):
    return np.max(np.abs(np.swapaxes(W, -1, -2) @ W - np.eye(W.shape[-1])))


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_those_of_the_equations(name, rng, x64):
    optimizer, step = METHODS[name](RATE), getattr(numpy_steps, name)
    W = expected = random_orthogonal(rng)
    W, memory = jnp.asarray(W), None
    state = optimizer.init(W)
    for _ in range(7):  # of exprnn two changes of basis
        G = rng.standard_normal((N, N))
        move, state = optimizer.update(jnp.asarray(G), state, W)
        W = W + move
        expected, memory = step(expected, G, memory)
        # Rounding; what a Newton–Schulz step at the end moves is of second order of that.
        np.testing.assert_allclose(W, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_the_exponential_up_to_third_order(way, rng, x64):
    W, G = jnp.asarray(random_orthogonal(rng)), jnp.asarray(rng.standard_normal((N, N)))
    differences = []
    for rate in (0.002, 0.001):  # below max_angle
        moves = []
        for chosen in (way, "exponential"):
            optimizer = group.on_group(optax.sgd(rate), chosen)
            moves.append(optimizer.update(G, optimizer.init(W), W)[0])
        differences.append(float(jnp.max(jnp.abs(moves[0] - moves[1]))))
    if way == "exponential":
        assert differences == [0, 0]
    else:
        assert differences[0] / differences[1] == pytest.approx(2**3, rel=0.1)


@pytest.mark.parametrize("name", METHODS)
def test_a_small_step_is_tangent(name, rng, x64):
    """Wᵀ(W' − W) is skew but for the square of the step: a forgotten projection is not."""
    W, G = jnp.asarray(random_orthogonal(rng)), jnp.asarray(rng.standard_normal((N, N)))
    shares = []
    for rate in (1e-3, 1e-4):
        optimizer = METHODS[name](rate)
        A = W.T @ optimizer.update(G, optimizer.init(W), W)[0]
        shares.append(float(jnp.linalg.norm(A + A.T) / jnp.linalg.norm(A)))
    assert shares[0] < 1e-2
    # The landing takes its step in a straight line.
    assert max(shares) < 1e-11 or shares[1] / shares[0] == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_batch_of_matrices_stays_on_the_group_and_reaches_its_targets(name, dtype, rng, x64):
    W = random_orthogonal(rng, S)
    turn = 0.3 * rng.standard_normal((S, N, N))
    targets = jnp.asarray(W @ np.array(jax.scipy.linalg.expm(turn - turn.mT)), dtype)
    rates = optax.exponential_decay(0.05, 1, 0.99) if name != "landing" else 0.3
    optimizer = METHODS[name](rates)

    def step(at, _):
        W, state = at
        move, state = optimizer.update(W - targets, state, W)  # of ‖W − target‖² / 2
        return (W + move, state), None

    start = jnp.asarray(W, dtype)
    (W, _), _ = jax.jit(lambda at: jax.lax.scan(step, at, length=600))(
        (start, optimizer.init(start))
    )
    assert W.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    # N products of rounding; landing is where it lands, as far as its steps are from zero.
    assert error(W) < (20 * eps if name != "landing" else 1e-4)
    assert float(jnp.max(jnp.abs(W - targets))) < 0.05  # from 0.7 at first


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_errors_do_not_add_up(name, rng):
    optimizer = METHODS[name](0.01)
    start = jnp.asarray(random_orthogonal(rng), jnp.float32)

    gradients = jnp.asarray(rng.standard_normal((100, N, N)), jnp.float32)

    def step(at, G):
        W, state = at
        move, state = optimizer.update(G, state, W)
        return (W + move, state), None

    def a_hundred(at, _):
        at, _ = jax.lax.scan(step, at, gradients)
        return at, diagnostics.orthogonality_error(at[0])

    begin = start, optimizer.init(start)
    # All were seen to do 100,000; here the default does, and the others end by the same step.
    hundreds = 1000 if name == "on_group" else 200
    _, errors = jax.jit(lambda: jax.lax.scan(a_hundred, begin, length=hundreds))()
    assert bool(jnp.isfinite(errors).all())
    assert float(errors.max()) < (1e-5 if name != "landing" else 0.5)


def test_a_landing_keeps_its_distance(rng, x64):
    """However large the rate and the gradient, ‖WᵀW − I‖_F stays below ε = 1/2."""
    optimizer, W = group.landing(1e3), jnp.asarray(random_orthogonal(rng))
    state = optimizer.init(W)
    for scale in (1e-3, 1.0, 1e4) * 9:
        G = jnp.asarray(scale * rng.standard_normal((N, N)))
        move, state = optimizer.update(G, state, W)
        W = W + move
        assert float(jnp.linalg.norm(W.T @ W - jnp.eye(N))) <= 0.5 * (1 + 1e-12)


def test_weight_decay_does_nothing(rng, x64):
    W, G = jnp.asarray(random_orthogonal(rng)), jnp.asarray(rng.standard_normal((N, N)))
    moves = []
    for base in (optax.adam(0.1), optax.adamw(0.1, weight_decay=0.5)):
        for optimizer in (group.on_group(base), group.pogo(base)):
            moves.append(optimizer.update(G, optimizer.init(W), W)[0])
    np.testing.assert_array_equal(moves[0], moves[2])
    np.testing.assert_array_equal(moves[1], moves[3])


def test_one_second_moment_a_matrix_keeps_the_direction(rng, x64):
    optimizer, g = group.matrix_adam(RATE), jnp.asarray(rng.standard_normal((S, N, N)))
    u, _ = optimizer.update(g, optimizer.init(g))
    norms = np.linalg.norm(g, axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(u, -RATE * g / norms, rtol=1e-7)  # ε of 1e-8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: group.on_group(3), "optimizer must be an Optax optimizer"),
        (lambda: group.on_group(optax.sgd(0.1), "euler"), "way must be one of second_order"),
        (lambda: group.pogo(None), "optimizer must be an Optax optimizer"),
        (lambda: group.exprnn(optax.sgd(0.1), 0), "every must be a whole number, 1 or more"),
        (lambda: group.exprnn("sgd"), "optimizer must be"),
        (lambda: group.group_muon(0.1, momentum=1.0), r"momentum must be in \[0, 1\)"),
        (lambda: group.landing(-1.0), "learning_rate must be 0 or more"),
        (lambda: group.landing(0.1, attraction=0), "attraction must be above 0"),
        (lambda: group.landing(0.1, momentum=-0.1), "momentum must be in"),
        (lambda: group.matrix_adam(0.1, b2=1.0), r"b2 must be in \[0, 1\)"),
        (lambda: group.matrix_adam(0.1, eps=-1), "eps must be 0 or more"),
    ],
)
def test_bad_options_are_named(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", METHODS)
def test_bad_matrices_are_named(name, rng):
    optimizer, W = METHODS[name](RATE), jnp.asarray(random_orthogonal(rng))
    state = optimizer.init({"W": W})
    with pytest.raises(ValueError, match="needs params: call update"):
        optimizer.update({"W": W}, state)
    with pytest.raises(ValueError, match=r"W has shape \(3, 3\) in updates and \(7, 7\) in params"):
        optimizer.update({"W": W[:3, :3]}, state, {"W": W})
    with pytest.raises(ValueError, match="params W must be square"):
        optimizer.init({"W": W[:3]})
