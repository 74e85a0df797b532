"""``project_recurrent`` against the same projection in NumPy, in every place it may stand."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

from jaxrnn import (
    VanillaCell,
    assert_orthogonal,
    orthogonal,
    project_recurrent,
    retract_params,
)
from jaxrnn.paths import named_leaves
from tests import numpy_reference as reference
from tests.numpy_reference import B, D, N, S

# Rounding moves the QR factor of W by a few κ(W) eps, and κ stays below 700 in these tests.
FLOAT64 = {"rtol": 0, "atol": 1e-12}
FLOAT32 = {"rtol": 0, "atol": 5e-4}


ROOT = Path(__file__).parents[1]


def random_tree(rng, scale=1.0):
    """Parameters of a vanilla cell and a readout that is square too, though not recurrent."""
    shapes = {
        "cell": {"h": {"kernel": (N, N)}, "i": {"kernel": (D, N), "bias": (N,)}},
        "readout": {"kernel": (N, N)},
    }
    return jax.tree.map(
        lambda shape: jnp.asarray(scale * rng.standard_normal(shape)),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def projected_kernel(param, update):
    """Where a kernel stored as W_hhᵀ must end: W_hh + ΔW, retracted, transposed again."""
    return reference.qr((np.asarray(param) + np.asarray(update)).T).T


@pytest.fixture
def trees(rng, x64):
    """Parameters and updates."""
    return random_tree(rng), random_tree(rng, 0.1)


def one_update(transform, params, updates):
    return transform.update(updates, transform.init(params), params)[0]


def assert_only_projected(new, params, updates, kernel):
    """Selected: the kernel given. All others: their updates bit for bit."""
    moved = optax.apply_updates(params, new)
    np.testing.assert_allclose(moved["cell"]["h"]["kernel"], kernel, **FLOAT64)
    for (path, leaf), (_, old) in zip(named_leaves(new), named_leaves(updates), strict=True):
        if path != "cell/h/kernel":
            np.testing.assert_array_equal(leaf, old, err_msg=path)


def test_the_default_retracts_the_transposed_kernel(trees):
    params, updates = trees
    kernel = params["cell"]["h"]["kernel"] + updates["cell"]["h"]["kernel"]
    assert np.linalg.norm(reference.qr(kernel) - reference.qr(kernel.T).T) > 1  # layouts differ
    new = one_update(project_recurrent(), params, updates)
    assert_only_projected(new, params, updates, reference.qr(kernel.T).T)
    new = one_update(project_recurrent(layout="out_in"), params, updates)
    assert_only_projected(new, params, updates, reference.qr(kernel))


def test_retractions_by_name_and_as_functions(trees):
    params, updates = trees
    W = np.asarray(params["cell"]["h"]["kernel"] + updates["cell"]["h"]["kernel"]).T
    U, _, Vt = np.linalg.svd(W)
    for retraction in ("polar", orthogonal.polar):
        new = one_update(project_recurrent(retraction), params, updates)
        assert_only_projected(new, params, updates, (U @ Vt).T)
    new = one_update(project_recurrent(lambda W: 2 * W), params, updates)
    assert_only_projected(new, params, updates, 2 * W.T)


def test_every_nth_update_is_projected_from_the_first_on(trees):
    params, updates = trees
    transform = project_recurrent(every=3)
    update, state = jax.jit(transform.update), transform.init(params)
    for step in range(7):
        kernel = params["cell"]["h"]["kernel"] + updates["cell"]["h"]["kernel"]
        if step in (0, 3, 6):
            kernel = reference.qr(kernel.T).T
        new, state = update(updates, state, params)
        assert_only_projected(new, params, updates, kernel)
        params = optax.apply_updates(params, new)
        assert state.count == step + 1


@pytest.mark.parametrize(
    "where",
    [
        r"^readout/kernel$",
        "out",
        lambda path, leaf: path.endswith("kernel") and leaf.shape == (N, N) and "h" not in path,
    ],
)
def test_where_selects_other_leaves(trees, where):
    params, updates = trees
    new = one_update(project_recurrent(where=where), params, updates)
    moved = params["readout"]["kernel"] + new["readout"]["kernel"]
    expected = projected_kernel(params["readout"]["kernel"], updates["readout"]["kernel"])
    np.testing.assert_allclose(moved, expected, **FLOAT64)
    for a, b in zip(jax.tree.leaves(new["cell"]), jax.tree.leaves(updates["cell"]), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_selected(rng, shapes, kernels):
    """The default projects the leaves of the layers ``kernels`` and leaves all others alone."""
    params, updates = (
        jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32), shapes)
        for _ in range(2)
    )
    new = one_update(project_recurrent(), params, updates)
    projected = set()
    leaves = (named_leaves(tree) for tree in (params, updates, new))
    for (path, param), (_, update), (_, changed) in zip(*leaves, strict=True):
        if (changed != update).any():
            projected.add(path.removesuffix("/value").removesuffix("/kernel").split("/")[-1])
            expected = projected_kernel(param, update)
            np.testing.assert_allclose(param + changed, expected, **FLOAT32, err_msg=path)
    assert projected == kernels


@pytest.mark.parametrize(
    ("cell", "kernels"),
    [
        (VanillaCell(N), {"h"}),
        (nn.SimpleCell(N), {"h"}),
        (nn.LSTMCell(N), {"hi", "hf", "hg", "ho"}),
        (nn.OptimizedLSTMCell(N), {"hi", "hf", "hg", "ho"}),
        (nn.GRUCell(N), {"hr", "hz", "hn"}),
        (nn.MGUCell(N), {"hf", "hn"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_default_takes_the_recurrent_kernels_of_linen_cells(rng, cell, kernels):
    inputs = jnp.ones((B, N))  # N features, so that the input kernels are square as well
    carry = cell.initialize_carry(jax.random.key(0), inputs.shape)
    shapes = jax.eval_shape(cell.init, jax.random.key(0), carry, inputs)
    assert_selected(rng, shapes, kernels)


@pytest.mark.parametrize(
    ("cell", "kernels"),
    [(nnx.SimpleCell, {"dense_h"}), (nnx.LSTMCell, {"hi", "hf", "hg", "ho"})],
)
def test_the_default_takes_the_recurrent_kernels_of_nnx_cells(rng, cell, kernels):
    assert_selected(rng, nnx.state(cell(N, N, rngs=nnx.Rngs(0)), nnx.Param), kernels)


def test_the_default_leaves_convolutions_alone(rng):
    conv_lstm = nn.ConvLSTMCell(D, (3, 3))
    inputs = jnp.ones((B, 6, 5, D))
    carry = conv_lstm.initialize_carry(jax.random.key(0), inputs.shape)
    shapes = {
        "conv_lstm": jax.eval_shape(conv_lstm.init, jax.random.key(0), carry, inputs),
        "square": {"hh": {"kernel": jnp.ones((3, 3, D, D))}},  # named as ConvLSTM names its own
        "cell": {"h": {"kernel": jnp.ones((N, N))}},
    }
    assert_selected(rng, shapes, {"h"})


def adam_with_projection(**options):
    return optax.chain(optax.adam(0.1), project_recurrent(**options))


def test_in_chains_masks_and_partitions(trees):
    params, grads = trees
    plain = one_update(optax.adam(0.1), params, grads)
    kernel = projected_kernel(params["cell"]["h"]["kernel"], plain["cell"]["h"]["kernel"])
    mask = {"cell": {"h": True, "i": False}, "readout": False}
    labels = {"cell": {"h": "recurrent", "i": "rest"}, "readout": "rest"}
    groups = {"recurrent": adam_with_projection(), "rest": optax.adam(0.1)}
    for transform in (
        adam_with_projection(),
        optax.chain(optax.adam(0.1), optax.masked(project_recurrent(where="kernel"), mask)),
        optax.partition(groups, labels),
    ):
        new = jax.jit(transform.update)(grads, transform.init(params), params)[0]
        moved = params["cell"]["h"]["kernel"] + new["cell"]["h"]["kernel"]
        np.testing.assert_allclose(moved, kernel, **FLOAT64)
        for path in (("cell", "i", "kernel"), ("cell", "i", "bias"), ("readout", "kernel")):
            ours, theirs = new, plain
            for key in path:
                ours, theirs = ours[key], theirs[key]
            np.testing.assert_allclose(ours, theirs, **FLOAT64)


def test_leading_dimensions_and_vmap_are_batches_of_matrices(rng, x64):
    params = [random_tree(rng) for _ in range(S)]
    updates = [random_tree(rng, 0.1) for _ in range(S)]
    kernels = [
        projected_kernel(p["cell"]["h"]["kernel"], u["cell"]["h"]["kernel"])
        for p, u in zip(params, updates, strict=True)
    ]
    params, updates = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (params, updates)
    )
    batched = one_update(project_recurrent(), params, updates)
    assert_only_projected(batched, params, updates, kernels)

    transform = project_recurrent(every=2)
    states = jax.vmap(transform.init)(params)._replace(count=jnp.arange(S))
    new, states = jax.jit(jax.vmap(transform.update))(updates, states, params)
    for s in range(S):  # each seed counts for itself
        unprojected = params["cell"]["h"]["kernel"][s] + updates["cell"]["h"]["kernel"][s]
        one = jax.tree.map(lambda leaf, s=s: leaf[s], (new, params, updates))
        assert_only_projected(*one, unprojected if s % 2 else kernels[s])
    np.testing.assert_array_equal(states.count, np.arange(S) + 1)


def test_under_scan_as_in_a_loop(rng, x64):
    params, transform = random_tree(rng), adam_with_projection(every=2)
    grads = [random_tree(rng) for _ in range(5)]

    def step(carry, gradient):
        params, state = carry
        updates, state = transform.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = params, transform.init(params)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads)
    (scanned, _), _ = jax.jit(lambda start: jax.lax.scan(step, start, stacked))(start)

    adam, kernel = optax.adam(0.1), np.asarray(params["cell"]["h"]["kernel"])
    state = adam.init(params)
    for count, gradient in enumerate(grads):
        updates, state = adam.update(gradient, state)
        kernel = kernel + updates["cell"]["h"]["kernel"]
        kernel = reference.qr(kernel.T).T if count % 2 == 0 else kernel
    np.testing.assert_allclose(scanned["cell"]["h"]["kernel"], kernel, **FLOAT64)


def test_replicated_and_sharded_kernels():
    script = [sys.executable, "-m", "tests.sharded_projection"]
    run = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 128, 256])
def test_seeds_that_two_devices_share(size):
    """jaxlib's batched decompositions never return there: see jaxrnn/decompositions.py."""
    script = [sys.executable, "-m", "tests.sharded_seeds", str(size)]
    run = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_leaves_are_retracted_in_float32(rng, dtype):
    kernel, update = (jnp.asarray(rng.standard_normal((N, N)), dtype) for _ in range(2))
    params, updates = {"h": {"kernel": kernel}}, {"h": {"kernel": update}}
    new = one_update(project_recurrent(), params, updates)["h"]["kernel"]
    assert new.dtype == dtype
    expected = projected_kernel(*(np.float32(leaf) for leaf in (kernel + update, 0 * update)))
    # Rounding to the leaf's dtype, half an eps of an update below 4, is all that is lost.
    np.testing.assert_allclose(
        np.float32(kernel) + np.float32(new), expected, rtol=0, atol=2 * float(jnp.finfo(dtype).eps)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retraction": "svd"}, "retraction must be one of qr, householder, .*, got 'svd'"),
        ({"every": 0}, "every must be a whole number from 1 to .*, got 0"),
        ({"every": -2}, "got -2"),
        ({"every": 1.5}, "got 1.5"),
        ({"every": float("nan")}, "whole number from 1 .*, got nan"),
        ({"every": float("inf")}, "whole number from 1 .*, got inf"),
        ({"every": "a"}, "whole number from 1 .*, got 'a'"),
        ({"every": 2**40}, "whole number from 1 .*, got 1099511627776"),
        ({"layout": "rows"}, "layout must be 'in_out' or 'out_in', got 'rows'"),
        ({"where": "("}, r"where='\(' is not a regular expression"),
    ],
)
def test_bad_options_are_named(unchecked, options, message):
    with pytest.raises(ValueError, match=message):
        project_recurrent(**options)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nowhere", r"selects none of the leaves: .*cell/i/kernel \(4, 7\), .*steps \(7, 7\)"),
        ("i/kernel", r"square matrices: cell/i/kernel has shape \(4, 7\)"),
        ("bias", r"square matrices: cell/i/bias has shape \(7,\)"),
        ("steps", "floating point: steps is int32"),
        ("phases", "floating point: phases is complex64"),
    ],
)
def test_bad_leaves_are_named_with_shape_and_dtype(rng, where, message):
    params = random_tree(rng) | {
        "phases": jnp.zeros((N, N), jnp.complex64),
        "steps": jnp.zeros((N, N), jnp.int32),
    }
    transform = project_recurrent(where=where)
    with pytest.raises(ValueError, match=message):
        transform.init(params)
    with pytest.raises(ValueError, match=message):
        transform.update(params, project_recurrent().init(params), params)


def test_params_are_needed(trees):
    params, updates = trees
    transform = project_recurrent()
    with pytest.raises(ValueError, match=r"needs params: call update\(updates, state, params\)"):
        transform.update(updates, transform.init(params))


def test_updates_must_have_the_structure_of_params(rng):
    params = {"a": jnp.ones((N, N)), "h": {"kernel": jnp.eye(N)}, "z": jnp.ones((N, N))}
    transform = project_recurrent()
    with pytest.raises(ValueError, match="same structure"):
        transform.update({**params, "a": None}, transform.init(params), params)


def test_a_leaf_in_which_updates_differ_is_named(rng):
    params = {"a": jnp.ones((N, N)), "h": {"kernel": jnp.eye(N)}}
    transform = project_recurrent()
    state = transform.init(params)
    for updates, message in (
        ({"h": params["h"]}, rf"a has shape none in updates and \({N}, {N}\) in params"),
        ({**params, "b": params["a"]}, rf"b has shape \({N}, {N}\) in updates and none in params"),
        ({**params, "a": jnp.ones(N)}, rf"a has shape \({N},\) in updates and \({N}, {N}\)"),
    ):
        with pytest.raises(ValueError, match=message):
            transform.update(updates, state, params)


def test_every_as_a_hyperparameter_that_changes(rng, x64):
    """``optax.inject_hyperparams`` hands it over as an array."""
    params = random_tree(rng)
    updates = jax.tree.map(jnp.zeros_like, params)
    transform = optax.inject_hyperparams(project_recurrent)(every=2)
    state = transform.init(params)
    step = jax.jit(transform.update)
    moved = []
    for _ in range(4):
        new, state = step(updates, state, params)
        moved.append(bool(jnp.any(new["cell"]["h"]["kernel"] != 0)))
    assert moved == [True, False, True, False]


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e6])
def test_retracted_params_are_orthogonal_at_any_size(rng, scale, unchecked):
    params = jax.tree.map(jnp.float32, random_tree(rng, scale))
    new = retract_params(params)
    kernel = new["cell"]["h"]["kernel"]
    assert kernel.dtype == jnp.float32
    assert reference.orthogonality_error(kernel) < 1e-6  # float32 sums of N products
    np.testing.assert_allclose(kernel.T, reference.qr(params["cell"]["h"]["kernel"].T), **FLOAT32)
    for path in ("i", "readout"):
        before, after = (tree["cell"].get(path, tree.get(path)) for tree in (params, new))
        jax.tree.map(np.testing.assert_array_equal, before, after)
    with pytest.raises(ValueError, match="layout must be"):
        retract_params(params, layout="rows")
    with pytest.raises(ValueError, match="selects none of the leaves"):
        retract_params(params, where="nowhere")


def test_an_orthogonal_leaf_passes_and_another_is_named(rng, x64):
    W = reference.qr(rng.standard_normal((S, N, N)))
    params = {"h": {"kernel": jnp.asarray(W)}, "Dense_0": {"kernel": jnp.ones((N, N))}}
    assert_orthogonal(params, 1e-13)
    jax.jit(assert_orthogonal)(params)
    off = {"h": {"kernel": jnp.asarray(W).at[S - 1, 2, 3].add(0.1)}}
    with pytest.raises(ValueError, match=r"h/kernel is not orthogonal: .* is 0\.0\d+, above"):
        assert_orthogonal(off)
    assert_orthogonal(off, tolerance=0.2)
    with pytest.raises(ValueError, match=r"h/kernel is not orthogonal: .* is nan"):
        assert_orthogonal({"h": {"kernel": jnp.full((N, N), jnp.nan)}})
    with pytest.raises(ValueError, match="assert_orthogonal: where= selects none"):
        assert_orthogonal(params, where="mine")
    with pytest.raises(ValueError, match="tolerance must be 0 or more"):
        assert_orthogonal(params, tolerance=-1.0)


def test_the_check_stops_a_jitted_step(rng):
    """A projection before Adam, where it should come last."""
    params = random_tree(rng)
    optimizer = optax.chain(project_recurrent(), optax.adam(1e-2))

    def step(at, _):
        params, state = at
        updates, state = optimizer.update(params, state, params)
        params = optax.apply_updates(params, updates)
        assert_orthogonal(params)
        return (params, state), None

    with pytest.raises(Exception, match="cell/h/kernel is not orthogonal") as caught:
        jax.block_until_ready(
            jax.jit(lambda at: jax.lax.scan(step, at, length=3))((params, optimizer.init(params)))
        )
    assert isinstance(caught.value, jax.errors.JaxRuntimeError)
