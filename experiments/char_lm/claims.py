"""Claims 7 and 10: character language models, lengths, and projection."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from experiments.char_lm.config import METHODS, PRESETS
from experiments.harness.records.evidence import Loader, Row, load, mean
from experiments.harness.records.figures import by_setting, select
from experiments.harness.records.panels import panels_of
from experiments.harness.records.statements import Statement, all_or_some, holds_if, verdict

QUOTED = (5, 10, 25, 40, 100)  # lengths, of all that the figure has

# Of claim 7.
REPORTED_LOSSES = {25: 1.85, 50: 1.52, 100: 1.40}
SAME_LOSS = 0.1  # of it
BEST_LENGTHS = (20, 30)
QUADRATIC = 1.5  # an exponent that is nearer to 2 than to 1
SAME_PERPLEXITY = 0.01  # of it: they are given with three digits
PROJECTED_OR_NOT = PRESETS["projection"]["methods"]


def claim_7(load: Loader = load) -> Row:
    """Sizes, texts, lengths, cost, and what perplexity is."""
    sizes = by_setting(load("char_lm/sizes")["runs"], "hidden")
    by_size = ", ".join(
        f"N = {N}, T = {runs[0]['settings']['seq_len']}: {mean(runs, 'test_loss'):.2f} and "
        f"{mean(runs, 'perplexity'):.2f}"
        for N, runs in sizes.items()
    )
    losses = {int(N): mean(runs, "test_loss") for N, runs in sizes.items()}
    texts = by_setting(load("char_lm/datasets")["runs"], "dataset")
    text_losses = {name: mean(runs, "test_loss") for name, runs in texts.items()}
    by_text = ", ".join(f"{name} {loss:.2f}" for name, loss in text_losses.items())
    lengths = panels_of(load("gradient_analysis"), "sequence_length_analysis")
    exponent = lengths["exponent"]["T"]["y"][0]
    by_length = "; ".join(
        f"{budget}: "
        + ", ".join(f"{y:.2f} at {x}" for x, y in zip(p["x"], p["y"], strict=True) if x in QUOTED)
        for budget, p in lengths["loss"].items()
    )
    budgets = {
        budget: dict(zip(p["x"], p["y"], strict=True)) for budget, p in lengths["loss"].items()
    }
    return (
        "Character LM: N = 25 / 50 / 100 at T = 15 / 25 / 35 gives loss 1.85 / 1.52 / 1.40 and "
        "perplexity 6.34 / 4.58 / 4.05; simple text, Shakespeare, code and numbers 1.52 / 2.16 / "
        "1.99 / 0.89; loss against T is U-shaped with the best at 20–30; cost grows quadratically "
        "with T; perplexity is exp(loss / length)",
        "`experiments.char_lm --compare sizes`, `--compare datasets`, "
        "`experiments.gradient_analysis`",
        f"test loss and perplexity on Shakespeare: {by_size}; test loss by text: {by_text}; bits "
        f"per character against T, {by_length}; time of a step ∝ T^{exponent:.2f}",
        verdict(
            (
                larger_is_better(losses),
                losses_are_as_reported(losses),
                shakespeare_is_hardest(text_losses),
                numbers_are_easiest(text_losses),
                is_u_shaped("with five million characters (row 10)", _by_length(load)),
                is_u_shaped("with one million", budgets["as much text"]),
                is_u_shaped("for as many steps", budgets["as many steps"]),
                cost_is_quadratic(exponent),
                perplexity_is_by_length([run for runs in sizes.values() for run in runs]),
            )
        ),
    )


def _by_length(load: Loader) -> dict[int, float]:
    """Bits per character of row 10's networks without projection, against T."""
    runs = select(load("char_lm/projection")["runs"], method="vanilla")
    return {
        int(T): mean(group, "bits_per_character")
        for T, group in by_setting(runs, "seq_len").items()
    }


def larger_is_better(losses: dict[int, float]) -> Statement:
    """From the losses by size; in part, where only the largest is better than the smallest."""
    found = [losses[N] for N in sorted(losses)]
    falls = all(after < before for before, after in pairwise(found))
    return Statement("larger being better", holds_if(falls, found[-1] < found[0]))


def losses_are_as_reported(losses: dict[int, float]) -> Statement:
    """Each to a tenth of it."""
    finding = all_or_some(
        abs(losses[N] - reported) <= SAME_LOSS * reported for N, reported in REPORTED_LOSSES.items()
    )
    return Statement("the losses themselves on this text", finding)


def shakespeare_is_hardest(losses: dict[str, float]) -> Statement:
    """Of all texts."""
    finding = holds_if(max(losses, key=lambda name: losses[name]) == "shakespeare")
    return Statement("Shakespeare being the hardest", finding)


def numbers_are_easiest(losses: dict[str, float]) -> Statement:
    """Easier than simple text."""
    finding = holds_if(losses["numbers"] < losses["simple"])
    return Statement("numbers being easier than simple text", finding)


def is_u_shaped(budget: str, bits: dict[int, float]) -> Statement:
    """The least is inside, and at 20–30; in part, where it is inside but elsewhere."""
    lengths = sorted(bits)
    best = min(lengths, key=lambda T: bits[T])
    is_inside = lengths[0] < best < lengths[-1]
    finding = holds_if(is_inside and BEST_LENGTHS[0] <= best <= BEST_LENGTHS[1], is_inside)
    return Statement(f"the U {budget}", finding, f"T = {best} is the best")


def cost_is_quadratic(exponent: float) -> Statement:
    """From the exponent of the time of a step."""
    remark = "linear at most" if exponent <= 1 else ""
    return Statement("quadratic cost", holds_if(exponent >= QUADRATIC), remark)


def perplexity_is_by_length(runs: list[dict]) -> Statement:
    """exp(loss / T) of every run; or exp(loss), as the reported pairs, such as 1.40 and 4.05."""

    def is_exp_of(loss: Callable[[dict], float]) -> bool:
        return all(
            abs(np.exp(loss(run)) / run["final"]["perplexity"] - 1) <= SAME_PERPLEXITY
            for run in runs
        )

    words = "perplexity as exp(loss / length)"
    if is_exp_of(lambda run: run["final"]["test_loss"] / run["settings"]["seq_len"]):
        return Statement(words, "holds")
    is_by_character = is_exp_of(lambda run: run["final"]["test_loss"])
    remark = "exp of the mean loss per character, as in the reported pairs"
    return Statement(words, "fails", remark if is_by_character else "")


def claim_10(load: Loader = load) -> Row:
    """Does projection help a language model, and from which length on?"""
    runs = load("char_lm/projection")["runs"]
    groups = {
        int(T): {method: select(group, method=method) for method in PROJECTED_OR_NOT}
        for T, group in by_setting(runs, "seq_len").items()
    }
    bits = {
        T: {method: mean(group, "bits_per_character") for method, group in methods.items()}
        for T, methods in groups.items()
    }
    rows = [
        f"T = {T}: {' / '.join(f'{value:.3f}' for value in found.values())}"
        for T, found in bits.items()
    ]
    spread = max(
        float(np.ptp([run["final"]["bits_per_character"] for run in group]))
        for methods in groups.values()
        for group in methods.values()
    )
    costs = {T: found["qr"] - found["vanilla"] for T, found in bits.items()}
    names = " / ".join(METHODS[method].label for method in PROJECTED_OR_NOT)
    return (
        "Long sequences benefit most from projection, language modelling among them",
        "`experiments.char_lm --compare projection`",
        f"bits per character on Shakespeare, {names}: {'; '.join(rows)} (mean of two seeds, which "
        f"differ by {spread:.3f} at most)",
        verdict((projection_helps(costs), long_ones_benefit_most(costs, spread))),
    )


def projection_helps(costs: dict[int, float]) -> Statement:
    """A language model, by length; costs are bits per character with it less those without."""
    low, high = min(costs.values()), max(costs.values())
    remark = f"it costs {low:.2f} to {high:.2f} bits at every length" if low > 0 else ""
    finding = all_or_some(cost < 0 for cost in costs.values())
    return Statement("projection helping a language model", finding, remark)


def long_ones_benefit_most(costs: dict[int, float], spread: float) -> Statement:
    """It costs least at the longest and helps there; in part, where it costs clearly less there.

    Clearly is by more than seeds differ.
    """
    short, long = costs[min(costs)], costs[max(costs)]
    is_most = long == min(costs.values()) and long < 0
    finding = holds_if(is_most, long < short - spread)
    return Statement("long sequences benefiting most", finding)


def language_section() -> str:
    """What networks reach on Shakespeare, and how good their samples are, as a table."""
    groups: dict[str, list[dict]] = {}
    for folder, epochs in (("char_lm/cells", 5), ("char_lm", 20), ("char_lm/long", 20)):
        results = load(folder)
        config = results["config"]
        for run in results["runs"]:
            sizes = f"N = {config['hidden']}, T = {config['seq_len']}"
            label = f"{METHODS[run['method']].label}, {sizes}, {epochs} epochs"
            groups.setdefault(label, []).append(run)
    lines = [
        "| network | bits per character | perplexity | bigrams | words that occur | time |",
        "|---|---|---|---|---|---|",
    ]
    for label, runs in groups.items():
        cells = [
            f"{mean(runs, 'bits_per_character'):.2f}",
            f"{mean(runs, 'perplexity'):.2f}",
            f"{mean(runs, 'bigram_distance'):.2f}",
            f"{mean(runs, 'known_words'):.0%}",
            f"{sum(run['seconds'] for run in runs[:1]) / len(runs) / 60:.1f} min",
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    final = next(iter(groups.values()))[0]["final"]
    lines.append(
        f"| a piece of the test split itself | | | {final['real_bigram_distance']:.2f} | "
        f"{final['real_known_words']:.0%} | |"
    )
    return (
        f"Shakespeare, {final['characters']:,} characters of {final['vocabulary']} kinds, whose "
        f"entropy is {final['entropy_bits']:.2f} bits; on the test split (the last plays by "
        f"alphabet) the frequencies of single characters lose {final['unigram_bits']:.2f} bits, of "
        f"pairs {final['bigram_bits']:.2f}. Samples of 5,000 characters: how far the frequencies "
        "of their pairs are from the training split's (total variation, 0 to 1), and how many of "
        "their words occur in it. Time is that of one seed, on two cores that did "
        "other work beside.\n\n" + "\n".join(lines)
    )
