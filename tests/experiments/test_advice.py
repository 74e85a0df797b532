"""First aid is what the matrix of remedies trained: its code does what the recipe does."""

import dataclasses
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxrnn
from experiments.harness.backends.jax_backend import build_model, build_optimizer
from experiments.harness.method.schedule import Schedule
from experiments.remedies.cases import REMEDIES, Case, cases, treated
from jaxrnn.diagnosis import REMEDIES as ADVISED

D, N, C = 3, 7, 5
SCHEDULE = Schedule(2, 11, 4, 10)
K = SCHEDULE.epochs * SCHEDULE.steps_per_epoch  # two steps of warm-up, then decay
KINDS = {"adam": "adaptive", "rmsprop": "adaptive", "sgd": "plain", "momentum": "plain"}
NAMES = {name: getattr(jaxrnn, name) for name in jaxrnn.__all__} | {"optax": optax, "nn": nn}
WORDS = {"scaled_inputs", "longer_bptt", "growing_length", "clean_data", "gradient_path"}
# Adam on tanh from ±1/√N; Adam on ReLU from 1.5 I; SGD at 2.
SYMPTOMS = ("vanishing", "exploding", "unstable")


def small_case(symptom: str) -> Case:
    """A case of few units and steps, without clipping, so that clipping is a change."""
    case = cases()[symptom]  # type: ignore[index]
    return replace(case, recipe=replace(case.recipe, hidden=N, clip_norm=0.0), schedule=SCHEDULE)


def followed(name: str, case: Case) -> tuple[Any, optax.GradientTransformation]:
    """The cell and the optimizer of a case after doing what is advised."""
    recipe = case.recipe
    cell, optimizer = build_model(recipe).cell, build_optimizer(recipe)
    for part in name.split("+"):
        advice = ADVISED[part]
        same_kind = advice.rate is None or KINDS[part] == KINDS[recipe.optimizer]
        scope = {
            **NAMES,
            "N": N,
            "k": 10,
            "K": K,
            "lr": recipe.lr if same_kind else advice.rate,
            "cell": cell,
            "optimizer": optimizer,
        }
        cell = eval(advice.cell, scope) if advice.cell else cell
        optimizer = eval(advice.optimizer, scope) if advice.optimizer else optimizer
    return cell, optimizer


def assert_same_cells(one: nn.Module, other: nn.Module) -> None:
    """Of one type, with the same fields, and initialisers that draw the same."""
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        values = [getattr(module, field.name) for module in (one, other)]
        if isinstance(values[0], nn.Module) and field.name != "parent":
            assert_same_cells(*values)
        elif field.name.endswith("_init"):
            shape = {"kernel_init": (D, N), "recurrent_kernel_init": (N, N)}.get(field.name, (N,))
            drawn = [init(jax.random.key(5), shape, jnp.float32) for init in values]
            np.testing.assert_array_equal(*drawn, err_msg=field.name)
        elif field.name not in ("parent", "name"):
            assert values[0] == values[1], field.name


def updates_of(optimizer: optax.GradientTransformation) -> list[Any]:
    """Its updates on random gradients, some of them large enough to be clipped, some not."""
    rng = np.random.default_rng(11)

    def normal(scale: float) -> dict[str, Any]:
        shapes = {"i": (D, N), "h": (N, N), "hn": (N, N)}
        kernels = {name: {"kernel": scale * rng.normal(size=s)} for name, s in shapes.items()}
        tree = {"cell": kernels, "readout": {"bias": scale * rng.normal(size=C)}}
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)

    params = normal(0.4)
    gradients = [normal(10.0 ** rng.uniform(-3, 1.5)) for _ in range(K + 1)]
    state, found = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        found.append(updates)
        params = optax.apply_updates(params, updates)
    return found


@pytest.mark.parametrize("symptom", SYMPTOMS)
@pytest.mark.parametrize("name", [name for name in REMEDIES if name != "growing_length"])
def test_the_advised_cell_is_the_one_that_was_trained(name, symptom):
    case = small_case(symptom)
    cell, _ = followed(name, case)
    assert_same_cells(cell, build_model(treated(case, REMEDIES[name])[0]).cell)


@pytest.mark.parametrize("symptom", ["vanishing", "unstable"])  # Adam and SGD
@pytest.mark.parametrize(
    "name", [n for n in REMEDIES if any(ADVISED[part].optimizer for part in n.split("+"))]
)
def test_the_advised_optimizer_takes_the_steps_that_were_trained(name, symptom):
    case = small_case(symptom)
    _, optimizer = followed(name, case)
    ours = updates_of(optimizer)
    trained = updates_of(build_optimizer(treated(case, REMEDIES[name])[0]))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(trained), strict=True):
        # The same operations, but that a rate may be multiplied in two factors: each product and
        # each rate is rounded once, by half of eps = 1.2e-7, and there are three of either.
        np.testing.assert_allclose(one, other, rtol=4e-7, atol=0)


@pytest.mark.parametrize("name", REMEDIES)
def test_what_advice_leaves_out_does_not_change(name):
    """The cell, or the optimizer, of a remedy whose advice has no code for it."""
    case = small_case("vanishing")
    recipe, schedule = treated(case, REMEDIES[name])
    parts = [ADVISED[part] for part in name.split("+")]
    if not any(part.optimizer for part in parts):
        fields = ("optimizer", "lr", "recurrent_lr", "clip_norm", "clip_value", "clip_adaptive")
        fields += ("warmup_steps", "decay_steps", "retraction")
        assert [getattr(recipe, f) for f in fields] == [getattr(case.recipe, f) for f in fields]
    # The length alone is for words to say.
    assert (schedule == case.schedule) == (name != "growing_length")


def test_advice_is_code_unless_it_cannot_be():
    assert {name for name, one in ADVISED.items() if not (one.cell or one.optimizer)} == WORDS
    assert all(ADVISED[name].words for name in WORDS)
