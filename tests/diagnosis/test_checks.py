"""Bad input is refused by name; nothing is compiled for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, VanillaCell, diagnose
from jaxrnn.diagnosis import HistoryThresholds, Thresholds

# Users have no run-time check of annotations that would refuse some of it first.
pytestmark = pytest.mark.usefixtures("unchecked")
B, T, D, N, C = 3, 5, 2, 4, 6
MODEL = SequenceModel(VanillaCell(N), C)
INPUTS = np.linspace(-1, 1, B * T * D, dtype=np.float32).reshape(B, T, D)


def loss_fn(outputs, targets):
    return jnp.mean(outputs**2)


def variables_of(model, inputs=INPUTS):
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1, leaf.dtype), shapes)


class Feedforward(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(C)(inputs)


class Classes(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return SequenceModel(VanillaCell(N), C)(inputs).argmax(-1)


class Words(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.RNN(nn.GRUCell(N))(nn.Embed(7, D)(inputs))


class Normed(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        x = nn.BatchNorm(use_running_average=True)(inputs)
        return nn.RNN(nn.GRUCell(N))(nn.Dropout(0.5, deterministic=not self.drops)(x))

    drops: bool = False


def refused(
    message, model=MODEL, variables=None, inputs=INPUTS, loss=loss_fn, targets=0, **options
):
    variables = variables_of(model) if variables is None else variables
    with pytest.raises(ValueError, match=message):
        diagnose(model, variables, (inputs, targets), loss, **options)


def changed(path, value):
    """Parameters with one replaced, or taken away where the value is None."""
    variables = variables_of(MODEL)
    *parents, last = path.split("/")
    node = variables["params"]
    for name in parents:
        node = node.setdefault(name, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return variables


def test_models():
    refused("no recurrent layer to observe.*found Dense, Feedforward", Feedforward())
    refused("outputs must be real numbers, got int32", Classes())
    refused("model must be a flax.linen module, got NoneType", None, variables_of(MODEL))
    refused("loss_fn must be a function, got NoneType", loss=None)


def test_other_variables():
    variables = variables_of(Normed())
    params = {"params": variables["params"]}
    refused("does not run with the variables params: .*batch_stats", Normed(), params)
    stats = jax.tree.map(lambda leaf: jnp.ones(N + 1), variables["batch_stats"])
    refused(
        r"batch_stats BatchNorm_0/mean must be \(2,\), got \(5,\)",
        Normed(),
        params | {"batch_stats": stats},
    )
    refused("does not run with the variables .*dropout", Normed(drops=True), variables)


def test_parameters():
    refused("parameters lack cell/h/kernel", variables=changed("cell/h/kernel", None))
    refused("no parameter cell/h/bias; it has", variables=changed("cell/h/bias", jnp.ones(N)))
    refused(
        r"cell/h/kernel must be \(4, 4\), got \(4, 5\)",
        variables=changed("cell/h/kernel", jnp.ones((N, N + 1))),
    )
    refused(
        "cell/i/bias must be real, got int32", variables=changed("cell/i/bias", jnp.ones(N, int))
    )
    refused('must have "params", got cell', variables={"cell": {}})
    refused('must have "params", got none', variables={})
    refused('must have "params", got list', variables=[1])


@pytest.mark.parametrize("shape", [(0, T, D), (B, 0, D), (B, T, 0)])
def test_empty_batches(shape):
    refused("the batch is empty: inputs of shape", inputs=np.zeros(shape, np.float32))
    refused("the batch is empty: targets of shape", targets=np.zeros(shape, np.float32))


def test_what_is_no_array_of_numbers():
    refused("inputs must be arrays, got float -1.0", inputs=INPUTS.tolist())
    refused("inputs must be numbers, got object", inputs=INPUTS.astype(object))
    refused("inputs must be numbers, got <U", inputs=INPUTS.astype(str))
    refused("targets must be numbers, got <U", targets="abc")


def test_batches():
    refused("2 steps or more.* 1 step in cell", inputs=INPUTS[:, :1])
    with pytest.raises(ValueError, match=r"batch must be \(inputs, targets\)"):
        diagnose(MODEL, variables_of(MODEL), INPUTS, loss_fn)
    with pytest.raises(ValueError, match=r"batch must be \(inputs, targets\)"):
        diagnose(MODEL, variables_of(MODEL), (INPUTS,), loss_fn)
    refused("the batch is empty", inputs=())
    # Another number of features is another shape of parameters.
    refused(r"cell/i/kernel must be \(3, 4\), got \(2, 4\)", inputs=np.ones((B, T, 3), np.float32))


def test_integer_inputs_are_for_models_that_take_them():
    words = np.arange(B * T).reshape(B, T) % 7
    refused("does not take inputs", Words(), variables_of(Words(), words), INPUTS)
    refused(r"must be|does not take inputs", inputs=words)
    refused(r"does not take inputs .*int", inputs=np.int32(3))


def test_losses():
    refused(r"scalar, got shape \(3, 5, 6\)", loss=lambda y, t: y)
    refused("loss must be real numbers, got int", loss=lambda y, t: jnp.argmax(y))


def test_histories():
    refused("history must be a run of results.json.*got experiment", history={"experiment": 1})
    run = {"history": {"val_loss": []}, "status": "completed"}
    refused("baseline must be positive", history=run, baseline=0.0)
    refused("baseline must be positive and finite, got nan", baseline=np.nan)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "a"])
def test_thresholds(value):
    with pytest.raises(ValueError, match="positive and finite, got saturated"):
        Thresholds(saturated=value)


@pytest.mark.parametrize("value", [{}, HistoryThresholds(), 3])
def test_thresholds_are_thresholds(value):
    refused("thresholds must be Thresholds, got", thresholds=value)
