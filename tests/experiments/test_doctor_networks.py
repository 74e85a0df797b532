"""The networks that diagnose is calibrated on and judged by: labels, and that they are frozen."""

import dataclasses
import hashlib
import inspect
import json

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from experiments.doctor_calibration import calibration_set, held_out
from experiments.doctor_calibration.networks import BESIDE, CLASSES, Network, check_names

# Of what the held-out networks build, from before any threshold was chosen.
FROZEN = "f00b269de2ef25f444d8c8435e1dd9b3172b805f7723ac1ae0b483581ae86733"
SETS = {"calibration": calibration_set, "held out": held_out}


def described(value) -> object:
    """What a part of a network is made of, without addresses and without Flax's own defaults."""
    if isinstance(value, nn.Module):
        fields = {field.name: field for field in dataclasses.fields(value)}
        given = {
            name: described(getattr(value, name))
            for name, field in fields.items()
            if name not in ("parent", "name") and getattr(value, name) is not field.default
        }
        return [type(value).__name__, given]
    if isinstance(value, (list, tuple)):
        return [described(part) for part in value]
    if callable(value):
        value = inspect.unwrap(value)  # of the run-time check of annotations
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        numbers = [part for part in held if isinstance(part, (int, float, str))]
        return [getattr(value, "__qualname__", str(value)), numbers]
    return value


def built(network: Network) -> object:
    """All that decides what a network is: its model, its numbers, and what changes its parameters.

    The changes are made to this test's own numbers, because those of init differ by rounding from
    one machine to another.
    """
    rng = network.rng
    inputs, _ = network.batch(rng, 2)
    shapes = jax.eval_shape(network.model.init, jax.random.key(0), inputs)
    changed = {}
    for path, leaf in sorted(flatten_dict(shapes, sep="/").items()):
        for end, change in network.changes.items():
            if path.endswith(end):
                old = np.linspace(-1, 2, leaf.size).reshape(leaf.shape)
                new = np.asarray(change(rng, old), float)
                changed[path] = [f"{number:.5g}" for number in new.flat]
    numbers = {
        field.name: getattr(network, field.name)
        for field in dataclasses.fields(network)
        if field.name not in ("model", "changes")
    }
    paths = {path: leaf.shape for path, leaf in flatten_dict(shapes, sep="/").items()}
    return [numbers, described(network.model), paths, changed]


def test_the_held_out_networks_are_those_from_before_any_threshold_was_chosen():
    text = json.dumps([built(network) for network in held_out.NETWORKS], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN


@pytest.mark.parametrize("name", SETS)
def test_there_are_enough_networks_of_each_label(name):
    networks = SETS[name].NETWORKS
    assert len(networks) >= 40
    labels = [network.label for network in networks]
    assert set(labels) == set(BESIDE)
    assert min(map(labels.count, BESIDE)) >= 5
    assert labels.count("healthy") >= len(networks) / 3


def test_no_held_out_network_is_in_the_calibration_set():
    names = [{network.name for network in part.NETWORKS} for part in SETS.values()]
    assert not names[0] & names[1]


def test_what_a_label_excludes():
    networks = {n.name: n for part in SETS.values() for n in part.NETWORKS}
    assert networks["cycle"].excluded == set(BESIDE) - {"healthy"}
    assert networks["two forgetful layers"].excluded == set(BESIDE) - {"vanishing", "short_memory"}
    assert networks["gain 3.0 60"].excluded == set(BESIDE) - {"exploding", "saturated"}


def test_parameters_are_the_same_every_time_and_changed_as_said():
    network = next(n for n in held_out.NETWORKS if n.name == "a dead upper layer")
    first, second = network.variables(), network.variables()
    jax.tree.map(np.testing.assert_array_equal, first, second)
    bias = np.asarray(first["params"]["cells_1"]["i"]["bias"])
    np.testing.assert_array_equal(bias, np.where(np.arange(20) < 18, -20.0, 0.0))
    W = np.asarray(first["params"]["cells_0"]["h"]["kernel"])
    np.testing.assert_allclose(W.T @ W, 0.81 * np.eye(24), atol=1e-5)


def test_batches_ask_for_the_class_of_the_first_step():
    network = held_out.NETWORKS[0]
    inputs, classes = network.batch(np.random.default_rng(0), 3, 5)
    assert inputs.shape == (3, 5, network.length, CLASSES + 2)
    np.testing.assert_array_equal(inputs[..., 0, :CLASSES].argmax(-1), classes)
    assert not inputs[..., 1:, :CLASSES].any()
    assert abs(inputs[..., CLASSES:].std() - network.noise) < 0.05


def test_a_change_that_finds_no_parameter_and_a_name_given_twice_are_refused():
    model = held_out.NETWORKS[0].model
    lost = Network("lost", "", "healthy", model, 5, {"hx/kernel": lambda rng, old: old})
    with pytest.raises(ValueError, match="lost has no parameter …hx/kernel, only params/cell"):
        lost.variables()
    with pytest.raises(ValueError, match="got twice lost"):
        check_names([lost, lost])
