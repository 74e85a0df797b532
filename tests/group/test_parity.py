"""Optimizers on the orthogonal group: PyTorch from the same matrices and gradients, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import torch_ref
from jaxrnn import group, keep_orthogonal
from tests.parity_support import assert_agree

N, RATE, STEPS = 7, 0.02, 200
# Rounding in one step, and what 200 steps on random gradients make of it.
AFTER_ONE, AFTER_ALL = 1e-12, 1e-10

ADAM = {"lr": RATE, "betas": (0.9, 0.99), "eps": 1e-5}
METHODS = {
    "on_group": (
        group.on_group(optax.adam(RATE)),
        lambda params: torch.optim.Adam(params, RATE),
        {},
    ),
    "stiefel_adam": (
        group.stiefel_adam(RATE),
        lambda params: torch.optim.Adam(params, **ADAM),
        {"method": "stiefel_adam"},
    ),
    "group_muon": (
        group.group_muon(RATE),
        lambda params: torch_ref.group.SkewMuon(params, RATE),
        {},
    ),
    "pogo": (
        group.pogo(group.matrix_adam(RATE)),
        lambda params: torch_ref.group.MatrixAdam(params, RATE),
        {"method": "pogo"},
    ),
    "landing": (
        group.landing(RATE, momentum=0.5, attraction=0.7),
        lambda params: torch.optim.SGD(params, 1.0, momentum=0.5),
        {"method": "landing", "learning_rate": RATE, "attraction": 0.7},
    ),
    "exprnn": (
        group.exprnn(optax.rmsprop(RATE, decay=0.99, eps=1e-8, eps_in_sqrt=False), every=7),
        lambda params: torch.optim.RMSprop(params, RATE),
        {"method": "exprnn", "every": 7},
    ),
}


def trajectories(name, gradients, W, layout="in_out"):
    """W after each step, in both frameworks."""
    method, make, options = METHODS[name]
    optimizer = keep_orthogonal(optax.sgd(0.1), method, "W", layout)
    turned = (lambda M: M.T) if layout == "in_out" else (lambda M: M)

    def step(at, G):
        params, state = at
        updates, state = optimizer.update({"W": turned(G)}, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), turned(params["W"])

    params = {"W": jnp.asarray(turned(W))}
    start = params, optimizer.init(params)
    ours = jax.jit(lambda Gs: jax.lax.scan(step, start, Gs)[1])(jnp.asarray(gradients))

    model = torch.nn.Module()
    model.W = torch.nn.Parameter(torch.tensor(W))
    theirs_optimizer = make([model.W])
    torch_ref.keep_orthogonal(theirs_optimizer, model, where="W", **options)
    theirs = []
    for G in gradients:
        model.W.grad = torch.tensor(G)
        theirs_optimizer.step()
        theirs.append(model.W.detach().numpy().copy())
    return np.asarray(ours), np.asarray(theirs)


@pytest.fixture
def problem(rng, x64):
    """Gradients that pull towards nothing, and an orthogonal matrix."""
    return rng.standard_normal((STEPS, N, N)), np.linalg.qr(rng.standard_normal((N, N)))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_step_and_two_hundred(name, problem):
    ours, theirs = trajectories(name, *problem)
    assert_agree("one step", ours[0], theirs[0], AFTER_ONE)
    assert_agree(name, ours, theirs, AFTER_ALL)
    assert np.abs(ours[-1] - problem[1]).max() > 0.05


def test_the_other_layout(problem):
    gradients, W = problem
    ours, theirs = trajectories("on_group", gradients[:9], W, "out_in")
    assert_agree("out_in", ours, theirs, AFTER_ALL)


@pytest.mark.parametrize("name", METHODS)
def test_a_forgotten_projection_is_seen(name, problem, monkeypatch):
    """Negative control: torch takes the gradient as it is, and moves off the tangent space."""
    gradients, W = problem
    monkeypatch.setattr(torch_ref.group.methods, "skew", lambda M: M / 2)
    monkeypatch.setattr(torch_ref.group.maps, "skew", lambda M: M / 2)
    ours, theirs = trajectories(name, gradients[:9], W)
    with pytest.raises(AssertionError):
        assert_agree(name, ours, theirs, AFTER_ALL)


def test_gates_are_matrices_of_their_own(rng, x64):
    """torch.nn.LSTM holds four on top of each other; weight decay does nothing to them."""
    torch.manual_seed(0)
    model = torch.nn.LSTM(3, N, dtype=torch.float64)
    torch_ref.project_recurrent(model).step()
    before = model.weight_hh_l0.detach().clone()
    optimizer = torch_ref.keep_orthogonal(
        torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.5), model
    )
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 3, dtype=torch.float64))[0].square().sum().backward()
        optimizer.step()
    W = model.weight_hh_l0.detach().unflatten(0, (4, N))
    assert torch_ref.diagnostics.orthogonality_error(W).max() < 1e-13
    assert (model.weight_hh_l0 - before).abs().amax() > 0.01


def test_bad_arguments_are_named():
    model = torch_ref.SequenceModel(torch_ref.VanillaCell(3, N), 2)
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match="starts from orthogonal matrices, such as one step of"):
        torch_ref.keep_orthogonal(adam, model)
    torch_ref.project_recurrent(model).step()
    for call, message in (
        (lambda: torch_ref.keep_orthogonal("adam", model), "optimizer must be"),
        (lambda: torch_ref.keep_orthogonal(adam, 3), "model must be"),
        (lambda: torch_ref.keep_orthogonal(adam, model, "newton"), "method must be one of on_"),
        (lambda: torch_ref.keep_orthogonal(adam, model, where="none"), "keep_orthogonal: where="),
        (lambda: torch_ref.keep_orthogonal(adam, model, layout="rows"), "layout must be"),
        (lambda: torch_ref.keep_orthogonal(adam, model, "exprnn", every=0), "every must be"),
        (lambda: torch_ref.group.SkewMuon([model.cell.weight_hh_l0], momentum=1.0), "momentum"),
        (lambda: torch_ref.group.MatrixAdam([model.cell.weight_hh_l0], -1.0), "lr must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
