"""The checks of test_parity.py: each runs both frameworks, AssertionError where they differ.

They are separate functions because the tests run them twice: on the implementation as it is,
where they have to pass, and with a bug of parity_bugs.py planted in it, where they have to fail.

In float64 the bounds are what the README promises, 1e-12 for one step and 1e-10 for a trajectory
of 200 steps; in float32 they follow from ``rounding_bound``. All are relative, to the largest entry
of an array or, where it says ``elementwise``, to each number. "Measured" in a comment is the worst
difference seen on a CPU.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import jaxrnn
import torch_ref
from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe
from jaxrnn.tasks import AddingTask, Batch, CopyTask
from tests.parity_support import (
    TORCH_DEVICES,
    JaxSide,
    Problem,
    TorchSide,
    Weights,
    assert_agree,
    assert_weights_agree,
)

B, T, D, N, C = 3, 7, 5, 6, 4  # all different, so that swapped axes do not fit
ONE_STEP, TRAJECTORY = 1e-12, 1e-10


def rounding_bound(dtype: str, in_float64: float, roundings: int, growth: float = 1.0) -> float:
    """The relative difference to allow: ``in_float64`` there, a derived one in float32.

    k roundings by at most u = eps/2, their signs as if at random, add up to at most λ √k u, except
    with a probability of 2 exp(−λ²/2) (Higham & Mary 2019, SIAM J. Sci. Comput. 41(5), th. 2.4).
    Two frameworks err independently: twice that, λ √k eps. λ = 5 fails for one number in 10⁵.
    ``growth`` is by how much an error made at the beginning is larger at the end.
    """
    return in_float64 if dtype == "float64" else 5 * growth * math.sqrt(roundings) * 2.0**-23


# Projection


def random_orthogonal(rng: np.random.Generator, N: int) -> np.ndarray:
    """Uniform over the group. LAPACK's own Q would be special: its QR has R = I, signs included."""
    Q, R = np.linalg.qr(rng.normal(size=(N, N)))
    return Q * np.sign(np.diag(R))


def matrices(case: str) -> np.ndarray:
    """(..., 12, 12) float64; all well conditioned (below 100) but the singular ones."""
    rng = np.random.default_rng(12)
    W = rng.normal(size=(12, 12))
    Q = random_orthogonal(rng, 12)
    match case:
        case "random" | "transposed" | "strided":
            return W
        case "near orthogonal":
            return Q + 1e-3 * rng.normal(size=W.shape)
        case "zero diagonal":
            return W - np.diag(np.diag(W))
        case "batch":
            return 2 * Q + 0.5 * rng.normal(size=(2, 3, 12, 12))
        case "rank deficient":
            return np.concatenate([W[:, :-1], W[:, :-1] @ rng.normal(size=(11, 1))], axis=1)
        case "zero column":
            return np.concatenate([W[:, :-1], np.zeros((12, 1))], axis=1)
        case "zero pivot":  # Householder leaves a triangular matrix alone: R_jj is exactly 0
            return np.triu(Q, 1) + np.diag([1.0, -1.0] * 5 + [-1.0, 0.0])
    raise ValueError(case)


Layout = Literal["in_out", "out_in"]
WELL_POSED = ["random", "near orthogonal", "zero diagonal", "batch", "transposed", "strided"]
SINGULAR = ["rank deficient", "zero column", "zero pivot"]


def as_tensor(W: np.ndarray, case: str, device: str) -> torch.Tensor:
    """``W`` on PyTorch, its memory laid out as the case says."""
    tensor = torch.tensor(W, device=TORCH_DEVICES[device])
    if case == "transposed":
        return tensor.mT.contiguous().mT
    if case == "strided":
        wide = tensor.new_full((24, 36), torch.nan)
        wide[::2, ::3] = tensor
        return wide[::2, ::3]
    return tensor


def determined(name: str, Q: np.ndarray, W: np.ndarray, case: str) -> np.ndarray:
    """The part of retract(W) = Q that W fixes.

    qr_unsigned leaves the sign of each column to the library. With a last column that depends on
    the others, R_NN is zero or rounding, and so is the sign of the last column of Q in qr; polar
    is fixed on the row space of W alone.
    """
    if name == "polar" and case in SINGULAR:
        _, sigma, Vt = np.linalg.svd(W)
        rows = Vt[sigma > 1e-6 * sigma[0]]
        return Q @ rows.T @ rows
    largest = np.take_along_axis(Q, np.abs(Q).argmax(axis=-2, keepdims=True), axis=-2)
    signs = np.where(largest < 0, -1, 1).astype(Q.dtype)
    if name != "qr_unsigned":
        signs[..., : -1 if name == "qr" and case in SINGULAR else None] = 1
    return Q * signs


def condition(W: np.ndarray) -> float:
    """Largest over smallest singular value, without values that are only rounding."""
    sigma = np.linalg.svd(W, compute_uv=False)
    return np.max(sigma) / np.min(sigma[sigma > 1e-6 * np.max(sigma)])


def check_retraction(name: str, case: str, device: str, dtype: str) -> None:
    """Equal Q from equal W, and orthogonal where equality leaves a part of Q open."""
    W = matrices(case).astype(dtype)
    tensor = as_tensor(W, case, device)
    theirs = torch_ref.orthogonal.RETRACTIONS[name](tensor).cpu().numpy()
    # JAX's arrays have no strides, but the NumPy arrays that it is given do.
    ours = np.asarray(jaxrnn.orthogonal.RETRACTIONS[name](jnp.asarray(tensor.cpu().numpy())))
    # N² roundings go into a column of Q. The sensitivity of Q to them is the condition number of W,
    # squared for the two that square it (Higham 2002, ch. 19). Measured in float64: 2e-14.
    power = 2 if name in ("gram_schmidt", "cholesky") else 1
    bound = rounding_bound(dtype, ONE_STEP, W.shape[-1] ** 2, condition(matrices(case)) ** power)
    assert_agree("Q", determined(name, ours, W, case), determined(name, theirs, W, case), bound)
    if case in SINGULAR and np.all(np.isfinite(theirs)):
        for Q in (ours, theirs):
            assert_agree("QᵀQ", Q.T @ Q, np.eye(len(Q), dtype=dtype), bound)


def check_projection(layouts: tuple[Layout, Layout], device: str, dtype: str) -> None:
    """``project_recurrent`` on a batch of matrices, W_hh being stored as each layout says."""

    def stored(W, layout):
        return np.swapaxes(W, -1, -2) if layout == "in_out" else W

    for_jax, for_torch = layouts
    W = matrices("batch").astype(dtype)
    move = np.asarray(0.1 * W[::-1], dtype)

    params, updates = ({"h": {"kernel": jnp.asarray(stored(X, for_jax))}} for X in (W, move))
    projection = jaxrnn.project_recurrent(layout=for_jax)
    updates, _ = projection.update(updates, projection.init(params), params)
    ours = stored(np.asarray(optax.apply_updates(params, updates)["h"]["kernel"]), for_jax)

    module = torch.nn.Module()
    moved = W + move
    tensor = torch.tensor(stored(moved, for_torch), device=TORCH_DEVICES[device])
    module.weight_hh_l0 = torch.nn.Parameter(tensor)
    torch_ref.project_recurrent(module, layout=for_torch).step()
    theirs = stored(module.weight_hh_l0.detach().cpu().numpy(), for_torch)

    bound = rounding_bound(dtype, ONE_STEP, W.shape[-1] ** 2, condition(moved))
    assert_agree("W_hh", ours, theirs, bound)


# One step


def one_step_problem(device: str, dtype: str, **settings) -> Problem:
    """Random weights, no bias zero; W_hh near orthogonal."""
    rng = np.random.default_rng(6)
    num_outputs = 1 if settings.get("regression") else C
    weights = {
        "W_xh": rng.normal(size=(N, D)) / math.sqrt(D),
        "W_hh": random_orthogonal(rng, N) + 0.03 * rng.normal(size=(N, N)),
        "b_h": 0.5 * rng.normal(size=N),
        "W_hy": rng.normal(size=(num_outputs, N)) / math.sqrt(N),
        "b_y": 0.5 * rng.normal(size=num_outputs),
    }
    if settings.get("activation") == "modrelu":
        weights["b_modrelu"] = 0.3 * rng.normal(size=N)  # of both signs
    weights = {name: array.astype(dtype) for name, array in weights.items()}
    return Problem(weights, device=device, **settings)


def random_batch(problem: Problem, *shape: int) -> Batch:
    """Tokens and classes, or vectors and numbers, as the problem wants them."""
    rng = np.random.default_rng(3)
    if problem.regression:
        return Batch(
            rng.normal(size=(*shape, B, T, D)).astype(problem.dtype),
            rng.normal(size=(*shape, B)).astype(problem.dtype),
        )
    return Batch(
        rng.integers(0, D, (*shape, B, T), dtype=np.int32),
        rng.integers(0, C, (*shape, B, T), dtype=np.int32),
    )


def one_step_bound(problem: Problem, dtype: str, passes: int) -> float:
    """1 pass: T steps of D + N + 1 products. 2: back again, and the sum over B·T. |φ'| ≤ 1."""
    # Measured in float64 1e-15; in float32 3e-7 of the 7e-6 (1 pass) and 1.4e-5 (2) allowed.
    roundings = passes * T * (D + N + 1) + (passes - 1) * B * T
    growth = max(1.0, float(np.linalg.norm(problem.weights["W_hh"], 2))) ** (passes * T)
    return rounding_bound(dtype, ONE_STEP, roundings, growth)


def check_forward(device: str, dtype: str, **settings) -> None:
    """Outputs and last carry, from a carry that is not zero."""
    problem = one_step_problem(device, dtype, **settings)
    rng = np.random.default_rng(1)
    inputs, carry = (rng.normal(size=shape).astype(dtype) for shape in ((B, T, D), (B, N)))
    ours, theirs = (side(problem).outputs(inputs, carry) for side in (JaxSide, TorchSide))
    for what, jax_array, torch_array in zip(("outputs", "carry"), ours, theirs, strict=True):
        assert_agree(what, jax_array, torch_array, one_step_bound(problem, dtype, passes=1))


def check_gradients(device: str, dtype: str, **settings) -> None:
    """The loss, and its gradient by every leaf."""
    problem = one_step_problem(device, dtype, **settings)
    batch = random_batch(problem)
    (loss, grads), (torch_loss, torch_grads) = (
        side(problem).gradients(batch) for side in (JaxSide, TorchSide)
    )
    assert_agree("loss", loss, torch_loss, one_step_bound(problem, dtype, passes=1))
    assert_weights_agree(
        "gradient of", grads, torch_grads, one_step_bound(problem, dtype, passes=2)
    )


def check_step(device: str, dtype: str, **settings) -> None:
    """One step of clipping, Adam and the projection: Adam's moments and every leaf after it.

    Adam's first step is nearly lr · sign(g), whatever clipping did to g: the moments show that.
    """
    problem = one_step_problem(device, dtype, lr=0.01, **settings)
    batches = random_batch(problem, 1)
    ours, theirs = JaxSide(problem), TorchSide(problem)
    measured, torch_measured = ours.train(batches), theirs.train(batches)
    assert torch_measured.grad_norm > problem.clip_norm, "the gradient is not clipped"
    bound = one_step_bound(problem, dtype, passes=2)
    assert_agree("grad_norm", np.float64(measured.grad_norm), torch_measured.grad_norm, bound)
    (mu, nu), (torch_mu, torch_nu) = ours.moments(), theirs.moments()
    assert_weights_agree("first moment of", mu, torch_mu, bound)
    assert_weights_agree("second moment of", nu, torch_nu, 2 * bound)  # the square of a gradient
    # lr · g / (|g| + eps) hardly depends on the size of g, so its error does not come in: what is
    # left are the dozen operations of Adam and the N² of the projection of a W_hh of condition 1.
    # Measured in float32: 6e-7 of the 4e-6 allowed.
    bound = rounding_bound(dtype, ONE_STEP, 12 + N * N)
    assert_weights_agree("after the step,", ours.weights(), theirs.weights(), bound)


def check_conversion(device: str, dtype: str) -> None:
    """Into both frameworks, out again, and across: copies, so bit for bit."""
    problem = one_step_problem(device, dtype, activation="modrelu")
    params = jaxrnn.convert.from_weights(problem.weights)
    ours, theirs = jaxrnn.convert.to_weights(params), TorchSide(problem).weights()
    for found in (ours, theirs):
        assert_weights_agree("converted", found, problem.weights, bound=0)
    # W_hh is square: a round trip would not tell if it were stored the wrong way round.
    kernel = np.asarray(params["cell"]["h"]["kernel"])
    assert_agree("W_hhᵀ as a Flax kernel", kernel, problem.weights["W_hh"].T, bound=0)
    across = jaxrnn.convert.from_weights(theirs)
    for leaf, expected in zip(jax.tree.leaves(across), jax.tree.leaves(params), strict=True):
        assert_agree("jax → torch → jax", leaf, expected, bound=0)


# Trajectories


def check_training(
    problem: Problem, batches: Batch, dtype: str, in_float64: float, chunk: int = 1
) -> None:
    """Loss and gradient norm of every step; W_hh and its spectral norm after every chunk.

    ``clip_norm`` has to be active on at least 90 % of the steps.
    """
    ours, theirs = JaxSide(problem), TorchSide(problem)
    num_steps, _, time_steps = batches.inputs.shape[:3]
    D, N, _ = problem.sizes
    clipped, stretch = 0, 1.0
    for end in range(chunk, num_steps + 1, chunk):
        part = Batch(*(array[end - chunk : end] for array in batches))
        both = [[np.asarray(x, np.float64) for x in side.train(part)] for side in (ours, theirs)]
        measured, expected = both
        clipped += int(np.sum(expected[2] >= problem.clip_norm))
        # BPTT multiplies by W_hh once a time step, so errors grow by its spectral norm each time.
        stretch = max(stretch, expected[3][-1])
        bound = rounding_bound(
            dtype, in_float64, end * time_steps * (D + N + 1), stretch**time_steps
        )
        at = f"by step {end}"
        assert_agree(f"loss {at}", measured[0], expected[0], bound, elementwise=True)
        # Where the errors of a batch cancel, the gradient is a small sum of large numbers: float32
        # keeps its digits against the larger ones around it only.
        each = dtype == "float64"
        assert_agree(f"grad_norm {at}", measured[2], expected[2], bound, elementwise=each)
        assert_weights_agree(f"weights {at},", ours.weights(), theirs.weights(), bound)
        assert_agree(f"spectral_norm {at}", measured[3], expected[3], bound, elementwise=True)
        if dtype == "float64":  # in float32 two logits may be as good as equal
            hits = [np.rint(np.nan_to_num(row[1]) * batches.targets[0].size) for row in both]
            assert_agree(f"accuracy {at}", hits[0], hits[1], bound=0)
        if problem.retraction is not None:
            # The orthogonality error is rounding itself, so only whether there is one can agree.
            projected = (end - 1) % problem.every == 0
            limit = rounding_bound(dtype, ONE_STEP, N * N)
            for error in (measured[4][-1], expected[4][-1]):
                assert (error < limit) == projected, f"orthogonality error {error:.1e} {at}"
    assert clipped >= 0.9 * num_steps, f"clipping was active on {clipped} of {num_steps} steps"


def check_few_steps(device: str, dtype: str, **settings) -> None:
    """Twelve steps at a high rate, compared after each.

    Measured: 1e-15 in float64, and in float32 2e-6 of the 2e-5 allowed.
    """
    problem = one_step_problem(device, dtype, lr=0.01, **settings)
    check_training(problem, random_batch(problem, 12), dtype, ONE_STEP)


def uniform_weights(rng: np.random.Generator, dtype: str, D: int, N: int, C: int) -> Weights:
    """U(−1/√N, 1/√N), as the experiments draw them."""
    shapes = {"W_xh": (N, D), "W_hh": (N, N), "b_h": (N,), "W_hy": (C, N), "b_y": (C,)}
    bound = 1 / math.sqrt(N)
    return {name: rng.uniform(-bound, bound, shape).astype(dtype) for name, shape in shapes.items()}


def check_copy_trajectory(device: str, dtype: str) -> None:
    """200 steps of the projected copy task.

    Measured over its leaves and losses: 7e-14 in float64, and in float32 3e-5 of the 3e-4 allowed.
    """
    rng = np.random.default_rng(10)
    task = CopyTask()
    weights = uniform_weights(rng, dtype, task.num_inputs, 64, task.num_outputs)
    problem = Problem(weights, device=device)
    check_training(problem, task.sample(rng, 200, 32), dtype, TRAJECTORY, chunk=10)


def check_adding_trajectory(device: str, dtype: str) -> None:
    """200 steps of the adding task: ReLU, W_hh = I, small input weights, no projection.

    The output follows the T-th power of W_hh, so a step that moves W_hh by 1 % changes it 4 times
    at T = 150: steps overshoot, and what differs grows. With the experiment's T = 150, N = 100 and
    lr 1e-4 gradient norms part by 1e-9 within the 200 steps in float64, and by their own size in
    float32 (measured). At T = 50 and lr 1e-5 they stay together while the loss falls from 0.8 to
    0.15; the spectral norm ends at 1.04, and 1.04 to the 50th is 8. Measured: 5e-14 in float64, and
    in float32 8e-5 of the 3e-3 allowed.
    """
    rng = np.random.default_rng(150)
    task = AddingTask(seq_len=50)
    weights = uniform_weights(rng, dtype, task.num_inputs, 32, task.num_outputs)
    weights["W_hh"] = np.eye(32, dtype=dtype)
    for name in ("W_xh", "b_h"):
        weights[name] = (1e-3 * rng.normal(size=weights[name].shape)).astype(dtype)
    problem = Problem(
        weights, activation="relu", regression=True, lr=1e-5, retraction=None, device=device
    )
    check_training(problem, task.sample(rng, 200, 16), dtype, TRAJECTORY, chunk=10)


# The vanilla RNN


@functools.cache  # no bug is planted in this half, and it is the same for all of them
def vanilla_curves_of_jax(recurrence: str) -> np.ndarray:
    """Losses (S, K) of eight seeds."""
    return vanilla_curves("jax", recurrence=recurrence)


def vanilla_curves(backend_name: str, **settings) -> np.ndarray:
    """Losses (S, K) of eight seeds of the unprojected copy task, by an experiment's backend."""
    task, backend = CopyTask(seq_len=5), load_backend(backend_name)
    recipe = Recipe(task, hidden=32, lr=0.01, clip_norm=1.0, track_every=300, **settings)
    weights, batches = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weights.append(uniform_weights(rng, "float32", task.num_inputs, 32, task.num_outputs))
        batches.append(task.sample(rng, 300, 16))
    return np.asarray(backend.make_trainer(recipe, weights).train(batches).loss, np.float64)


def check_vanilla_curves() -> np.ndarray:
    """Mean losses over the seeds within 4 standard errors, over all steps and over the last 50.

    Returns the relative difference of each loss, (S, K).

    The spread between seeds is the yardstick, as if the two had run on different ones. They share
    weights and batches, so that a difference of 4 standard errors is rarer than the 1 in 700 of a
    t distribution with 14 degrees of freedom (measured: 0.01). Only a gross error fails this.
    """
    ours, theirs = vanilla_curves_of_jax(JaxSide.recurrence), vanilla_curves("torch")
    for steps in (slice(None), slice(-50, None)):
        a, b = ours[:, steps].mean(axis=1), theirs[:, steps].mean(axis=1)
        standard_error = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / len(a))
        difference = abs(a.mean() - b.mean()) / standard_error
        assert difference <= 4, f"mean losses differ by {difference:.1f} standard errors"
    return np.abs(ours / theirs - 1)
