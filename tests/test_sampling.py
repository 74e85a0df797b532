"""Samples are drawn from the softmax of the outputs, each the next input, in both frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn

import torch_ref
from jaxrnn import SequenceModel, VanillaCell, sample
from jaxrnn.convert import from_weights
from tests import numpy_reference as reference
from tests.numpy_reference import C, N


def model():
    return SequenceModel(VanillaCell(N), C)


def weights_of(rng, **changes):
    """Random weights of a network whose inputs are as many as its outputs."""
    return reference.random_weights(rng) | {"W_xh": rng.standard_normal((N, C))} | changes


def draw(weights, prompt, length, temperature=1.0, seed=0):
    return np.asarray(
        sample(
            model(),
            {"params": from_weights(weights)},
            jax.random.key(seed),
            jnp.asarray(prompt),
            length,
            temperature,
        )
    )


def draw_in_torch(weights, prompt, length, temperature=1.0, seed=0):
    network = torch_ref.SequenceModel(torch_ref.VanillaCell(C, N, dtype=torch.float64), C)
    torch_ref.convert.load_weights(network, weights)
    generator = torch.Generator().manual_seed(seed)
    return torch_ref.sample(network, generator, torch.tensor(prompt), length, temperature).numpy()


@pytest.mark.parametrize("draw", [draw, draw_in_torch])
def test_the_draws_follow_the_softmax(rng, draw):
    # Without weights on the past, every token has the probabilities of the readout's bias.
    zeros = {name: np.zeros_like(array) for name, array in weights_of(rng).items()}
    weights = zeros | {"b_y": np.log(np.arange(1.0, C + 1))}
    for temperature in (1.0, 0.5):
        tokens = draw(weights, [0], 4000, temperature)
        expected = np.arange(1.0, C + 1) ** (1 / temperature)
        shares = np.bincount(tokens, minlength=C) / len(tokens)
        # Four standard deviations of a share of 4000 draws, at most √(1/4 / 4000) each.
        np.testing.assert_allclose(shares, expected / expected.sum(), rtol=0, atol=0.032)


@pytest.mark.parametrize("draw", [draw, draw_in_torch])
def test_a_sample_is_a_chain_of_forward_passes_after_its_prompt(rng, draw):
    # Chaotic, and without a favourite token.
    weights = weights_of(rng, b_y=np.zeros(C), W_hh=2 * rng.standard_normal((N, N)))
    prompt = [1, 0, 1, 1]
    tokens = draw(weights, prompt, 30, temperature=1e-4)
    inputs = np.eye(C)[[[*prompt, *tokens[:-1]]]]
    outputs = reference.outputs(weights, reference.hidden_states(weights, inputs))[0, 3:]
    assert len(set(tokens)) > 1
    np.testing.assert_array_equal(tokens, outputs.argmax(axis=-1))


@pytest.mark.parametrize("draw", [draw, draw_in_torch])
def test_a_seed_decides(rng, draw):
    weights = weights_of(rng)
    first = draw(weights, [1], 50)
    np.testing.assert_array_equal(draw(weights, [1], 50), first)
    assert (draw(weights, [1], 50, seed=1) != first).any()


@pytest.mark.parametrize("draw", [draw, draw_in_torch])
@pytest.mark.usefixtures("unchecked")
def test_an_empty_prompt(rng, draw):
    with pytest.raises(ValueError, match="at least one token"):
        draw(weights_of(rng), np.zeros(0, int), 5)


@pytest.mark.parametrize("cell", [nn.GRUCell(N), nn.OptimizedLSTMCell(N)])
def test_any_cell(cell):
    network = SequenceModel(cell, C)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 1, C)))
    prompt = jnp.array([1, 0])
    tokens = sample(network, variables, jax.random.key(0), prompt, 6, 1e-4)
    inputs = jax.nn.one_hot(jnp.array([[1, 0, *tokens[:-1]]]), C)
    np.testing.assert_array_equal(tokens, network.apply(variables, inputs)[0, 1:].argmax(-1))
