"""The fused recurrence: four witnesses of one gradient, and everything around it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrnn import SequenceModel, VanillaCell, bptt, numpy_rnn, recurrent_layer
from jaxrnn.convert import from_weights, to_weights
from jaxrnn.tasks import Batch, CopyTask
from jaxrnn.training import classification_loss
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, N, T
from tests.parity_checks import TRAJECTORY, rounding_bound, uniform_weights
from tests.parity_support import JaxSide, Problem, TorchSide, running_on

# Rounding of sums of at most T·B = 15 products of size one in float64, in different orders.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-14}
ACTIVATIONS = list(reference.ACTIVATIONS)


def random_problem(rng, activation):
    """Weights, and a batch of one-hot tokens (as D features) and classes."""
    weights = reference.random_weights(rng, activation)
    return weights, (rng.integers(0, D, (B, T)), rng.integers(0, C, (B, T)))


def model_of(activation, recurrence, **options):
    cell = VanillaCell(N, activation, param_dtype=jnp.float64)
    return SequenceModel(cell, C, recurrence=recurrence, param_dtype=jnp.float64, **options)


def jax_gradients(weights, batch, activation, recurrence, **options):
    loss = classification_loss(model_of(activation, recurrence, **options), D)
    params = from_weights(weights)
    (value, _), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, batch)
    return float(value), to_weights(grads)


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], err_msg=name, **FLOAT64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_four_witnesses_of_the_loss_and_every_gradient(rng, x64, activation):
    """The fused recurrence, autodiff of the scan, NumPy by hand, PyTorch's autograd."""
    weights, batch = random_problem(rng, activation)
    fused_loss, fused = jax_gradients(weights, batch, activation, "fused")
    scan_loss, scan = jax_gradients(weights, batch, activation, "scan")
    inputs = np.eye(D)[batch[0]]
    outputs, hidden = numpy_rnn.forward(weights, inputs, activation=activation)
    numpy_loss, dy = numpy_rnn.cross_entropy(outputs, batch[1])
    by_hand = numpy_rnn.backward(weights, inputs, hidden, dy, activation)
    torch_loss, by_torch = TorchSide(Problem(weights, activation)).gradients(Batch(*batch))
    np.testing.assert_allclose([fused_loss, scan_loss, torch_loss], numpy_loss, **FLOAT64)
    for witness in (fused, scan, by_torch):
        assert_same(witness, by_hand)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_agree_with_finite_differences(rng, x64, activation):
    weights, batch = random_problem(rng, activation)
    _, grads = jax_gradients(weights, batch, activation, "fused")
    step = 1e-6
    direction = {name: rng.standard_normal(array.shape) for name, array in weights.items()}
    ahead, behind = (
        jax_gradients(
            {name: weights[name] + sign * step * direction[name] for name in weights},
            batch,
            activation,
            "fused",
        )[0]
        for sign in (1, -1)
    )
    slope = sum(np.sum(grads[name] * direction[name]) for name in weights)
    # Truncation step² times a third derivative of about one, rounding eps / step = 2e-10.
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize("activation", ["tanh", "modrelu"])
def test_the_initial_carry_has_a_gradient(rng, x64, activation):
    weights, _ = random_problem(rng, activation)
    inputs, h_0 = (jnp.asarray(rng.standard_normal(shape)) for shape in ((B, T, D), (B, N)))
    cotangent = jnp.asarray(rng.standard_normal((B, N)))
    params = {"params": from_weights(weights)}

    def last(h, recurrence):
        model = model_of(activation, recurrence)
        carry, _ = model.apply(params, inputs, initial_carry=h, return_carry=True)
        return jnp.sum(carry * cotangent)

    fused, scan = (jax.grad(last)(h_0, recurrence) for recurrence in ("fused", "scan"))
    assert np.abs(scan).max() > 1e-3
    np.testing.assert_allclose(fused, scan, **FLOAT64)


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("steps", [1, 4, 5, 7, 9])
def test_chunks_change_nothing_but_memory(rng, x64, monkeypatch, steps, recompute, last_only):
    # After chunks of two there is a rest of 5, 7 and 9; recomputing, of 5 and 7 only.
    weights, _ = random_problem(rng, "modrelu")
    params = {"params": from_weights(weights)}
    inputs, h_0 = (jnp.asarray(rng.standard_normal(shape)) for shape in ((B, steps, D), (B, N)))
    cotangents = (
        rng.standard_normal((B, C) if last_only else (B, steps, C)),
        rng.normal(size=(B, N)),
    )

    def value(params, inputs, h_0, in_chunks):
        chunk = 2 * B * N * 8 if in_chunks else 2**20
        monkeypatch.setattr(bptt, "CHUNK_BYTES", chunk)
        options = {"last_only": last_only, "recompute": recompute and in_chunks}
        model = model_of("modrelu", "fused", **options)
        carry, outputs = model.apply(params, inputs, initial_carry=h_0, return_carry=True)
        return jnp.sum(cotangents[0] * outputs) + jnp.sum(cotangents[1] * carry)

    grad = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2)), static_argnums=3)
    whole, parts = (grad(params, inputs, h_0, in_chunks) for in_chunks in (False, True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **FLOAT64), whole, parts)


def test_chunks_keep_the_states_and_nothing_else_of_all_steps():
    steps, batch, units = 6400, 4, 256
    model = SequenceModel(VanillaCell(units), 1, last_only=True)
    weights = model.init(jax.random.key(0), jnp.zeros((1, 1, 2)))
    inputs = jax.ShapeDtypeStruct((batch, steps, 2), "float32")
    grad = jax.jit(jax.grad(lambda w, x: jnp.sum(model.apply(w, x))))
    compiled = grad.lower(weights, inputs).compile()
    states = 4 * steps * batch * units
    # Without chunks there are the projected inputs, the errors and their gradients, too.
    assert states < compiled.memory_analysis().temp_size_in_bytes < 1.5 * states
    # One loop for the states, one for the errors: the states are not computed again.
    assert compiled.as_text().count("tanh(") == 1


def test_recomputing_takes_memory_of_the_square_root_of_t():
    batch, units = 4, 256  # large enough that the D + C numbers of a step do not count
    model = SequenceModel(VanillaCell(units), 1, last_only=True)
    weights = model.init(jax.random.key(0), jnp.zeros((1, 1, 2)))

    def bytes_for(steps, recompute):
        def loss(weights, inputs):
            return jnp.sum(model.clone(recompute=recompute).apply(weights, inputs))

        inputs = jax.ShapeDtypeStruct((batch, steps, 2), "float32")
        compiled = jax.jit(jax.grad(loss)).lower(weights, inputs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # 16 times as many steps, four times the memory; what does not depend on T makes it less.
    assert bytes_for(6400, True) < 4.4 * bytes_for(400, True)
    assert bytes_for(6400, True) < bytes_for(6400, False) / 5


def test_recomputing_runs_no_step_beyond_the_last():
    # 7 steps by factors of 6e5 are finite in float32, with what h_0 and the loss are scaled by; 9
    # would not be.
    params = jax.tree.map(
        jnp.float32, from_weights(reference.random_weights(np.random.default_rng(0)))
    )
    params["cell"]["h"]["kernel"] = 6e5 * jnp.eye(N)
    params["cell"]["i"]["bias"] = jnp.zeros(N)
    inputs, h_0 = jnp.zeros((B, 7, D)), 1e-4 * jnp.ones((B, N))

    def gradient(recompute):
        model = SequenceModel(VanillaCell(N, "identity"), C, last_only=True, recompute=recompute)
        return jax.grad(lambda p: 1e-30 * jnp.sum(model.apply({"params": p}, inputs, h_0)))(params)

    for kept, recomputed in zip(*map(jax.tree.leaves, map(gradient, (False, True))), strict=True):
        assert np.isfinite(kept).all()
        np.testing.assert_allclose(recomputed, kept, rtol=1e-5)  # a few roundings of 6e-8


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("path", ["scan", "fused", "fused, chunks", "fused, recomputing"])
def test_variable_lengths_and_reverse_order(rng, x64, monkeypatch, reverse, last_only, path):
    weights, _ = random_problem(rng, "tanh")
    params = {"params": from_weights(weights)}
    inputs = jnp.asarray(rng.standard_normal((B, T, D)))
    lengths = jnp.array([T, 1, 3])
    if path == "fused, chunks":
        monkeypatch.setattr(bptt, "CHUNK_BYTES", 2 * B * N * 8)
    recurrence, _, how = path.partition(", ")
    model = model_of("tanh", recurrence, last_only=last_only, recompute=how == "recomputing")

    def run(params, model=model):
        return model.apply(params, inputs, seq_lengths=lengths, reverse=reverse, return_carry=True)

    def value(params, model):
        carry, outputs = run(params, model)
        if not last_only:  # of the padding nothing is promised
            outputs = jnp.where((jnp.arange(T) < lengths[:, None])[..., None], outputs, 0)
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(jnp.cos(carry))

    by_scan = model.clone(recurrence="scan", recompute=False)
    grad = jax.jit(jax.grad(value), static_argnums=1)
    grads, expected = (grad(params, m)["params"] for m in (model, by_scan))
    assert_same(to_weights(grads), to_weights(expected))
    carry, outputs = run(params)
    for b, length in enumerate(lengths):
        valid = np.asarray(inputs[b : b + 1, :length])
        order = valid[:, ::-1] if reverse else valid
        hidden = reference.hidden_states(weights, order)
        expected = reference.outputs(weights, hidden[:, ::-1] if reverse else hidden)[0]
        np.testing.assert_allclose(carry[b], hidden[0, -1], **FLOAT64)
        if last_only:
            np.testing.assert_allclose(outputs[b], expected[0 if reverse else -1], **FLOAT64)
        else:
            np.testing.assert_allclose(outputs[b, :length], expected, **FLOAT64)


def test_vmap_and_checkpoint(rng, x64):
    kernels = jnp.asarray(rng.standard_normal((2, N, N)) / 4)
    inputs, carry = (jnp.asarray(rng.standard_normal(s)) for s in ((T, B, N), (B, N)))

    def value(kernel):
        return jnp.sum(jnp.sin(bptt.recurrence(kernel, inputs, carry)))

    expected = jnp.stack([jax.grad(value)(kernel) for kernel in kernels])
    for function in (value, jax.checkpoint(value)):
        actual = jax.jit(jax.vmap(jax.grad(function)))(kernels)
        np.testing.assert_allclose(actual, expected, **FLOAT64)


class Window(nn.Module):
    """A part of a sequence, as truncated BPTT takes it."""

    model: SequenceModel

    def __call__(self, carry, inputs):
        return self.model(inputs, initial_carry=carry, return_carry=True)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("lift", [lambda window: window, nn.remat])
def test_flax_lifts_it(rng, x64, lift, recompute):
    weights, _ = random_problem(rng, "modrelu")
    inputs = jnp.asarray(rng.standard_normal((3, B, T, D)))
    h_0 = jnp.asarray(rng.standard_normal((B, N)))
    scan = nn.scan(lift(Window), variable_broadcast="params", split_rngs={"params": False})
    windows = scan(model_of("modrelu", "fused", recompute=recompute))
    shapes = jax.eval_shape(windows.init, jax.random.key(0), h_0, inputs)
    params = {"params": {"model": from_weights(weights)}}
    assert jax.tree.structure(shapes) == jax.tree.structure(params)

    def in_windows(params):
        return jnp.sum(jnp.sin(windows.apply(params, h_0, inputs)[1]))

    def at_once(params):
        whole = inputs.swapaxes(0, 1).reshape(B, 3 * T, D)
        model = model_of("modrelu", "scan")
        outputs = model.apply({"params": params["params"]["model"]}, whole, initial_carry=h_0)
        return jnp.sum(jnp.sin(outputs))

    actual, expected = (jax.grad(f)(params) for f in (in_windows, at_once))
    assert_same(to_weights(actual["params"]["model"]), to_weights(expected["params"]["model"]))


@pytest.mark.usefixtures("two_devices")
def test_a_batch_spread_over_devices_by_its_sharding(rng, x64):
    weights, _ = random_problem(rng, "tanh")
    model = model_of("tanh", "fused")
    inputs = jnp.asarray(rng.standard_normal((4, T, D)))
    mesh = jax.make_mesh((2,), ("batch",), (AxisType.Auto,))
    spread = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec("batch")))

    @jax.jit
    def gradient(params, inputs):
        return jax.grad(lambda p: jnp.mean(model.apply({"params": p}, inputs) ** 2))(params)

    params = from_weights(weights)
    assert_same(*(to_weights(gradient(params, x)) for x in (spread, inputs)))


@pytest.mark.parametrize("activation", ["tanh", "modrelu"])
def test_second_derivatives_in_reverse_mode(rng, x64, activation):
    weights, batch = random_problem(rng, activation)
    params = from_weights(weights)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), params)

    def hessian_vector_product(recurrence):
        loss = classification_loss(model_of(activation, recurrence), D)

        def slope(p):
            grads = jax.grad(lambda q: loss(q, batch)[0])(p)
            return sum(map(jnp.vdot, jax.tree.leaves(grads), jax.tree.leaves(direction)))

        return to_weights(jax.jit(jax.grad(slope))(params))

    assert_same(hessian_vector_product("fused"), hessian_vector_product("scan"))


def test_forward_mode_over_reverse_mode(rng, x64):
    weights, batch = random_problem(rng, "tanh")

    def hessian(recurrence):
        loss = classification_loss(model_of("tanh", recurrence), D)

        def of_kernel(kernel):
            params = from_weights(weights)
            params["cell"]["h"]["kernel"] = kernel
            return loss(params, batch)[0]

        return jax.hessian(of_kernel)(jnp.asarray(weights["W_hh"].T))

    np.testing.assert_allclose(hessian("fused"), hessian("scan"), **FLOAT64)


def test_forward_mode_is_refused_with_the_switch_that_gives_it(rng):
    kernel, inputs, carry = jnp.eye(N), jnp.ones((T, B, N)), jnp.zeros((B, N))
    with pytest.raises(TypeError, match='recurrence="scan"'):
        jax.jvp(lambda k: bptt.recurrence(k, inputs, carry), (kernel,), (kernel,))


@pytest.mark.parametrize("activation", ["tanh", "modrelu"])
def test_gradients_in_bfloat16(activation):
    # A draw in which no unit comes so near to modReLU's threshold that rounding takes it across.
    rng = np.random.default_rng(1)
    weights = reference.random_weights(rng, activation)
    params = jax.tree.map(jnp.float32, from_weights(weights))
    inputs = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)

    def gradient(dtype, recurrence):
        cell = VanillaCell(N, activation, dtype=dtype)
        model = SequenceModel(cell, C, recurrence=recurrence, dtype=dtype)
        return jax.grad(lambda p: jnp.mean(jnp.sin(model.apply({"params": p}, inputs))))(params)

    exact = gradient(jnp.float32, "scan")
    for recurrence in ("fused", "scan"):
        found = gradient(jnp.bfloat16, recurrence)
        for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
            assert leaf.dtype == jnp.float32
            # Rounding by eps = 2^-7 on the way there and back, T steps each, W_hh near one.
            np.testing.assert_allclose(
                leaf, expected, rtol=0, atol=2 * T * 2.0**-7 * np.abs(expected).max()
            )


def test_bfloat16_sums_in_float32(rng):
    kernel, inputs, carry = (
        jnp.asarray(rng.standard_normal(shape) / 2, jnp.bfloat16)
        for shape in ((N, N), (T, B, N), (B, N))
    )
    states = bptt.recurrence(kernel, inputs, carry)
    assert states.dtype == jnp.bfloat16
    exact = bptt.recurrence(*(x.astype(jnp.float32) for x in (kernel, inputs, carry)))
    # Each of T steps rounds states of at most one, by half of eps = 2^-7, and passes it on.
    np.testing.assert_allclose(states.astype(jnp.float32), exact, rtol=0, atol=T * 2.0**-7)


@pytest.mark.parametrize(
    ("recurrence", "message"), [("loop", "'scan', 'fused' or None"), ("fused", r"\(3, 5, .*GRU")]
)
def test_recurrences_that_cannot_be(unchecked, recurrence, message):
    cell = nn.GRUCell(N) if recurrence == "fused" else VanillaCell(N)
    with pytest.raises(ValueError, match=message):
        SequenceModel(cell, C, recurrence=recurrence).init(jax.random.key(0), jnp.ones((B, T, D)))


def test_recomputing_is_refused_where_nothing_is_fused(unchecked):
    for model in (
        SequenceModel(nn.GRUCell(N), C, recompute=True),
        SequenceModel(VanillaCell(N), C, recurrence="scan", recompute=True),
    ):
        with pytest.raises(ValueError, match="recompute needs the fused recurrence"):
            model.init(jax.random.key(0), jnp.ones((B, T, D)))


def test_fused_where_the_cell_allows(rng):
    """The default refuses forward mode for a vanilla cell and has it for another."""
    inputs = jnp.asarray(rng.standard_normal((B, T, D)), jnp.float32)
    for cell in (VanillaCell(N), nn.GRUCell(N)):
        model = SequenceModel(cell, C)
        variables = model.init(jax.random.key(0), inputs)

        def slope(model=model, variables=variables):
            return jax.jvp(lambda x: model.apply(variables, x), (inputs,), (inputs,))

        if isinstance(cell, VanillaCell):
            with pytest.raises(TypeError, match="forward-mode"):
                slope()
        else:
            slope()


def test_an_unknown_activation_is_refused_by_both_paths(rng):
    params = {"params": jax.tree.map(jnp.float32, from_weights(reference.random_weights(rng)))}
    for recurrence in ("fused", "scan"):
        model = SequenceModel(VanillaCell(N, "swish"), C, recurrence=recurrence)
        with pytest.raises(ValueError, match=r"one of tanh, .+, got 'swish'"):
            model.apply(params, jnp.ones((B, T, D)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_epoch_of_the_projected_copy_task_on_both_paths(rng, monkeypatch, dtype):
    task = CopyTask()
    D, N, C = task.num_inputs, 128, task.num_outputs
    problem = Problem(uniform_weights(rng, dtype, D, N, C), clip_norm=1.0)
    steps = -(-20_000 // 128)
    batches = task.sample(rng, steps, 128)
    losses = []
    with running_on("cpu", dtype):
        for recurrence in ("fused", "scan"):
            monkeypatch.setattr(JaxSide, "recurrence", recurrence)
            losses.append(JaxSide(problem).train(batches).loss)
    # T steps of D + N + 1 products each, all steps one after the other; W_hh is orthogonal, so
    # that errors are carried along and do not grow.
    T = batches.inputs.shape[-1]
    bound = rounding_bound(dtype, TRAJECTORY, steps * T * (D + N + 1))
    np.testing.assert_allclose(losses[0], losses[1], rtol=bound, atol=0)
    assert not np.array_equal(*losses)


@pytest.mark.parametrize("last_only", [False, True])
def test_more_batch_dimensions_go_by_the_scan(rng, x64, last_only):
    weights, _ = random_problem(rng, "tanh")
    params = {"params": from_weights(weights)}
    inputs = jnp.asarray(rng.standard_normal((2, B, T, D)))
    outputs = model_of("tanh", None, last_only=last_only).apply(params, inputs)
    fused = model_of("tanh", "fused", last_only=last_only)
    for one, expected in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(fused.apply(params, one), expected, **FLOAT64)
    with pytest.raises(ValueError, match=r"inputs \(B, T, D\), got \(2, 3, "):
        fused.apply(params, inputs)


@pytest.mark.parametrize(
    ("activation", "bias", "carry", "message"),
    [
        ("tanh", True, (B, N), "modrelu, and no other activation, has a bias; tanh got one"),
        ("modrelu", False, (B, N), "modrelu got none"),
        ("tanh", False, (B + 1, N), "carry must be"),
        ("swish", False, (B, N), "activation must be one of"),
    ],
)
def test_arguments_that_do_not_fit(unchecked, activation, bias, carry, message):
    with pytest.raises(ValueError, match=message):
        bptt.recurrence(
            jnp.eye(N),
            jnp.ones((T, B, N)),
            jnp.zeros(carry),
            activation,
            jnp.ones(N) if bias else None,
        )


def test_how_many_steps_a_chunk_takes(monkeypatch):
    state = jnp.zeros((64, 128), jnp.float32)  # 32 KiB
    assert bptt.chunk_length(1000, state, recompute=False) == 32
    assert bptt.chunk_length(21, state, recompute=False) == 21
    assert bptt.chunk_length(21, jnp.zeros((4096, 128)), recompute=False) == 1  # of 2 MiB
    assert bptt.chunk_length(1000, state, recompute=True) == 31
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert bptt.chunk_length(1000, state, recompute=False) == 1000


def test_off_the_cpu_the_bias_is_added(rng, x64, monkeypatch):
    x, kernel, bias = (jnp.asarray(rng.standard_normal(s)) for s in ((T, B, D), (D, N), (N,)))
    on_cpu = recurrent_layer._affine(x, kernel, bias)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(recurrent_layer._affine(x, kernel, bias), on_cpu, **FLOAT64)
