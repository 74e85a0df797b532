"""Numbers as they come from the device, made into evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.diagnosis.measure_network import _evidence
from jaxrnn.diagnostics import LayerObservation, Observation

T, B, N = 3, 2, 4


def numbers(**changes):
    """What _numbers gives of a healthy model of one layer."""
    layer = {
        "steps": T,
        "memory": np.array([0.5, 0.6, 0.8, 1.0]),
        "gradient": np.array([0.1, 0.2, 0.3, 0.4]),
        "memory_rate": np.float32(0.8),
        "horizon": np.int32(3),
        "saturated": np.float32(np.nan),
        "dead": np.float32(0.25),
        "finite": np.array([True] * 4),
    }
    layer |= changes.pop("layer", {})
    finite = {
        "inputs": {"": True},
        "params": {"cell/h/kernel": True},
        "outputs": {"": True},
        "targets": {"": True},
    }
    finite = {name: finite[name] | changes.pop(name, {}) for name in finite}
    plain = {
        "loss": np.float32(2.0),
        "gradients": {"cell/h/kernel": np.float32(3.0), "cell/i/bias": np.float32(4.0)},
        "early_share": np.float32(0.5),
        "is_fresh": np.bool_(True),
        "layers": {"cell": layer, "cell#2": layer},
        "kernels": {"cell/h/kernel": (0.9, np.array([1.5, 0.5])), "cellar/h/kernel": (1.0, [1.0])},
        "finite": finite,
    }
    return plain | changes


def evidence(**changes):
    states = jax.ShapeDtypeStruct((T + 1, B, N), jnp.float32)
    layer = LayerObservation(states, None, "GRUCell", "tanh")
    return _evidence(numbers(**changes), Observation(0, 0, {"cell": layer, "cell#2": layer}, 0))


def test_plain_numbers():
    seen = evidence()
    assert (seen.loss, seen.gradient_norm, seen.early_share) == (2.0, 5.0, 0.5)
    assert seen.not_finite is None
    assert seen.is_fresh is True
    # A cell that is run twice has its kernels twice, and none of a cell with a longer name.
    for path in ("cell", "cell#2"):
        layer = seen.layers[path]
        assert (layer.steps, layer.units, layer.first_not_finite) == (T, N, None)
        assert (layer.memory_left, layer.memory_largest) == (0.5, 1.0)
        assert list(layer.kernels) == ["cell/h/kernel"]
        assert layer.kernels["cell/h/kernel"].spectral_norm == 1.5
    assert all(type(m) is float for m in layer.memory + layer.gradient)


PLACES = [
    ({"inputs": {"": False}}, "inputs"),
    ({"inputs": {"": True, "words": False}}, "inputs words"),
    ({"params": {"cell/h/kernel": False}}, "parameter cell/h/kernel"),
    ({"layer": {"finite": np.array([True, True, False, False])}}, "h_2 of cell"),
    ({"outputs": {"": False}}, "outputs"),
    ({"loss": np.float32(np.nan), "targets": {"": False}}, "targets"),
    ({"loss": np.float32(np.inf)}, "the loss"),
    ({"gradients": {"a": np.float32(1), "b": np.float32(np.nan)}}, "the gradient of b"),
]


@pytest.mark.parametrize(("changes", "place"), PLACES)
def test_the_first_place_that_is_not_finite(changes, place):
    assert evidence(**changes).not_finite == place


def test_targets_that_the_loss_leaves_out_may_be_nan():
    assert evidence(targets={"": False}).not_finite is None


@pytest.mark.parametrize("first", range(len(PLACES) - 1))
def test_of_two_places_the_earlier_is_named(first):
    (earlier, place), (later, _) = PLACES[first], PLACES[first + 1]
    merged = later | earlier
    assert evidence(**merged).not_finite == place
