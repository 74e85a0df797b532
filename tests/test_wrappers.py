"""Cells around cells, against closed forms, loops in NumPy and loops with stop_gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrnn import (
    LeakyCell,
    SequenceModel,
    SkipCell,
    TruncatedCell,
    VanillaCell,
    convert,
    project_recurrent,
)
from jaxrnn.diagnostics import observe, observe_memory, recurrent_diagnostics
from jaxrnn.paths import is_recurrent_kernel, named_leaves
from tests import numpy_reference as reference
from tests.diagnostics.unrolled import random_problem
from tests.numpy_reference import B, C, D, N, T
from tests.trees import assert_trees_close

# Rounding of T steps of sums of 2 N + D products of size one: at most 3e-15 over 100 seeds.
FLOAT64 = {"rtol": 0, "atol": 1e-14}
# The same there and back, of gradients of size ten.
ROUNDING = {"rtol": 0, "atol": 1e-12}
WIDE = {"param_dtype": jnp.float64}
CELLS = {"vanilla": VanillaCell, "gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}
WRAPPERS = {
    "leaky": lambda cell: LeakyCell(cell, 0.3),
    "skip": lambda cell: SkipCell(cell, 3),
    "truncated": lambda cell: TruncatedCell(cell, 2),
    "two skips": lambda cell: SkipCell(SkipCell(cell, 3), 2),
    "all": lambda cell: TruncatedCell(SkipCell(LeakyCell(cell, 0.3), 3), 2),
}

REMAT = nn.remat(nn.GRUCell)

# Each cell, each wrapper; all pairs would take minutes, and observe has them in its own tests.
PAIRS = [
    ("vanilla", "leaky"),
    ("gru", "skip"),
    ("lstm", "truncated"),
    ("vanilla", "two skips"),
    ("lstm", "all"),
]


@pytest.fixture(params=CELLS)
def kind(request, x64):
    return CELLS[request.param]


@pytest.fixture(params=PAIRS, ids=" ".join)
def wrapped(request, x64):
    """A cell without, and with a wrapper."""
    kind, wrapper = request.param
    cell = CELLS[kind](N, **WIDE)
    return cell, WRAPPERS[wrapper](cell)


def loss_fn(outputs, targets):
    return jnp.sum((outputs - targets) ** 2) / 2


def loop(cell, params, x, change=lambda t, carry: carry):
    """h_1 … h_T (B, T, N) as a cell without a wrapper makes them; ``change`` sees each carry."""
    carry = cell.initialize_carry(jax.random.key(0), x[:, 0].shape)
    outputs = []
    for t in range(x.shape[1]):
        carry, h = cell.apply({"params": params}, change(t, carry), x[:, t])
        outputs.append(h)
    return jnp.stack(outputs, 1)


# Units that leak


def test_a_linear_leaky_unit_answers_an_impulse_with_a_power(rng, x64):
    # h_t = (1 − α) h_{t-1} + α (w h_{t-1} + u x_t), so α u (1 − α + α w)^(t-1).
    w, u, rate = rng.standard_normal(N), rng.standard_normal(N), 0.3
    params = {"i": {"kernel": u[None], "bias": np.zeros(N)}, "h": {"kernel": np.diag(w)}}
    cell = LeakyCell(VanillaCell(N, "identity", **WIDE), rate)
    impulse = jnp.zeros((B, T, 1)).at[:, 0].set(1.0)
    found = nn.RNN(cell).apply({"params": {"cell": params}}, impulse)
    expected = rate * u * (1 - rate + rate * w) ** np.arange(T)[:, None]
    np.testing.assert_allclose(found, np.broadcast_to(expected, (B, T, N)), **FLOAT64)


def test_all_of_a_carry_leaks(rng, kind):
    rate, cell = 0.3, kind(N, **WIDE)
    variables, x = random_problem(rng, nn.RNN(LeakyCell(cell, rate)))
    params = variables["params"]["cell"]
    carry = jax.tree.map(jnp.zeros_like, cell.initialize_carry(jax.random.key(0), (B, D)))
    states = []
    for t in range(T):
        new, _ = cell.apply({"params": params}, carry, x[:, t])
        carry = jax.tree.map(lambda old, new: 0.7 * old + 0.3 * new, carry, new)
        states.append(jax.tree.leaves(carry)[-1])
    found, outputs = nn.RNN(LeakyCell(cell, rate), return_carry=True).apply(variables, x)
    np.testing.assert_allclose(outputs, np.stack(states, 1), **FLOAT64)
    assert_trees_close(found, carry, **FLOAT64)


def test_a_rate_of_one_leaves_the_cell_as_it_is(rng, kind):
    variables, x = random_problem(rng, nn.RNN(kind(N, **WIDE)))
    assert_trees_close(
        nn.RNN(LeakyCell(kind(N, **WIDE), 1.0)).apply(variables, x),
        nn.RNN(kind(N, **WIDE)).apply(variables, x),
        **FLOAT64,
    )


# Skip connections


@pytest.mark.parametrize("steps", [2, 3, T + 1])
def test_a_skip_is_the_equation(rng, x64, steps):
    weights = reference.random_weights(rng)
    W_sh, h_0 = rng.standard_normal((N, N)) / 3, rng.standard_normal((B, N))
    x = rng.standard_normal((B, T, D))
    hidden = {t: np.zeros((B, N)) for t in range(-steps, 0)} | {0: h_0}
    for t in range(1, T + 1):
        z = x[:, t - 1] @ weights["W_xh"].T + hidden[t - steps] @ W_sh.T
        hidden[t] = np.tanh(z + hidden[t - 1] @ weights["W_hh"].T + weights["b_h"])
    wide = weights | {"W_xh": np.concatenate([weights["W_xh"], W_sh], axis=1)}
    model = SequenceModel(SkipCell(VanillaCell(N, **WIDE), steps), C, **WIDE)
    past, _ = model.cell.initialize_carry(jax.random.key(0), (B, D))
    (past, last), outputs = model.apply(
        {"params": convert.from_weights(wide)}, jnp.asarray(x), (past, jnp.asarray(h_0)), True
    )
    states = np.stack([hidden[t] for t in range(1, T + 1)], 1)
    np.testing.assert_allclose(outputs, reference.outputs(weights, states), **FLOAT64)
    np.testing.assert_allclose(last, hidden[T], **FLOAT64)
    later = [hidden[t] for t in range(T - steps + 1, T)]
    np.testing.assert_allclose(past, np.stack(later, 1), **FLOAT64)


def test_a_state_has_the_gradient_of_both_its_ways_on(rng, x64):
    # Linear units: ∂h_3/∂h_0 = W_hh³ + W_sh W_hh + W_hh W_sh with a skip of two steps.
    W, W_sh = rng.standard_normal((2, N, N)) / 3
    kernel = np.concatenate([rng.standard_normal((1, N)), W_sh.T])
    params = {"i": {"kernel": kernel, "bias": np.zeros(N)}, "h": {"kernel": W.T}}
    cell = SkipCell(VanillaCell(N, "identity", **WIDE), 2)
    v = rng.standard_normal(N)
    seen = observe(
        nn.RNN(cell),
        {"params": {"cell": params}},
        (jnp.zeros((1, 3, 1)), jnp.asarray(v)),
        lambda hidden, v: hidden[0, -1] @ v,
    )
    _, by_state = seen.layers["cell"].state_gradients
    expected = (W @ W @ W + W_sh @ W + W @ W_sh).T @ v
    np.testing.assert_allclose(by_state[0, 0], expected, **FLOAT64)


# Truncated BPTT


@pytest.mark.parametrize("steps", [1, 2, T])
def test_truncation_is_a_loop_with_stop_gradient(rng, kind, steps):
    cell = kind(N, **WIDE)
    variables, x = random_problem(rng, nn.RNN(cell))
    targets = jnp.asarray(rng.standard_normal((B, T, N)))
    model = nn.RNN(TruncatedCell(cell, steps))

    def stopped(t, carry):
        return jax.lax.stop_gradient(carry) if t % steps == 0 else carry

    def by_loop(params, x):
        return loss_fn(loop(cell, params["cell"], x, stopped), targets)

    def truncated(params, x):
        return loss_fn(model.apply({"params": params}, x), targets)

    both = [
        jax.jit(jax.value_and_grad(f, (0, 1)))(variables["params"], x) for f in (truncated, by_loop)
    ]
    assert_trees_close(*both, **ROUNDING)
    plain = jax.jit(
        jax.grad(lambda x: loss_fn(loop(cell, variables["params"]["cell"], x), targets))
    )
    if steps < T:
        assert np.abs(both[0][1][1] - plain(x)).max() > 1e-3


def test_no_gradient_gets_out_of_a_block(rng, kind):
    model = nn.RNN(TruncatedCell(kind(N, **WIDE), 2))
    variables, x = random_problem(rng, model)

    def last(x, carry):
        return jnp.sum(model.apply(variables, x, initial_carry=carry)[:, -1])

    carry = model.cell.initialize_carry(jax.random.key(0), (B, D))
    by_input = jax.jit(jax.grad(last))(x, carry)
    assert not by_input[:, : T - 1].any()  # T = 5 steps: blocks 1 2, 3 4 and 5
    assert by_input[:, T - 1].all()
    # A carry that is one step into its block: blocks 1, 2 3 and 4 5.
    count, inner = carry
    by_input = jax.jit(jax.grad(last))(x, (count + 1, inner))
    assert not by_input[:, : T - 2].any()
    assert by_input[:, T - 2 :].all()


def test_the_gradients_by_truncated_states(rng, kind):
    cell = kind(N, **WIDE)
    variables, x = random_problem(rng, nn.RNN(cell))
    targets = jnp.asarray(rng.standard_normal((B, T, N)))
    model = nn.RNN(TruncatedCell(cell, 3))
    seen = jax.jit(lambda v: observe(model, v, (x, targets), loss_fn))(variables)
    plain = jax.jit(jax.grad(lambda p: loss_fn(model.apply({"params": p}, x), targets)))
    assert_trees_close(seen.gradients, plain(variables["params"]), **ROUNDING)
    _, by_state = seen.layers["cell"].state_gradients
    carry = cell.initialize_carry(jax.random.key(0), (B, D))

    def by_loop(eps):
        h, loss = cell.initialize_carry(jax.random.key(0), (B, D)), 0.0
        for t in range(T):
            h = jax.tree.map(lambda leaf, e, t=t: leaf + e[t], h, eps)
            loss += loss_fn(jax.tree.leaves(h)[-1], targets[:, t - 1]) if t else 0
            h = jax.lax.stop_gradient(h) if t and t % 3 == 0 else h
            h, _ = cell.apply({"params": variables["params"]["cell"]}, h, x[:, t])
        h = jax.tree.map(lambda leaf, e: leaf + e[T], h, eps)
        return loss + loss_fn(jax.tree.leaves(h)[-1], targets[:, T - 1])

    zeros = jax.tree.map(lambda leaf: jnp.zeros((T + 1, *leaf.shape)), carry)
    assert_trees_close(by_state, jax.jit(jax.grad(by_loop))(zeros), **ROUNDING)
    # Nothing comes before the first block that it could be cut from.
    assert all(np.any(leaf[0]) for leaf in jax.tree.leaves(by_state))


# All of them


def test_observed_gradients_are_jaxs(rng, wrapped):
    model = SequenceModel(wrapped[1], C, **WIDE)
    variables, x = random_problem(rng, model)
    targets = jnp.asarray(rng.standard_normal((B, T, C)))
    seen = jax.jit(lambda v: observe(model, v, (x, targets), loss_fn))(variables)

    def loss(params):
        return loss_fn(model.apply({"params": params}, x), targets)

    value, gradients = jax.jit(jax.value_and_grad(loss))(variables["params"])
    np.testing.assert_allclose(seen.loss, value, rtol=1e-13)
    assert_trees_close(seen.gradients, gradients, **ROUNDING)
    layers = jax.jit(lambda v: observe_memory(model, v, x, jax.random.key(0)))(variables)
    assert seen.layers.keys() == layers.keys() == {"cell"}


def test_parameters_have_the_inner_cells_names(rng, wrapped):
    x = jnp.zeros((B, T, D))
    plain, params = (
        SequenceModel(cell, C).init(jax.random.key(0), x)["params"] for cell in wrapped
    )
    assert jax.tree.structure(plain) == jax.tree.structure(params)
    kernels = [path for path, leaf in named_leaves(params) if is_recurrent_kernel(path, leaf)]
    gates = {VanillaCell: 1, nn.GRUCell: 3, nn.OptimizedLSTMCell: 4}
    assert len(kernels) == gates[type(wrapped[0])]
    for path, leaf in named_leaves(params):
        if leaf.shape == dict(named_leaves(plain))[path].shape:
            np.testing.assert_array_equal(leaf, dict(named_leaves(plain))[path])


def test_recurrent_kernels_are_projected(rng, wrapped):
    model = SequenceModel(wrapped[1], C, **WIDE)
    variables, x = random_problem(rng, model)
    optimizer = optax.chain(optax.sgd(0.1), project_recurrent())
    gradients = jax.grad(lambda p: loss_fn(model.apply({"params": p}, x), 0.0))(variables["params"])
    updates, _ = optimizer.update(
        gradients, optimizer.init(variables["params"]), variables["params"]
    )
    _, error = recurrent_diagnostics(optax.apply_updates(variables["params"], updates))
    assert error < 1e-14


def test_the_carry_continues_a_sequence(rng, wrapped):
    model = SequenceModel(wrapped[1], C, **WIDE)
    variables, x = random_problem(rng, model)
    whole = model.apply(variables, x)
    carry, first = model.apply(variables, x[:, :3], return_carry=True)
    rest = model.apply(variables, x[:, 3:], initial_carry=carry)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, **FLOAT64)


def test_lengths_and_batch_axes(rng, wrapped):
    model = SequenceModel(wrapped[1], C, last_only=True, **WIDE)
    variables, x = random_problem(rng, model)
    lengths = np.array([2, 5, 3])
    carry, outputs = model.apply(variables, x, return_carry=True, seq_lengths=jnp.asarray(lengths))
    for b, length in enumerate(lengths):
        alone, expected = model.apply(variables, x[b, :length], return_carry=True)
        np.testing.assert_allclose(outputs[b], expected, **FLOAT64)
        assert_trees_close(jax.tree.map(lambda leaf, b=b: leaf[b], carry), alone, **FLOAT64)


@pytest.mark.usefixtures("unchecked")
def test_states_keep_their_digits_with_inputs_of_other_dtypes(rng, x64):
    model = nn.RNN(SkipCell(VanillaCell(N, **WIDE), 3))
    variables, _ = random_problem(rng, model)
    x = np.eye(D)[rng.integers(0, D, (B, T))]  # exact in every dtype
    expected = model.apply(variables, jnp.asarray(x))
    for dtype in (jnp.int32, jnp.bfloat16, jnp.float32):
        np.testing.assert_array_equal(model.apply(variables, jnp.asarray(x, dtype)), expected)


def test_a_cell_in_remat_emits_its_state(rng, x64):
    x = jnp.asarray(rng.standard_normal((B, T, D)))
    cells = [SkipCell(LeakyCell(kind(N, **WIDE), 0.3), 2) for kind in (nn.GRUCell, REMAT)]
    variables = nn.RNN(cells[0]).init(jax.random.key(0), x)
    found = [jax.jit(nn.RNN(cell).apply)(variables, x) for cell in cells]
    np.testing.assert_allclose(*found, **FLOAT64)


@pytest.mark.parametrize("wrapper", [LeakyCell, SkipCell, TruncatedCell])
def test_no_rate_and_no_steps_go_without_saying(wrapper):
    with pytest.raises(TypeError, match=r"missing .*required .*(rate|steps)"):
        wrapper(VanillaCell(N))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_runs_under_the_scan(rng, dtype):
    model = nn.RNN(WRAPPERS["all"](VanillaCell(N, dtype=dtype)), return_carry=True)
    x = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    variables = model.init(jax.random.key(0), x)
    carry, outputs = model.apply(variables, x)
    assert outputs.dtype == jax.tree.leaves(carry)[-1].dtype == dtype


# Bad input


class Emits(VanillaCell):
    def __call__(self, carry, inputs):
        h, _ = super().__call__(carry, inputs)
        return h, 2 * h


class Projects(VanillaCell):
    def __call__(self, carry, inputs):
        h, _ = super().__call__(carry, inputs)
        return h, h[..., 1:]


ORDER = r"TruncatedCell\(SkipCell\(LeakyCell"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyCell(VanillaCell(N), 0.0), "rate must be above 0 and at most 1, got 0.0"),
        (lambda: LeakyCell(VanillaCell(N), 1.5), "rate must be above 0 and at most 1, got 1.5"),
        (lambda: LeakyCell(VanillaCell(N), float("nan")), "rate must be .* got nan"),
        (lambda: SkipCell(VanillaCell(N), 1), "whole number, 2 or more, got 1"),
        (lambda: SkipCell(VanillaCell(N), 2.5), "whole number, 2 or more, got 2.5"),
        (lambda: TruncatedCell(VanillaCell(N), 0), "whole number, 1 or more, got 0"),
        (lambda: SkipCell(VanillaCell(N), 3.0), "whole number, 2 or more, got 3.0"),
        (lambda: SkipCell(VanillaCell(N), "a"), "whole number, 2 or more, got 'a'"),
        (lambda: TruncatedCell(VanillaCell(N), None), "whole number, 1 or more, got None"),
        (lambda: LeakyCell(VanillaCell(N), "a"), "rate must be above 0 .* got 'a'"),
        (lambda: LeakyCell(nn.Dense(N), 0.5), "RNNCellBase, .* got Dense"),
        (lambda: SkipCell("gru", 2), "RNNCellBase, .* got 'gru'"),
        (lambda: TruncatedCell(nn.RNN(VanillaCell(N)), 2), "RNNCellBase, .* got RNN"),
        (lambda: LeakyCell(SkipCell(VanillaCell(N), 2), 0.5), f"around SkipCell: .*{ORDER}"),
        (lambda: SkipCell(TruncatedCell(VanillaCell(N), 2), 2), f"TruncatedCell: .*{ORDER}"),
        *(
            (
                lambda kind=kind: nn.RNN(LeakyCell(kind(N), 0.5)).init(
                    jax.random.key(0), jnp.zeros((B, T, D))
                ),
                f"has to emit its state.*{name} emits something else",
            )
            for name, kind in {"Emits": Emits, "Projects": nn.remat(Projects)}.items()
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
