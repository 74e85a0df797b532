"""Samples are drawn from the softmax of the outputs, each the next input, in both frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn

import torch_ref
from jaxrnn import SequenceModel, StackedModel, VanillaCell, numpy_rnn, sample
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


def draw_in_numpy(weights, prompt, length, temperature=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(numpy_rnn.sample(weights, rng, length, prompt, temperature))


EVERYWHERE = pytest.mark.parametrize("draw", [draw, draw_in_torch, draw_in_numpy])


@EVERYWHERE
@pytest.mark.parametrize("temperature", [0.0, 1e-320, 1e-44, 1e-38, 1e-30])
def test_no_temperature_is_too_cold(rng, draw, temperature):
    """The likeliest, though logits of 40 and 50 over 1e-38 are both infinite."""
    zeros = {name: np.zeros_like(array) for name, array in weights_of(rng).items()}
    b_y = np.full(C, 40.0)
    b_y[C - 1] = 50.0
    tokens = draw(zeros | {"b_y": b_y}, [0], 5, temperature)
    np.testing.assert_array_equal(tokens, np.full(5, C - 1))


@EVERYWHERE
@pytest.mark.parametrize("temperature", [-1.0, np.nan, np.inf])
def test_bad_temperatures_are_named(rng, draw, temperature):
    with pytest.raises(ValueError, match="temperature must be 0 or more and finite, got"):
        draw(weights_of(rng), [0], 5, temperature)


@EVERYWHERE
def test_bad_lengths_and_prompts_are_named(rng, draw):
    weights = weights_of(rng)
    with pytest.raises(ValueError, match=r"length must be .*0 or more, got -1"):
        draw(weights, [0], -1)
    with pytest.raises(ValueError, match="at least one token"):
        draw(weights, np.zeros(0, int), 5)
    assert len(draw(weights, [0], 0)) == 0


@pytest.mark.parametrize("draw", [draw, draw_in_torch])
def test_tokens_that_there_are_not_are_named(rng, draw):
    for token in (-1, C):
        with pytest.raises(ValueError, match=rf"prompt must be from 0 to {C - 1}, got .*{token}"):
            draw(weights_of(rng), [0, token], 5)


def test_models_that_are_sampled_from():
    prompt, key = jnp.array([0]), jax.random.key(0)
    last = SequenceModel(VanillaCell(N), C, last_only=True)
    variables = last.init(key, jnp.zeros((1, 1, C)))
    with pytest.raises(ValueError, match="got last_only=True"):
        sample(last, variables, key, prompt, 3)
    stacked = StackedModel([VanillaCell(N), VanillaCell(N)], C)  # a list, which has no hash
    variables = stacked.init(key, jnp.zeros((1, 1, C)))
    assert sample(stacked, variables, key, prompt, 3).shape == (3,)
