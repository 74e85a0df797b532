"""The gradient analysis: its numbers against direct ones, and a small whole run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiment_support import PNG, load

from experiments.gradient_analysis.command import analyses, execute
from experiments.gradient_analysis.config import CLIPPINGS, QUICK, WHOLE, GradientAnalysisConfig
from experiments.gradient_analysis.flow import (
    INITIALISERS,
    fitted_rate,
    flow,
    flow_series,
    init_series,
    initial_params,
    last_step_loss,
    network,
    spread,
    windows,
)
from experiments.gradient_analysis.training import share_of_spikes
from experiments.harness.method.recipe import Recipe
from experiments.harness.records.panels import Series, panels_of
from experiments.harness.records.results import Run
from experiments.harness.text.language import corpus
from jaxrnn.text import CharacterTask

PANELS = {
    "rnn_training_analysis": {"loss", "perplexity", "gradient norm", "characters"},
    "gradient_flow_analysis": {"lengths", "networks", "start", "rates", "spectrum"},
    "weight_initialization_analysis": {"flow", "mean", "variance", "rate"},
    "sequence_length_analysis": {"loss", "perplexity", "gradient norm", "time", "exponent"},
    "gradient_clipping_analysis": {"loss", "gradient norm", "final loss", "stability"},
}


@pytest.fixture
def task():
    return CharacterTask(corpus("simple").text, seq_len=7, streams=4)


def test_series_survive_results_json():
    series = Series("figure", "panel", "name", [1, 2], np.array([0.5, np.inf]), [0, 1], [1, 2])
    run = series.as_run()
    entry = {
        "method": run.method,
        "settings": run.settings,
        "final": {**run.final, "y": [0.5, None]},
    }
    other = {"method": "figure", "settings": {}, "final": {}}
    points = panels_of({"runs": [entry, other]}, "figure")["panel"]["name"]
    assert points == {
        "x": [1, 2],
        "y": [0.5, pytest.approx(np.nan, nan_ok=True)],
        "low": [0, 1],
        "high": [1, 2],
    }
    assert panels_of({"runs": [entry]}, "another") == {}


def test_the_profile_is_that_of_a_typical_sequence(task):
    """The root mean square over sequences of ‖∂L_b/∂h_t‖, which does not depend on B."""
    model = network(task, 6)
    params = initial_params(task, 6, "orthogonal", 0)
    tokens, targets = windows(task, 5, 9, seed=0)
    profile, slope = flow(model, params, tokens, targets)

    def loss_of_one(h_0, x, y):
        inputs = jax.nn.one_hot(x, task.num_outputs)[None]
        return last_step_loss(model.apply({"params": params}, inputs, h_0[None]), y[None])

    starts = jax.vmap(jax.grad(loss_of_one), (None, 0, 0))(jnp.zeros(6), tokens, targets)
    expected = np.sqrt((np.linalg.norm(starts, axis=1) ** 2).mean())
    assert profile[0] == pytest.approx(expected, rel=1e-5)  # float32
    assert 0 < slope < 1


def test_a_linear_flow_has_the_rate_of_its_matrix(task):
    # tanh of next to nothing is the identity: φ' = 1, and ‖∂L/∂h_0‖ = 0.5^T ‖∂L/∂h_T‖.
    params = initial_params(task, 6, "orthogonal", 0)
    params["cell"]["i"]["kernel"] *= 1e-4
    params["cell"]["h"]["kernel"] *= 0.5
    found = flow_series(task, {"half": params}, sequences=8, lengths=(3, 5, 9))
    rates = next(series for series in found if series.panel == "rates")
    values = dict(zip(rates.x, rates.y, strict=True))
    for name in ("Lyapunov exponent", "ln(σ_max · mean φ')", "ln(ρ · mean φ')"):
        assert values[name] == pytest.approx(np.log(0.5), rel=1e-3), name
    # Other texts for every length: ‖∂L/∂h_T‖ is not the same.
    assert values["fitted"] == pytest.approx(np.log(0.5), rel=0.1)
    assert values["horizon"] == 7  # 2^7 > 100
    spectrum = next(series for series in found if series.panel == "spectrum")
    np.testing.assert_allclose(spectrum.y, 9 * np.log10(0.5), rtol=1e-3)


def test_fitted_rate():
    lengths = (2, 5, 11)
    assert fitted_rate(lengths, [3 * 0.8**T for T in lengths]) == pytest.approx(np.log(0.8))
    assert fitted_rate(lengths, [1.0, 0.0, np.e**-9]) == pytest.approx(-1.0)
    assert np.isnan(fitted_rate(lengths, [1.0, 0.0, np.inf]))


def test_initialisations(task):
    found = init_series(task, 40, sequences=5, seeds=range(2))
    assert {series.name for series in found} == set(INITIALISERS)
    assert {series.panel for series in found} == PANELS["weight_initialization_analysis"]
    rates = {series.name: series.y[0] for series in found if series.panel == "rate"}
    assert rates["small"] > rates["Xavier"] > rates["large"]
    flows = {series.name: series for series in found if series.panel == "flow"}
    assert all((s.low <= s.y).all() and (s.y <= s.high).all() for s in flows.values())
    assert flows["small"].y[0] > flows["small"].y[-1]  # steps back from the loss


def test_spread():
    mean, low, high = spread(np.array([[1.0, 5.0], [3.0, 3.0]]))
    np.testing.assert_array_equal([mean, low, high], [[2, 4], [1, 3], [3, 5]])


def test_share_of_spikes():
    steps = {"grad_norm": np.array([1.0, 1, 1, 1, 2.9, 3.1, 50, 1, 1, 1])}
    assert share_of_spikes(Run("a", "jax", 0, steps=steps)) == pytest.approx(0.2)
    assert share_of_spikes(Run("a", "jax", 0, status="diverged", steps=steps)) == 1


def test_sizes_and_folders():
    assert GradientAnalysisConfig().size is WHOLE
    assert GradientAnalysisConfig(quick=True).size is QUICK
    assert set(QUICK.clippings) <= set(WHOLE.clippings) == set(CLIPPINGS)
    with pytest.raises(ValueError, match="--hidden must be from 1"):
        GradientAnalysisConfig(hidden=0)
    with pytest.raises(ValueError, match="--devices must be auto or a divisor"):
        GradientAnalysisConfig(devices=5)


def test_recipes(monkeypatch):
    """What the five figures train, without training it."""
    trained: list[tuple[str, Recipe]] = []

    def train(self, name, recipe, steps, measure=None):
        trained.append((name, recipe))
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.gradient_analysis.training.Trainer.__call__", train)
    with pytest.raises(KeyboardInterrupt):
        list(analyses(GradientAnalysisConfig(dataset="simple", quick=True), None))
    ((name, recipe),) = trained
    assert (name, recipe.optimizer, recipe.clip_norm, recipe.streams) == (
        "vanilla",
        "adam",
        1.0,
        32,
    )


@pytest.mark.slow
def test_a_quick_run(tmp_path):
    execute(
        GradientAnalysisConfig(
            dataset="simple", quick=True, hidden=8, seeds=2, devices=1, out=tmp_path / "out"
        )
    )
    results = load(tmp_path / "out")
    for figure, panels in PANELS.items():
        assert (tmp_path / "out" / f"{figure}.png").read_bytes().startswith(PNG)
        assert panels_of(results, figure).keys() == panels
    networks = panels_of(results, "gradient_flow_analysis")["networks"]
    assert list(networks) == [
        "vanilla",
        "identity",
        "orthogonal",
        "vanilla, trained",
        "QR, trained",
    ]
    assert networks["vanilla"]["y"] != networks["vanilla, trained"]["y"]
    lengths = panels_of(results, "sequence_length_analysis")
    assert lengths["loss"]["as much text"]["x"] == list(QUICK.lengths)
    perplexities = lengths["perplexity"]["as much text"]["low"]
    np.testing.assert_allclose(
        perplexities, 2 ** np.array(lengths["loss"]["as much text"]["low"]), rtol=1e-6
    )
    assert list(panels_of(results, "gradient_clipping_analysis")["final loss"]) == [
        "none",
        "norm 1",
    ]
