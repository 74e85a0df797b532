"""Padding: whatever stands in it changes nothing, for any cell, path and direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, StackedModel, VanillaCell, initializers
from jaxrnn.diagnostics import observe
from jaxrnn.sequences import valid_lengths
from jaxrnn.wrappers import LeakyCell, SkipCell, TruncatedCell
from tests.numpy_reference import D, N, T
from tests.trees import assert_trees_close

LENGTHS = jnp.array([3, T, 0, 3])
B, C = len(LENGTHS), 2

CELLS = {
    "tanh": VanillaCell(N),
    "relu": VanillaCell(N, "relu", recurrent_kernel_init=initializers.identity(1.5)),
    "modrelu": VanillaCell(N, "modrelu"),
    "simple": nn.SimpleCell(N),
    "gru": nn.GRUCell(N),
    "mgu": nn.MGUCell(N),
    "lstm": nn.LSTMCell(N),
    "optimised lstm": nn.OptimizedLSTMCell(N),
    "leaky": LeakyCell(nn.LSTMCell(N), rate=0.4),
    "skip": SkipCell(VanillaCell(N), steps=2),
    "truncated": TruncatedCell(nn.GRUCell(N), steps=2),
    "remat": nn.remat(nn.GRUCell)(N),
}
FUSED = ("tanh", "relu", "modrelu")
IN_REVERSE = ("tanh", "lstm", "truncated")  # compared with the sequences alone that way too
CASES = [
    *((name, {"recurrence": "scan"}) for name in CELLS),
    *((name, {"recurrence": "fused"}) for name in FUSED),
    *((name, {"recompute": True}) for name in FUSED),
]


def padded(x, fill):
    """Sequences (B, T, D) with ``fill`` behind each one's last step."""
    return jnp.where((jnp.arange(T) < LENGTHS[:, None])[..., None], x, fill)


def squares(model, reverse):
    """A loss of the valid outputs and of the last carry, which are returned too."""

    def loss_fn(variables, inputs, carry, lengths):
        last, outputs = model.apply(
            variables,
            inputs,
            initial_carry=carry,
            return_carry=True,
            seq_lengths=lengths,
            reverse=reverse,
        )
        valid = jnp.arange(inputs.shape[1]) < jnp.asarray(lengths)[:, None]
        reals = [h for h in jax.tree.leaves(last) if jnp.issubdtype(h.dtype, jnp.floating)]
        total = jnp.sum(jnp.where(valid[..., None], outputs, 0) ** 2)
        return total + sum(jnp.sum(h**2) for h in reals), (last, outputs)

    return jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1, 2), has_aux=True, allow_int=True))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_padding_changes_nothing(name, options, reverse, rng, x64):
    model = SequenceModel(CELLS[name], C, param_dtype=jnp.float64, **options)
    x = jnp.asarray(rng.standard_normal((B, T, D)))
    variables = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(0), x)
    )
    carry = jax.tree.map(
        lambda h: jnp.asarray(rng.standard_normal(h.shape)) if h.dtype.kind == "f" else h,
        CELLS[name].initialize_carry(jax.random.key(0), (B, D)),
    )
    function = squares(model, reverse)
    (loss, others), gradients = function(variables, padded(x, 0.0), carry, LENGTHS)
    assert np.isfinite(loss)
    # To the last bit: the numbers in the padding are replaced before anything is computed.
    for fill in (np.nan, np.inf, 1e30):
        again = function(variables, padded(x, fill), carry, LENGTHS)
        jax.tree.map(np.testing.assert_array_equal, again, ((loss, others), gradients))
    if reverse and name not in IN_REVERSE:
        return
    # The right values: each sequence alone, without padding. An empty one keeps its carry.
    alone = [
        function(
            variables,
            x[b : b + 1, :length],
            jax.tree.map(lambda h, b=b: h[b : b + 1], carry),
            LENGTHS[b : b + 1],
        )
        for b, length in enumerate(LENGTHS)
        if length
    ]
    empty = [h[2] for h in jax.tree.leaves(carry) if h.dtype.kind == "f"]
    right = sum(value for (value, _), _ in alone) + sum(np.sum(h**2) for h in empty)
    np.testing.assert_allclose(loss, right, rtol=1e-12)  # sums of some hundred squares
    total = jax.tree.map(lambda *each: sum(each), *(gradient[0] for _, gradient in alone))
    assert_trees_close(gradients[0], total, rtol=1e-10, atol=1e-10)
    for ((_, (last, outputs)), _), b in zip(alone, (0, 1, 3), strict=True):
        np.testing.assert_allclose(others[1][b, : LENGTHS[b]], outputs[0], rtol=1e-12, atol=1e-12)
        mine = jax.tree.map(lambda h, b=b: h[b : b + 1], others[0])
        assert_trees_close(mine, last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"recurrence": "scan"}, {}, {"recompute": True}])
def test_a_net_that_would_overflow_in_the_padding(options, rng):
    """W_hh = 1.5 I over 400 steps of zeros: 1.5^400 is more than float32 holds."""
    cell = VanillaCell(N, "relu", recurrent_kernel_init=initializers.identity(1.5))
    model = SequenceModel(cell, C, last_only=True, **options)
    x = jnp.asarray(rng.standard_normal((2, 400, D)), jnp.float32)
    variables = model.init(jax.random.key(0), x)

    def loss_fn(variables, inputs, lengths=None):
        return jnp.sum(model.apply(variables, inputs, seq_lengths=lengths) ** 2)

    gradients = jax.grad(loss_fn)(variables, x, jnp.array([5, 5]))
    # float32 sums of some ten products.
    assert_trees_close(gradients, jax.grad(loss_fn)(variables, x[:, :5]), rtol=1e-5, atol=1e-6)


def test_outputs_and_carry_stay_in_the_padding(rng):
    model = SequenceModel(nn.LSTMCell(N), C)
    x = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    variables = model.init(jax.random.key(0), x)
    outputs = model.apply(variables, x, seq_lengths=LENGTHS)
    for b in (0, 3):
        np.testing.assert_array_equal(outputs[b, 3:], np.repeat(outputs[b, 2:3], T - 3, 0))


def test_layers_on_top_of_each_other(rng):
    model = StackedModel([nn.GRUCell(N), VanillaCell(N + 1)], C, last_only=True)
    x = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    variables = model.init(jax.random.key(0), x)

    def loss_fn(variables, inputs):
        return jnp.sum(model.apply(variables, inputs, seq_lengths=LENGTHS) ** 2)

    right = jax.grad(loss_fn)(variables, padded(x, 0.0))
    for fill in (np.nan, np.inf):
        found = jax.grad(loss_fn)(variables, padded(x, fill))
        jax.tree.map(np.testing.assert_array_equal, found, right)


@pytest.mark.parametrize("cell", [VanillaCell(N), nn.GRUCell(N)], ids=["vanilla", "gru"])
@pytest.mark.parametrize("reverse", [False, True])
def test_observed_gradients(cell, reverse, rng):
    """What the diagnostics see is what the model does."""
    model = SequenceModel(cell, C)
    x = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    variables = model.init(jax.random.key(0), x)

    class Padded(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            return SequenceModel(cell, C, last_only=True)(
                inputs, seq_lengths=LENGTHS, reverse=reverse
            )

    variables = Padded().init(jax.random.key(0), x)

    def loss_fn(outputs, targets):
        return jnp.sum(outputs**2)

    def plain(variables):
        return loss_fn(Padded().apply(variables, padded(x, 0.0)), None)

    seen = observe(Padded(), variables, (padded(x, np.nan), None), loss_fn)
    # float32 sums of some ten products.
    assert_trees_close(seen.gradients, jax.grad(plain)(variables)["params"], rtol=1e-5, atol=1e-6)
    (layer,) = seen.layers.values()
    moves = np.abs(layer.state_gradients).max(axis=-1) > 0
    np.testing.assert_array_equal(moves[1:], np.arange(T)[:, None] < LENGTHS)


def outside(lengths, **options):
    model = SequenceModel(VanillaCell(N), C, **options)
    x = jnp.ones((2, T, D))
    return model.apply(model.init(jax.random.key(0), x), x, seq_lengths=jnp.asarray(lengths))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (np.array([2, T + 1]), rf"seq_lengths must be from 0 to T = {T}, got \[{T + 1}\]"),
        (np.array([-1, 2]), rf"seq_lengths must be from 0 to T = {T}, got \[-1\]"),
        (np.array([1, 2, 3]), r"integers of shape \(2,\), .* got int\d+ of shape \(3,\)"),
        (np.array([[1, 2]]), r"integers of shape \(2,\)"),
        (np.array([1.0, 2.0]), r"integers of shape \(2,\), .* got float32"),
    ],
)
@pytest.mark.parametrize("recurrence", ["scan", "fused"])
def test_bad_lengths_are_named(lengths, message, recurrence, unchecked):
    with pytest.raises(ValueError, match=message):
        outside(lengths, recurrence=recurrence)


@pytest.mark.parametrize("options", [{"recurrence": "scan"}, {}, {"recompute": True}])
def test_under_jit_a_length_outside_counts_as_the_nearest(options):
    run = jax.jit(lambda lengths: outside(lengths, last_only=True, **options))
    np.testing.assert_array_equal(run(jnp.array([-3, T + 2])), run(jnp.array([0, T])))


def test_lengths_within_bounds():
    lengths = valid_lengths([0, T, 2], (3,), T)
    np.testing.assert_array_equal(lengths, [0, T, 2])


def test_a_carry_of_another_batch_is_named(rng):
    for cell in (VanillaCell(N), nn.LSTMCell(N)):
        model = SequenceModel(cell, C)
        x = jnp.ones((2, T, D))
        variables = model.init(jax.random.key(0), x)
        carry = cell.initialize_carry(jax.random.key(0), (3, D))
        with pytest.raises(ValueError, match=r"initial_carry must have the batch axes \(2,\)"):
            model.apply(variables, x, initial_carry=carry)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16])
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_of_few_bits_do_not_wrap(rng, dtype, reverse, unchecked):
    """T is 300, which 8 bits do not hold."""
    model = SequenceModel(VanillaCell(3), 1, last_only=True)
    inputs = jnp.asarray(rng.standard_normal((2, 300, 2)), jnp.float32)
    variables = model.init(jax.random.key(0), inputs)

    def outputs(lengths):
        return model.apply(variables, inputs, seq_lengths=lengths, reverse=reverse)

    expected = outputs(jnp.array([100, 7]))
    narrow = jnp.array([100, 7], dtype)
    np.testing.assert_array_equal(outputs(narrow), expected)
    np.testing.assert_allclose(jax.jit(outputs)(narrow), expected, rtol=1e-6)
