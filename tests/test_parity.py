"""jaxrnn and torch_ref compute the same numbers: same weights, same batches, same steps.

    parity_support.py   one problem on both frameworks, and what it means to agree
    parity_checks.py    the checks, their bounds and where the bounds come from
    parity_bugs.py      the negative controls: bugs planted in an implementation

Only copies are compared bit for bit: the two sum their products in different orders, and XLA's
tanh, exp and log are its own approximations, so that even one dot product may differ in its
last place. Those on a GPU need one that both frameworks see: ``make gpu`` runs them, and
figures/gpu/results.json, where there is one, says what came out.
"""

import numpy as np
import pytest

import jaxrnn
from jaxrnn import activations
from tests import parity_bugs as bugs
from tests.parity_checks import (
    ONE_STEP,
    SINGULAR,
    WELL_POSED,
    check_adding_trajectory,
    check_conversion,
    check_copy_trajectory,
    check_few_steps,
    check_forward,
    check_gradients,
    check_projection,
    check_retraction,
    check_step,
    check_vanilla_curves,
    rounding_bound,
)
from tests.parity_support import JaxSide, running_on

pytestmark = pytest.mark.usefixtures("one_torch_thread")
ACTIVATIONS = sorted(activations.ACTIVATIONS)


@pytest.fixture(params=["float64", "float32"])
def dtype(request) -> str:
    return request.param


@pytest.fixture(params=["cpu", "gpu"])
def device(request, dtype):
    with running_on(request.param, dtype):
        yield request.param


@pytest.fixture(params=["scan", "fused"])
def both_paths(request, monkeypatch):
    monkeypatch.setattr(JaxSide, "recurrence", request.param)


# Projection


@pytest.mark.parametrize("case", WELL_POSED)
@pytest.mark.parametrize("name", list(jaxrnn.orthogonal.RETRACTIONS))
def test_retraction(name, case, device, dtype):
    check_retraction(name, case, device, dtype)


@pytest.mark.parametrize("case", SINGULAR)
@pytest.mark.parametrize("name", ["qr", "qr_unsigned", "polar"])
def test_retraction_of_a_singular_matrix(name, case, device, dtype):
    check_retraction(name, case, device, dtype)


@pytest.mark.parametrize("name", ["gram_schmidt", "modified_gram_schmidt", "cholesky"])
def test_what_divides_by_zero_is_nan_in_the_same_places(name, device, dtype):
    # Of the singular cases this alone: in the others they divide by whatever rounding has left.
    check_retraction(name, "zero column", device, dtype)


@pytest.mark.parametrize("for_torch", ["out_in", "in_out"])
@pytest.mark.parametrize("for_jax", ["in_out", "out_in"])
def test_projection(for_jax, for_torch, device, dtype):
    check_projection((for_jax, for_torch), device, dtype)


# One step


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward(activation, device, dtype):
    check_forward(device, dtype, activation=activation)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_and_gradients(activation, device, dtype):
    check_gradients(device, dtype, activation=activation)


@pytest.mark.usefixtures("both_paths")
def test_regression(device, dtype):
    check_forward(device, dtype, activation="relu", regression=True)
    check_gradients(device, dtype, activation="relu", regression=True)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("activation", ["tanh", "modrelu"])
def test_optimizer_step(activation, device, dtype):
    check_step(device, dtype, activation=activation)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("retraction", ["polar", None])
def test_optimizer_step_with_another_projection(retraction, device, dtype):
    check_step(device, dtype, retraction=retraction)


def test_conversion_both_ways(device, dtype):
    check_conversion(device, dtype)


# Trajectories


@pytest.mark.usefixtures("both_paths")
def test_a_separate_rate_for_the_recurrent_matrix(device, dtype):
    check_few_steps(device, dtype, recurrent_lr=0.001)


@pytest.mark.usefixtures("both_paths")
def test_projection_at_every_fifth_step(device, dtype):
    check_few_steps(device, dtype, every=5)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.slow
def test_trajectory_of_the_projected_copy_task(device, dtype):
    check_copy_trajectory(device, dtype)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.slow
def test_trajectory_of_the_irnn_on_the_adding_task(device, dtype):
    check_adding_trajectory(device, dtype)


# The vanilla RNN


@pytest.mark.usefixtures("both_paths")
@pytest.mark.slow
def test_curves_of_the_vanilla_rnn_agree_as_distributions_over_seeds():
    """The vanilla RNN is chaotic, so its curves are not compared point by point.

    Its W_hh grows, BPTT stretches gradients by it, and a step turns what differed into more. The
    first losses differ by rounding, the last by 1e-4 to 4e-2 of their size (measured, over the
    seeds), the gradient norms by their own size. Which way is a matter of the machine: what is
    left to compare is how the runs do on average.
    """
    with running_on("cpu", "float32"):
        parted = check_vanilla_curves()
    first = rounding_bound("float32", ONE_STEP, 11 * (9 + 32 + 1))  # T (D + N + 1)
    assert np.max(parted[:, 0]) <= first, "the first losses differ by more than rounding"
    assert np.max(parted[:, -50:]) > 1e-3, "no chaos: the curves can be compared point by point"


# Negative controls: the checks above have to fail on a broken implementation


def control(plant, check, *args, names: str, path: str = "fused", **settings):
    """A bug, the check that has to fail on it, and what the failure has to name."""

    def run(device: str, dtype: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(JaxSide, "recurrence", path)
            check(*args, device, dtype, **settings)

    return pytest.param(plant, run, names, id=f"{plant.__name__}-{check.__name__}")


CONTROLS = [
    control(bugs.unsigned_qr, check_retraction, "qr", "near orthogonal", names="Q"),
    control(bugs.sign_of_zero, check_retraction, "qr", "zero column", names="Q"),
    control(bugs.strides_forgotten, check_retraction, "qr", "transposed", names="Q"),
    control(bugs.first_matrix_only, check_retraction, "polar", "batch", names="Q"),
    control(bugs.flipped_layout, check_projection, ("in_out", "out_in"), names="W_hh"),
    control(bugs.swapped_activation, check_forward, names="outputs"),
    control(bugs.leaky_slope, check_forward, activation="leaky_relu", names="outputs"),
    control(bugs.dropped_bias, check_forward, names="outputs"),
    control(bugs.dropped_bias_of_the_cell, check_forward, path="scan", names="outputs"),
    control(bugs.ignored_carry, check_forward, names="outputs"),
    control(bugs.loss_over_wrong_count, check_gradients, names="loss"),
    control(bugs.half_squared_error, check_gradients, regression=True, names="loss"),
    control(
        bugs.modrelu_bias_not_trained,
        check_gradients,
        activation="modrelu",
        names="gradient of b_modrelu",
    ),
    control(
        bugs.modrelu_bias_of_the_cell_not_trained,
        check_gradients,
        activation="modrelu",
        path="scan",
        names="gradient of b_modrelu",
    ),
    control(bugs.truncated_bptt, check_gradients, names="gradient of W_xh"),
    control(
        bugs.truncated_bptt_of_the_cell, check_gradients, path="scan", names="gradient of W_xh"
    ),
    control(bugs.deltas_a_step_early, check_gradients, names="gradient of W_hh"),
    control(bugs.transposed_conversion, check_conversion, names="Flax kernel"),
    control(bugs.unsigned_qr, check_step, names="after the step, W_hh"),
    control(bugs.shifted_cadence, check_few_steps, every=5, names="weights by step 1, W_hh"),
]
FLOAT64_CONTROLS = [  # more of the same kinds, and what is too small for float32
    control(bugs.second_bias, check_step, names="grad_norm"),
    control(bugs.projection_before_update, check_step, names="after the step, W_hh"),
    control(bugs.one_rate_for_all, check_few_steps, recurrent_lr=0.001, names="weights by step 1"),
    control(bugs.torch_clipping, check_step, names="first moment"),
    control(bugs.torch_clipping, check_copy_trajectory, names="by step 10"),
    control(bugs.eps_inside_root, check_step, names="after the step"),
    control(bugs.other_eps, check_step, names="after the step"),
    control(bugs.other_eps, check_adding_trajectory, names="by step 10"),
]


@pytest.mark.parametrize(("plant", "check", "names"), CONTROLS)
def test_a_planted_bug_is_caught(plant, check, names, dtype, monkeypatch):
    with running_on("cpu", dtype):
        plant(monkeypatch)
        with pytest.raises(AssertionError, match=names):
            check("cpu", dtype)


@pytest.mark.parametrize(("plant", "check", "names"), FLOAT64_CONTROLS)
def test_a_planted_bug_is_caught_in_float64(plant, check, names, monkeypatch):
    with running_on("cpu", "float64"):
        plant(monkeypatch)
        with pytest.raises(AssertionError, match=names):
            check("cpu", "float64")


@pytest.mark.slow
def test_a_gross_bug_is_caught_in_the_curves(monkeypatch):
    with running_on("cpu", "float32"):
        bugs.tenth_of_the_rate(monkeypatch)
        with pytest.raises(AssertionError, match="standard errors"):
            check_vanilla_curves()
