"""The layer inside a user's own model; see also test_bptt.py, test_model.py and test_stacked.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import VanillaCell
from jaxrnn.diagnostics import observe
from jaxrnn.recurrent_layer import RecurrentLayer
from tests.numpy_reference import B, D, N, T
from tests.trees import assert_trees_close

LENGTHS = jnp.asarray([2, T, 3])


class Doubled(nn.Module):
    """Two times the states, read out by a plain function."""

    recurrence: str | None = None
    last_only: bool = False
    recompute: bool = False

    @nn.compact
    def __call__(self, inputs, **options):
        cell = VanillaCell(N, "modrelu", param_dtype=jnp.float64)
        layer = RecurrentLayer(cell, self.last_only, self.recurrence, self.recompute)
        return layer(inputs, lambda h: 2 * h, **options)


def random_problem(rng):
    inputs = jnp.asarray(rng.standard_normal((B, T, D)))
    variables = Doubled().init(jax.random.key(0), inputs)
    noise = iter(rng.standard_normal((100, D * N + N * N)))
    return inputs, jax.tree.map(
        lambda leaf: leaf + 0.1 * next(noise)[: leaf.size].reshape(leaf.shape), variables
    )


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("options", [{}, {"seq_lengths": LENGTHS}, {"reverse": True}])
def test_both_ways_to_run_it_agree(last_only, options, rng, x64):
    inputs, variables = random_problem(rng)
    carry, outputs = Doubled("scan", last_only).apply(variables, inputs, **options)
    assert outputs.shape == ((B, N) if last_only else (B, T, N))
    if last_only:
        np.testing.assert_array_equal(outputs, 2 * carry)
    for recompute in (False, True):
        fused = Doubled("fused", last_only, recompute)
        # Rounding of T steps of sums of N + D products of size one.
        assert_trees_close(
            fused.apply(variables, inputs, **options), (carry, outputs), rtol=0, atol=1e-13
        )


def test_it_is_observed_as_it_runs(rng, x64):
    inputs, variables = random_problem(rng)

    def loss_fn(outputs, targets):
        return jnp.sum(outputs[1] ** 2)

    def plain(variables):
        return loss_fn(Doubled().apply(variables, inputs), None)

    seen = observe(Doubled(), variables, (inputs, None), loss_fn)
    layer = seen.layers["VanillaCell_0"]
    _, outputs = Doubled().apply(variables, inputs)
    np.testing.assert_allclose(2 * layer.states[1:].swapaxes(0, 1), outputs, rtol=0, atol=1e-13)
    # Sums of B·T products more.
    assert_trees_close(seen.gradients, jax.grad(plain)(variables)["params"], rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match="recompute needs the fused recurrence"):
        observe(Doubled("scan", recompute=True), variables, (inputs, None), loss_fn)


def test_its_only_parameters_are_the_cells(rng, x64):
    _, variables = random_problem(rng)
    assert variables["params"].keys() == {"VanillaCell_0"}
    assert variables["params"]["VanillaCell_0"].keys() == {"i", "h", "modrelu_bias"}


def test_the_initial_carry_is_the_state_before_the_first_step(rng, x64):
    inputs, variables = random_problem(rng)
    model = Doubled()
    carry, first = model.apply(variables, inputs[:, :2])
    _, rest = model.apply(variables, inputs[:, 2:], initial_carry=carry)
    _, whole = model.apply(variables, inputs)
    np.testing.assert_allclose(jnp.concatenate([first, rest], 1), whole, rtol=0, atol=1e-13)
