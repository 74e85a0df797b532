"""The library once more under JAX's debugging modes, and with parameters in Flax's boxes.

What it computes there is what it computes otherwise.
"""

import functools
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrnn import (
    LeakyCell,
    SequenceModel,
    SkipCell,
    StackedModel,
    TruncatedCell,
    VanillaCell,
    assert_orthogonal,
    convert,
    diagnose,
    diagnostics,
    group,
    initializers,
    keep_orthogonal,
    losses,
    optimizers,
    orthogonal,
    project_recurrent,
    retract_params,
    sampling,
    tasks,
    training,
)
from jaxrnn.activations import ACTIVATIONS

B, T, D, N, C, K = 4, 6, 3, 5, 2, 3

MODES = {
    "debug_nans": lambda: jax.debug_nans(True),
    "disable_jit": jax.disable_jit,
    "rank_promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype_promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "x64": lambda: jax.enable_x64(True),
    "boxed": nullcontext,
}


def boxed(variables):
    """Every kernel in the box that ``nn.with_partitioning`` puts it in."""

    def box(path, leaf):
        is_kernel = "kernel" in jax.tree_util.keystr(path)
        return nn.Partitioned(leaf, (None,) * leaf.ndim) if is_kernel else leaf

    return jax.tree_util.tree_map_with_path(box, variables)


def numbers(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def variables_of(model, inputs):
    """Random ones: biases are not zero, and modReLU is not the identity.

    What a cell begins with is the work of ``initial``; most of the time would go there.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(1), inputs)
    leaves, structure = jax.tree.flatten(shapes)
    drawn = [numbers(leaf.shape, seed) / N**0.5 for seed, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, drawn)


def output_and_gradients(model, wrap, *arguments, **options):
    inputs = numbers((B, T, D))
    variables = wrap(variables_of(model, inputs))
    shape = jax.eval_shape(lambda: model.apply(variables, inputs, **options)).shape
    target = numbers(shape, 5)

    def loss(variables, inputs):
        outputs = model.apply(variables, inputs, *arguments, **options)
        return jnp.mean((outputs - target) ** 2), outputs

    (_, outputs), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
        variables, inputs
    )
    return outputs, nn.meta.unbox(gradients)


def cells():
    for name in ACTIVATIONS:
        yield f"{name}", VanillaCell(N, activation=name)
    yield "gru", nn.GRUCell(N)
    yield "lstm", nn.OptimizedLSTMCell(N)
    yield "leaky", LeakyCell(VanillaCell(N), 0.3)
    yield "skip", SkipCell(VanillaCell(N), 2)
    yield "truncated", TruncatedCell(nn.GRUCell(N), 2)


LENGTHS = jnp.array([T, 0, 2, T - 1])


def models(wrap):
    found = {}
    for name, cell in cells():
        model = SequenceModel(cell, C)
        found[name] = output_and_gradients(model, wrap)
        if name in ("tanh", "gru", "skip"):
            found[f"{name}, padded"] = output_and_gradients(model, wrap, seq_lengths=LENGTHS)
    vanilla = VanillaCell(N, "modrelu")
    found["scan"] = output_and_gradients(SequenceModel(vanilla, C, recurrence="scan"), wrap)
    found["recompute"] = output_and_gradients(SequenceModel(vanilla, C, recompute=True), wrap)
    found["last, reverse"] = output_and_gradients(
        SequenceModel(vanilla, C, last_only=True), wrap, reverse=True
    )
    stacked = StackedModel([vanilla, nn.GRUCell(N + 1)], C)
    found["stacked"] = output_and_gradients(stacked, wrap, seq_lengths=LENGTHS)
    return found


def observed(wrap):
    found = {}
    for name, cell in cells():
        model = SequenceModel(cell, C)
        inputs = numbers((B, T, D))
        variables = wrap(variables_of(model, inputs))

        def loss_fn(outputs, targets):
            return jnp.mean((outputs - targets) ** 2)

        batch = inputs, numbers((B, T, C), 7)
        seen = jax.jit(lambda v, b, m=model: diagnostics.observe(m, v, b, loss_fn))(
            variables, batch
        )
        (layer,) = seen.layers.values()
        found[name] = (
            seen.loss,
            nn.meta.unbox(seen.gradients),
            diagnostics.gradient_profile(layer),
            diagnostics.layer_saturation(layer),
        )
    return found


class Padded(nn.Module):
    """Sequences of lengths of their own, all shorter than T."""

    model: SequenceModel

    @nn.compact
    def __call__(self, inputs):
        return self.model(inputs, seq_lengths=jnp.minimum(LENGTHS, T - 1))


def diagnosed(wrap):
    model = SequenceModel(VanillaCell(N, "modrelu"), C)
    return [diagnosis_of(each, wrap) for each in (model, Padded(model))]


def diagnosis_of(model, wrap):
    inputs = numbers((B, T, D))
    variables = wrap(variables_of(model, inputs))
    report = diagnose(model, variables, (inputs, 0.0), lambda y, _: jnp.mean(y**2))
    layers = report.evidence.layers.values()
    kernels = [W for layer in layers for W in layer.kernels.values()]
    return {
        "loss": report.evidence.loss,
        "early": report.evidence.early_share,
        "profiles": [(layer.memory, layer.gradient, layer.saturated) for layer in layers],
        "kernels": [(W.spectral_radius, W.singular_values) for W in kernels],
    }


def jacobians(wrap):
    del wrap
    cell, inputs, h_0 = VanillaCell(N, "modrelu"), numbers((B, T, D)), numbers((B, N), 2)
    variables = cell.init(jax.random.key(0), h_0[0], inputs[0, 0])
    return [
        measure(cell, variables, h_0, inputs)
        for measure in (diagnostics.jacobian_singular_values, diagnostics.lyapunov_spectrum)
    ]


def matrices(wrap):
    del wrap
    W = numbers((2, N, N))
    measures = (
        diagnostics.spectral_norm,
        diagnostics.spectral_radius,
        diagnostics.orthogonality_error,
    )
    found = {measure.__name__: measure(W) for measure in measures}
    for name, retract in orthogonal.RETRACTIONS.items():
        found[name] = retract(W), jax.grad(lambda W, f=retract: (f(W) * W).sum())(W)
    # A singular matrix has an orthogonal factor too.
    found["singular"] = orthogonality_of(orthogonal.qr(jnp.ones((3, 3))))
    return found


def orthogonality_of(Q):
    return jnp.round(diagnostics.orthogonality_error(Q), 4)


def initial(wrap):
    del wrap
    makers = {
        "orthogonal": initializers.orthogonal(0.5),
        "henaff": initializers.henaff(),
        "special_orthogonal": initializers.special_orthogonal(),
        "identity": initializers.identity(2.0),
        "uniform": initializers.uniform(4),
        "normal": initializers.normal(0.1),
        "xavier": initializers.xavier(),
    }
    return {name: make(jax.random.key(2), (N, N), jnp.float32) for name, make in makers.items()}


def trained(wrap):
    """A projected network by chunks, on one device and on two; classes, numbers and streams."""
    found = {}
    rng = np.random.default_rng(2)
    for name, task in (("copy", tasks.CopyTask(2)), ("adding", tasks.AddingTask(T))):
        regression = name == "adding"
        cell = VanillaCell(N, "modrelu")
        model = SequenceModel(cell, task.num_outputs, last_only=regression)
        params = wrap(variables_of(model, numbers((B, T, task.num_inputs))))["params"]
        loss = (
            losses.regression_loss(model)
            if regression
            else losses.classification_loss(model, task.num_inputs)
        )
        optimizer = optax.chain(
            optimizers.adam(1e-2, clip_norm=1.0, recurrent_lr=1e-3), project_recurrent(every=2)
        )
        batches = task.sample(rng, K, B)
        for devices in (1, 2) if len(jax.devices()) > 1 else (1,):
            chunk = training.make_train_chunk(loss, optimizer, track_every=2, devices=devices)
            state, measured = jax.jit(chunk)(training.TrainState.create(params, optimizer), batches)
            found[name, devices] = (
                nn.meta.unbox(state.params),
                measured.loss,
                measured.grad_norm,
                measured.spectral_norm[1::2],
            )
    return found


def projected(wrap):
    params = {"cell": {"h": {"kernel": numbers((N, N))}}}
    found = {}
    for layout in ("in_out", "out_in"):
        start, transform = wrap(params), project_recurrent(layout=layout)
        retracted = retract_params(start, layout=layout)
        updates, _ = jax.jit(transform.update)(start, transform.init(start), start)
        found[layout] = nn.meta.unbox((retracted, updates))
    found["measured"] = diagnostics.recurrent_diagnostics(wrap(params))
    return found


def on_the_group(wrap):
    """Each method, of a batch of matrices."""
    start = wrap(retract_params({"cell": {"h": {"kernel": numbers((2, N, N))}}}))
    found = {}
    for name, method in {
        "none": None,
        "cayley": group.on_group(optax.adam(0.1), "cayley"),
        "exponential": group.on_group(optax.adam(0.1), "exponential"),
        "stiefel_adam": group.stiefel_adam(0.1),
        "group_muon": group.group_muon(0.1),
        "pogo": group.pogo(group.matrix_adam(0.1)),
        "landing": group.landing(0.1),
        "exprnn": group.exprnn(optax.sgd(0.1), every=1),
    }.items():
        transform = keep_orthogonal(optax.sgd(0.1), method)
        gradients = jax.tree.map(lambda leaf: leaf**2, start)
        updates, _ = jax.jit(transform.update)(gradients, transform.init(start), start)
        found[name] = nn.meta.unbox(updates)
        assert_orthogonal(optax.apply_updates(start, updates), 0.1)
    return found


def converted(wrap):
    model = SequenceModel(VanillaCell(N, "modrelu"), C)
    weights = convert.to_weights(wrap(variables_of(model, numbers((B, T, D))))["params"])
    return weights, convert.from_weights(weights)


def sampled(wrap):
    model = SequenceModel(VanillaCell(N), D)
    variables = wrap(variables_of(model, numbers((B, T, D))))
    return sampling.sample(model, variables, jax.random.key(1), jnp.array([2, 0]), 5, 0.0)


WORK = {
    work.__name__: work
    for work in (
        models,
        observed,
        diagnosed,
        jacobians,
        matrices,
        initial,
        trained,
        projected,
        on_the_group,
        converted,
        sampled,
    )
}
# Step by step, each operation by itself, training takes a minute. Optax's Adam multiplies floats
# with an integer count, which strict promotion of dtypes refuses.
LEFT_OUT = {
    "disable_jit": {"models", "observed", "trained"},
    "dtype_promotion": {"trained", "on_the_group"},
}
CASES = [(mode, work) for mode in MODES for work in WORK if work not in LEFT_OUT.get(mode, ())]


@functools.cache
def as_ever(work):
    return WORK[work](lambda tree: tree)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "work"), CASES)
def test_a_mode_changes_nothing(mode, work, unchecked):
    expected = as_ever(work)
    with MODES[mode]():
        found = WORK[work](boxed if mode == "boxed" else lambda tree: tree)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if mode == "debug_nans" and work != "diagnosed":
            other = np.where(np.isnan(other), -1, other)  # what was not measured
        # Rounding of float32 in another order, or in float64, through a few steps and inverses.
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
