"""Claims 7 and 10: character language models, lengths, and projection."""

import numpy as np

from experiments.char_lm.figure import METHOD_LABELS
from experiments.harness.records.evidence import Row, load
from experiments.harness.records.figures import by_setting, select
from experiments.harness.records.panels import panels_of

QUOTED = (5, 10, 25, 40, 100)  # lengths, of all that the figure has


def mean(runs: list[dict], quantity: str) -> float:
    """Of a final quantity over seeds."""
    return float(np.mean([run["final"][quantity] for run in runs]))


def claim_7() -> Row:
    """Sizes, texts, lengths, cost, and what perplexity is."""
    sizes = by_setting(load("char_lm/sizes")["runs"], "hidden")
    by_size = ", ".join(
        f"N = {N}, T = {runs[0]['settings']['seq_len']}: {mean(runs, 'test_loss'):.2f} and "
        f"{mean(runs, 'perplexity'):.2f}"
        for N, runs in sizes.items()
    )
    texts = by_setting(load("char_lm/datasets")["runs"], "dataset")
    by_text = ", ".join(f"{name} {mean(runs, 'test_loss'):.2f}" for name, runs in texts.items())
    lengths = panels_of(load("gradient_analysis"), "sequence_length_analysis")
    exponent = lengths["exponent"]["T"]["y"][0]
    by_length = "; ".join(
        f"{budget}: "
        + ", ".join(f"{y:.2f} at {x}" for x, y in zip(p["x"], p["y"], strict=True) if x in QUOTED)
        for budget, p in lengths["loss"].items()
    )
    return (
        "Character LM: N = 25 / 50 / 100 at T = 15 / 25 / 35 gives loss 1.85 / 1.52 / 1.40 and "
        "perplexity 6.34 / 4.58 / 4.05; simple text, Shakespeare, code and numbers 1.52 / 2.16 / "
        "1.99 / 0.89; loss against T is U-shaped with the best at 20–30; cost grows quadratically "
        "with T; perplexity is exp(loss / length)",
        "`experiments.char_lm --compare sizes`, `--compare datasets`, "
        "`experiments.gradient_analysis`",
        f"test loss and perplexity on Shakespeare: {by_size}; test loss by text: {by_text}; bits "
        f"per character against T, {by_length}; time of a step ∝ T^{exponent:.2f}",
        "larger being better **holds**, with other losses on this text; Shakespeare being the "
        "hardest **holds**, the order of simple text and numbers **fails**; the U **holds** for as "
        "much text if that is enough, and its best T is where the budget puts it (25 with five "
        "million characters, row 10; with one million 5 and 10 are alike, and longer is worse), "
        "and **fails** for as many steps, where longer is better; "
        "quadratic cost **fails**: it is linear at most; perplexity **fails**: it is exp of the "
        "mean loss per character, as the reported pairs are too",
    )


def claim_10() -> Row:
    """Does projection help a language model, and from which length on?"""
    runs = load("char_lm/projection")["runs"]
    rows = []
    for T, group in by_setting(runs, "seq_len").items():
        cells = [
            f"{mean(select(group, method=method), 'bits_per_character'):.3f}"
            for method in ("vanilla", "orthogonal", "qr")
        ]
        rows.append(f"T = {T}: {' / '.join(cells)}")
    spreads = [
        np.ptp([run["final"]["bits_per_character"] for run in select(group, method=method)])
        for group in by_setting(runs, "seq_len").values()
        for method in ("vanilla", "orthogonal", "qr")
    ]
    names = " / ".join(METHOD_LABELS[method] for method in ("vanilla", "orthogonal", "qr"))
    return (
        "Long sequences benefit most from projection, language modelling among them",
        "`experiments.char_lm --compare projection`",
        f"bits per character on Shakespeare, {names}: {'; '.join(rows)} (mean of two seeds, which "
        f"differ by {max(spreads):.3f} at most)",
        "**fails**: projection costs a language model something at every length, and no less at "
        "long ones; what it needs to remember is short, and its W_hh grows where it may",
    )


def language_section() -> str:
    """What networks reach on Shakespeare, and how good their samples are, as a table."""
    groups: dict[str, list[dict]] = {}
    for folder, epochs in (("char_lm/cells", 5), ("char_lm", 20), ("char_lm/long", 20)):
        results = load(folder)
        config = results["config"]
        for run in results["runs"]:
            sizes = f"N = {config['hidden']}, T = {config['seq_len']}"
            label = f"{METHOD_LABELS[run['method']]}, {sizes}, {epochs} epochs"
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
