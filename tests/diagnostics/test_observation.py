"""``observe`` against loops in plain Python, and against JAX's own gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, VanillaCell, bptt
from jaxrnn.diagnostics import observe, observe_memory
from tests.diagnostics.unrolled import CASES, LENGTHS, Stacked, layer, random_problem
from tests.numpy_reference import B, C, D, N, T
from tests.trees import assert_trees_close

# Rounding of T steps of sums of some 2N products of size one, there and back, relative to the
# largest number in an array.
ROUNDING = 1e-13


def loss_fn(outputs, targets):
    return jnp.sum((outputs - targets) ** 2) / 2


def directions(rng, like):
    return jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), like)


def dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_loss_gradients_and_states_are_those_of_a_loop(name, rng, x64):
    case = CASES[name]
    variables, inputs = random_problem(rng, case.model)
    shape = jax.eval_shape(case.model.apply, variables, inputs).shape
    targets = jnp.asarray(rng.standard_normal(shape))
    seen = jax.jit(lambda v, batch: observe(case.model, v, batch, loss_fn))(
        variables, (inputs, targets)
    )
    zeros = {path: jax.tree.map(jnp.zeros_like, seen.layers[path].states) for path in seen.layers}

    def plain(params):
        return loss_fn(case.model.apply({"params": params}, inputs), targets)

    @jax.jit
    def unrolled(eps):
        outputs, states = case.unrolled(variables["params"], inputs, eps)
        return loss_fn(outputs, targets), states

    loss, states = unrolled(zeros)
    np.testing.assert_allclose(seen.loss, loss, rtol=ROUNDING)
    np.testing.assert_allclose(loss_fn(seen.outputs, targets), loss, rtol=ROUNDING)
    gradients = jax.jit(jax.grad(plain))(variables["params"])
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gradients))
    assert_trees_close(seen.gradients, gradients, rtol=0, atol=ROUNDING * largest)
    for path, observed in seen.layers.items():
        assert_trees_close(observed.states, states[path], rtol=0, atol=ROUNDING)
        # Central differences along a random direction of h_t, for one t after the other: off by
        # step² of the third derivative, and by rounding, eps/step = 2e-10.
        step, scale = 1e-6, np.sqrt(dot(observed.state_gradients, observed.state_gradients))
        for t in range(T + 1):
            u = jax.tree.map(
                lambda leaf, t=t: leaf.at[:t].set(0).at[t + 1 :].set(0),
                directions(rng, zeros[path]),
            )
            plus, minus = (
                unrolled({**zeros, path: jax.tree.map(lambda leaf, s=s: s * leaf, u)})[0]
                for s in (step, -step)
            )
            measured = (plus - minus) / (2 * step)
            np.testing.assert_allclose(
                dot(observed.state_gradients, u), measured, rtol=0, atol=1e-8 * scale
            )


@pytest.mark.parametrize("length", [1, 2, 4])
def test_chunks_make_no_difference(length, rng, x64, monkeypatch):
    cells = [VanillaCell(N, name, param_dtype=jnp.float64) for name in ("modrelu", "tanh")]
    model = nn.Sequential([nn.RNN(cell) for cell in cells])
    variables, inputs = random_problem(rng, model)
    targets = jnp.asarray(rng.standard_normal((B, T, N)))

    def measure():
        return jax.jit(lambda v: observe(model, v, (inputs, targets), loss_fn))(variables)

    whole = measure()
    monkeypatch.setattr(bptt, "CHUNK_BYTES", length * B * N * 8)
    chunked = measure()
    plain = jax.jit(jax.grad(lambda v: loss_fn(model.apply(v, inputs), targets)))(variables)
    # Sums of the same products in another order.
    assert_trees_close(chunked.gradients, plain["params"], rtol=0, atol=100 * ROUNDING)
    assert_trees_close(chunked.gradients, whole.gradients, rtol=0, atol=100 * ROUNDING)
    assert_trees_close(chunked.layers, whole.layers, rtol=0, atol=100 * ROUNDING)


def test_shapes_and_names(rng, x64):
    variables, inputs = random_problem(rng, Stacked())
    seen = jax.eval_shape(lambda v: observe(Stacked(), v, (inputs, 0), loss_fn), variables)
    assert seen.outputs.shape == (B, T, C)
    first, second = seen.layers["VanillaCell_0"], seen.layers["OptimizedLSTMCell_0"]
    assert (first.cell, first.activation) == ("VanillaCell", "tanh")
    assert (second.cell, second.activation) == ("OptimizedLSTMCell", "tanh")
    assert first.states.shape == first.state_gradients.shape == (T + 1, B, N)
    for carry in (second.states, second.state_gradients):
        assert jax.tree.map(jnp.shape, carry) == 2 * ((T + 1, B, N + 2),)


@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_any_batch_axes(batch, rng, x64):
    model = nn.RNN(VanillaCell(N, param_dtype=jnp.float64))
    variables, inputs = random_problem(rng, model)
    whole = jnp.stack([inputs, 2 * inputs])
    x = {0: inputs[1], 1: inputs, 2: whole}[len(batch)]

    @jax.jit
    def measure(x):
        return observe(model, variables, (x, 0), loss_fn).layers["cell"]

    seen = measure(x)
    assert seen.states.shape == seen.state_gradients.shape == (T + 1, *batch, N)
    one = measure(inputs[1:2])
    pick = {0: (), 1: (1,), 2: (0, 1)}[len(batch)]
    for ours, theirs in ((seen.states, one.states), (seen.state_gradients, one.state_gradients)):
        np.testing.assert_allclose(ours[(slice(None), *pick)], theirs[:, 0], atol=ROUNDING, rtol=0)


def test_float32_stays_float32_and_bfloat16_bfloat16(rng):
    inputs = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    for cell in (VanillaCell(N), nn.LSTMCell(N), VanillaCell(N, dtype=jnp.bfloat16)):
        model = SequenceModel(cell, C)
        variables = jax.eval_shape(model.init, jax.random.key(0), inputs)
        seen = jax.eval_shape(
            lambda v, model=model: observe(model, v, (inputs, 0), loss_fn), variables
        )
        expected = cell.dtype or jnp.float32
        states = jax.tree.leaves([seen.layers["cell"].states, seen.layers["cell"].state_gradients])
        assert {leaf.dtype for leaf in states} == {jnp.dtype(expected)}
        leaves = jax.tree.leaves([seen.loss, seen.gradients])
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}


class Counting(nn.RNNCellBase):
    """A GRU whose carry also holds a counter and a key, which have no gradient."""

    @nn.compact
    def __call__(self, carry, inputs):
        h, count, key = carry
        h, y = nn.GRUCell(N, param_dtype=jnp.float64, name="gru")(h, inputs)
        return (h, count + 1, key), y

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], N)), jnp.zeros((), jnp.int32), jax.random.key(3)

    @property
    def num_feature_axes(self):
        return 1


def test_a_carry_may_hold_counters_and_keys(rng, x64):
    model = nn.RNN(Counting())
    variables, inputs = random_problem(rng, model)
    seen = jax.jit(lambda v: observe(model, v, (inputs, 0), loss_fn))(variables).layers["cell"]
    plain = nn.RNN(nn.GRUCell(N, param_dtype=jnp.float64))
    params = {"params": {"cell": variables["params"]["cell"]["gru"]}}
    expected = jax.jit(lambda v: observe(plain, v, (inputs, 0), loss_fn))(params).layers["cell"]
    np.testing.assert_array_equal(seen.states[1], np.arange(T + 1))
    np.testing.assert_allclose(seen.states[0], expected.states, rtol=0, atol=ROUNDING)
    gradients = jax.tree.leaves(seen.state_gradients)
    np.testing.assert_allclose(gradients[0], expected.state_gradients, rtol=0, atol=ROUNDING)
    assert not any(leaf.any() for leaf in gradients[1:])


# The memory


def test_memory_is_a_unit_vector_times_the_jacobians_of_each_layer_alone(rng, x64):
    variables, inputs = random_problem(rng, Stacked())
    key = jax.random.key(5)
    seen = jax.jit(lambda v, x: observe_memory(Stacked(), v, x, key))(variables, inputs)
    params = variables["params"]
    cells = {"VanillaCell_0": VanillaCell(N), "OptimizedLSTMCell_0": nn.OptimizedLSTMCell(N + 2)}
    x = inputs
    for path, cell in cells.items():
        states, gradients = seen[path].states, seen[path].state_gradients
        v = jax.tree.map(lambda leaf: leaf[-1], gradients)
        lengths = sum(jnp.sum(leaf**2, axis=-1) for leaf in jax.tree.leaves(v))
        np.testing.assert_allclose(lengths, np.ones(B), rtol=1e-14)

        def signal(eps, path=path, cell=cell, x=x, v=v):
            states, _ = layer(cell, params[path], x, eps)
            return dot(v, [leaf[-1] for leaf in jax.tree.leaves(states)])

        expected = jax.jit(jax.grad(signal))(jax.tree.map(jnp.zeros_like, states))
        assert_trees_close(gradients, expected, rtol=0, atol=ROUNDING)
        x = jax.tree.leaves(states)[-1][1:].swapaxes(0, 1)
    flat = [
        np.asarray(leaf[-1]).ravel()
        for path in seen
        for leaf in jax.tree.leaves(seen[path].state_gradients)
    ]
    assert len({tuple(v[:3]) for v in flat}) == 3, "every layer and leaf has its own direction"


def test_memory_is_on_average_the_norm_of_the_jacobian(rng, x64):
    model = nn.RNN(VanillaCell(N, param_dtype=jnp.float64))
    variables, inputs = random_problem(rng, model)
    x, cell = inputs[:1], VanillaCell(N)

    def last(h_0):
        return layer(cell, variables["params"]["cell"], x, jnp.zeros((T + 1, 1, N)), h_0)[0][-1, 0]

    jacobian = jax.jit(jax.jacfwd(last))(jnp.zeros((1, N)))
    keys = jax.random.split(jax.random.key(0), 4000)
    profiles = jax.jit(
        jax.vmap(lambda key: observe_memory(model, variables, x, key)["cell"].state_gradients[0])
    )(keys)
    squares = np.sum(np.asarray(profiles) ** 2, axis=(1, 2))
    expected = np.sum(np.asarray(jacobian) ** 2) / N
    # Four standard errors of the mean.
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(len(keys))
    assert squares.std() / np.sqrt(len(keys)) < 0.05 * expected


def test_memory_begins_at_the_last_valid_step(rng, x64):
    model = CASES["seq_lengths"].model
    variables, inputs = random_problem(rng, model)
    layers = jax.jit(lambda v: observe_memory(model, v, inputs, jax.random.key(1)))(variables)
    sizes = np.linalg.norm(layers["inner/cell"].state_gradients, axis=-1)
    for b, length in enumerate(LENGTHS):
        np.testing.assert_allclose(sizes[length, b], 1, rtol=1e-14)
        assert not sizes[length + 1 :, b].any()
        assert sizes[: length + 1, b].all()


@pytest.mark.parametrize("kind", [VanillaCell, nn.GRUCell, nn.OptimizedLSTMCell])
def test_a_cell_in_remat_is_seen_as_the_cell_itself(kind, rng, x64):
    wide = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    models = [nn.RNN(cell(N, **wide)) for cell in (kind, nn.remat(kind))]
    variables, inputs = random_problem(rng, models[0])
    one, other = (
        jax.jit(lambda v, m=m: observe(m, v, (inputs, 0), lambda y, _: (y**2).sum()))(variables)
        for m in models
    )
    assert one.layers["cell"].cell == other.layers["cell"].cell == kind.__name__
    assert_trees_close(other, one, rtol=ROUNDING, atol=ROUNDING)


# Bad input


class ByHand(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(C)(inputs)


class Lifted(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.remat(nn.RNN)(nn.GRUCell(N))(inputs)


class Emits(VanillaCell):
    def __call__(self, carry, inputs):
        h, _ = super().__call__(carry, inputs)
        return h, 2 * h


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ByHand(), "looked for nn.RNN and SequenceModel, found ByHand, Dense"),
        (Lifted(), "inside a transformation"),
        (nn.RNN(Emits(N)), "has to emit its state.*Emits emits something else"),
        (
            SequenceModel(nn.GRUCell(N), C, recurrence="fused"),
            "fused recurrence runs a VanillaCell",
        ),
    ],
)
def test_a_model_that_cannot_be_observed_is_named(model, message, rng):
    inputs = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    plain = SequenceModel(nn.GRUCell(N), C) if isinstance(model, SequenceModel) else model
    variables = plain.init(jax.random.key(0), inputs)
    with pytest.raises(ValueError, match=message):
        observe(model, variables, (inputs, 0), loss_fn)
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda v: observe_memory(model, v, inputs, jax.random.key(0)))(variables)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variables": {"cell": 1}}, '"params", got cell'),
        ({"batch": jnp.zeros((B, T, D))}, r"\(inputs, targets\)"),
        ({"batch": (1, 2, 3)}, r"\(inputs, targets\)"),
        ({"loss_fn": lambda y, t: y}, r"scalar, got shape \(3, 5, 2\)"),
        ({"loss_fn": lambda y, t: jnp.argmax(y)}, "loss must be real numbers, got int"),
        ({"model": SequenceModel(VanillaCell(N), C), "call": True}, "outputs must be real.*int"),
    ],
)
def test_bad_arguments_are_named(change, message, rng):
    inputs = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    model = SequenceModel(VanillaCell(N), C)
    variables = model.init(jax.random.key(0), inputs)
    if change.pop("call", False):

        class Classifies(nn.Module):
            @nn.compact
            def __call__(self, inputs):
                return SequenceModel(VanillaCell(N), C)(inputs).argmax(-1)

        model = Classifies()
        change = {"model": model, "variables": model.init(jax.random.key(0), inputs)}
    arguments = {"model": model, "variables": variables, "batch": (inputs, 0), "loss_fn": loss_fn}
    with pytest.raises(ValueError, match=message):
        observe(**(arguments | change))
