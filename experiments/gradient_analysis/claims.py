"""Claims 6 and 8: where gradients go."""

import numpy as np

from experiments.gradient_analysis.figure import SGD_LR
from experiments.harness.records.evidence import Loader, Row, load
from experiments.harness.records.panels import panels_of
from experiments.harness.records.statements import Statement, all_or_some, holds_if, verdict

LENGTHS = (5, 25, 50)
SIGMA, RADIUS, EXPONENT = "ln(σ_max · mean φ')", "ln(ρ · mean φ')", "Lyapunov exponent"

# Of claim 6.
REPORTED = {5: 0.045, 25: 0.003, 50: 0.0008}
ALIKE = 0.2  # of a rate: two that differ by less are called the same
NEGLIGIBLE_AFTER = (30, 40)  # steps

# Of claim 8.
HEALTHY_MEAN = (0.01, 0.1)
HEALTHY_RATE = (0.08, 0.1)  # faster vanishes; below zero explodes
HEALTHY_NORM = (0.1, 1.0)
BEST_CLIPPING = ("norm 0.5", "norm 1")
INITS = ("small", "uniform ±1/√N", "Xavier", "orthogonal", "large")
SOLVED = 0.02  # of the adding problem, whose baseline is 0.167

Rates = dict[str, float]


def claim_6(load: Loader = load) -> Row:
    """How fast does the gradient fall on its way back, and what sets the rate?"""
    panels = panels_of(load("gradient_analysis"), "gradient_flow_analysis")
    rates = {
        name: dict(zip(points["x"], points["y"], strict=True))
        for name, points in panels["rates"].items()
    }
    vanilla, trained = rates["vanilla"], rates["vanilla, trained"]
    start = dict(zip(panels["start"]["vanilla"]["x"], panels["start"]["vanilla"]["y"], strict=True))
    norms = ", ".join(f"{start[T]:.1g} at {T}" for T in LENGTHS)
    return (
        "Vanilla RNN: the gradient that reaches the start decays exponentially with the length "
        "(0.045 at 5, 0.003 at 25, 0.0008 at 50), at a rate set by the largest singular value of "
        "W_hh, and is negligible beyond 30–40 steps",
        "`experiments.gradient_analysis`",
        f"‖∂L/∂h_0‖ of the last step's loss at initialisation: {norms}; ln of the factor per step "
        f"{vanilla['fitted']:.2f}, of a trained network {trained['fitted']:.2f}; from the largest "
        f"singular value {vanilla[SIGMA]:+.2f} and {trained[SIGMA]:+.2f}, from the spectral radius "
        f"{vanilla[RADIUS]:+.2f} and {trained[RADIUS]:+.2f}, largest Lyapunov exponent "
        f"{vanilla[EXPONENT]:.2f} and {trained[EXPONENT]:.2f}; a hundredth of it is left after "
        f"{vanilla['horizon']:.0f} and {trained['horizon']:.0f} steps; orthogonal: "
        f"{rates['orthogonal']['fitted']:.2f}, QR-trained: {rates['QR, trained']['fitted']:.2f}",
        verdict(
            (
                decays_exponentially({T: start[T] for T in LENGTHS}),
                rate_is_of("the largest singular value", SIGMA, vanilla, trained),
                rate_is_of("the spectral radius", RADIUS, vanilla, trained),
                is_negligible(max(vanilla["horizon"], trained["horizon"])),
                projection_slows_it(rates["QR, trained"]["fitted"], trained["fitted"]),
            )
        ),
    )


def slopes(norms: dict[int, float]) -> list[float]:
    """ln of the factor per step, between each length and the next."""
    T, ln = np.array(list(norms)), np.log(list(norms.values()))
    return list(np.diff(ln) / np.diff(T))


def decays_exponentially(norms: dict[int, float]) -> Statement:
    """It falls, from length to length by the same factor a step; in part, where it only falls."""
    found = slopes(norms)
    falls = max(found) < 0
    is_even = max(found) - min(found) <= ALIKE * abs(float(np.mean(found)))
    is_faster = falls and np.mean(found) < np.mean(slopes(REPORTED))
    remark = "faster than reported" if is_faster else ""
    return Statement("exponential decay", holds_if(falls and is_even, falls), remark)


def rate_is_of(words: str, name: str, vanilla: Rates, trained: Rates) -> Statement:
    """What it predicts for the network at first and after training, against the fitted rates."""
    when = {"at first": vanilla, "after training": trained}
    right = {
        moment: abs(rates[name] - rates["fitted"]) <= ALIKE * abs(rates["fitted"])
        for moment, rates in when.items()
    }
    finding = all_or_some(right.values())
    remark = ""
    if finding == "holds in part":
        remark = next(moment for moment, is_right in right.items() if is_right)
    elif finding == "fails" and min(vanilla[name], trained[name]) > 0:
        remark = "it would mean growth"
    return Statement(f"a rate set by {words}", finding, remark)


def is_negligible(horizon: float) -> Statement:
    """From the steps after which a hundredth is left, of the network where they are more."""
    early, late = NEGLIGIBLE_AFTER
    remark = f"after {horizon:.0f} already" if horizon < early else ""
    return Statement("negligible beyond 30–40 steps", holds_if(horizon <= late), remark)


def projection_slows_it(projected: float, free: float) -> Statement:
    """From ln of the factor per step, in tanh networks trained with projection and without."""
    return Statement("slower decay in a network trained with QR", holds_if(projected > free))


def claim_8(load: Loader = load) -> Row:
    """Which initialisation, which clipping, and which gradient norm are healthy?"""
    results = load("gradient_analysis")
    panels = panels_of(results, "weight_initialization_analysis")
    means, rates = ({name: panels[p][name]["y"][0] for name in INITS} for p in ("mean", "rate"))
    said = [f"{name} {means[name]:.2g} and {rates[name]:+.3f}" for name in INITS]
    clipping = panels_of(results, "gradient_clipping_analysis")
    losses = {
        name: float(np.nan_to_num(points["y"][0], nan=np.inf))
        for name, points in clipping["final loss"].items()
    }
    ends = ", ".join(
        f"{name} {losses[name]:.2f}" if np.isfinite(losses[name]) else f"{name} diverged"
        for name in sorted(losses, key=lambda name: losses[name])
    )
    norms = panels_of(results, "rnn_training_analysis")["gradient norm"]["median"]["y"]
    adding = load("adding_task/irnn")["runs"][0]
    steps = [norm for norm in adding["steps"]["grad_norm"] if norm is not None]
    return (
        "Xavier gives healthy gradients (0.01–0.1, decay rate 0.08–0.1) where small weights vanish "
        "and large ones explode; clipping at 0.5–1.0 is the best trade-off; gradient norms of "
        "0.1–1.0 mean healthy training",
        "`experiments.gradient_analysis`",
        "mean of ‖∂L/∂h_t‖ over 50 steps and its decay per step: "
        f"{', '.join(said)}. SGD at {SGD_LR:g}, bits per character at the end by clipping: {ends}. "
        f"Gradient norm of a healthy language model {min(norms):.2f} to {max(norms):.2f}, of the "
        f"IRNN that learns to add {np.median(steps):.3g} (median of the largest of each stretch) "
        f"to {max(steps):.2g}",
        verdict(
            (
                small_vanish_large_explode(rates["small"], rates["large"]),
                keeps_gradients("Xavier", rates["Xavier"]),
                is_as_reported(means["Xavier"], rates["Xavier"]),
                keeps_gradients("orthogonal W_hh", rates["orthogonal"]),
                mean_shows_health(means, rates),
                clipping_is_best(losses),
                norm_shows_health(
                    min(norms), max(norms), float(np.median(steps)), adding["final"]["test_loss"]
                ),
            )
        ),
    )


def is_healthy(rate: float) -> bool:
    """Neither exploding nor vanishing, by the decay per step."""
    return 0 <= rate <= HEALTHY_RATE[1]


def is_within(value: float, bounds: tuple[float, float]) -> bool:
    """Between them, or one of them."""
    return bounds[0] <= value <= bounds[1]


def small_vanish_large_explode(small: float, large: float) -> Statement:
    """From their decay per step."""
    finding = all_or_some((small > HEALTHY_RATE[1], large < 0))
    return Statement("small weights vanishing and large ones exploding", finding)


def keeps_gradients(name: str, rate: float) -> Statement:
    """A decay of at most 0.1 a step, and no growth."""
    return Statement(f"healthy gradients by {name}", holds_if(is_healthy(rate)))


def is_as_reported(mean: float, rate: float) -> Statement:
    """The mean and the decay of Xavier's gradients, each within the claim's bounds."""
    right = is_within(mean, HEALTHY_MEAN), is_within(rate, HEALTHY_RATE)
    remarks = [
        f"{'larger' if mean > HEALTHY_MEAN[1] else 'smaller'} than said" if not right[0] else "",
        f"{'slower' if rate < HEALTHY_RATE[0] else 'faster'} to decay" if not right[1] else "",
    ]
    return Statement(
        "its mean in 0.01–0.1 and its decay in 0.08–0.1",
        all_or_some(right),
        " and ".join(filter(None, remarks)),
    )


def mean_shows_health(means: Rates, rates: Rates) -> Statement:
    """Every initialisation with such a mean neither vanishes nor explodes."""
    words = "a mean of 0.01–0.1 as a sign of health"
    such = [name for name in means if is_within(means[name], HEALTHY_MEAN)]
    if not such:
        return Statement(words, "not shown", "no initialisation has it")
    sick = [name for name in such if not is_healthy(rates[name])]
    remark = f"{' and '.join(sick)} weights have it, and do not carry gradients" if sick else ""
    return Statement(words, holds_if(not sick), remark)


def clipping_is_best(losses: Rates) -> Statement:
    """Both limits end below every other limit of the norm, and none; in part, where one does."""
    others = [
        loss
        for name, loss in losses.items()
        if name.startswith(("norm", "none")) and name not in BEST_CLIPPING
    ]
    finding = all_or_some(losses[name] < min(others) for name in BEST_CLIPPING)
    by_value = [name for name in losses if name.startswith("value")]
    as_good = [n for n in by_value if losses[n] <= max(losses[name] for name in BEST_CLIPPING)]
    remark = f"{' and '.join(as_good)} being as good" if as_good else ""
    return Statement("clipping the norm at 0.5–1.0 as the best", finding, remark)


def norm_shows_health(low: float, high: float, adding: float, adding_loss: float) -> Statement:
    """A language model's norms and the IRNN's median lie within 0.1–1.0, if the IRNN learns."""
    right = [is_within(low, HEALTHY_NORM) and is_within(high, HEALTHY_NORM)]
    remark = ""
    if adding_loss < SOLVED:
        right.append(is_within(adding, HEALTHY_NORM))
        remark = "" if right[1] else f"the IRNN learns with {adding:.3g}"
    return Statement("norms of 0.1–1.0 as health", holds_if(all(right)), remark)
