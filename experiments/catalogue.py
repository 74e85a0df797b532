"""The one list of the experiments: what each is, its command lines, and what they write.

    python -m experiments.catalogue            a table
    python -m experiments.catalogue --lines    the command lines behind the committed figures

The Makefile's ``figures``, the documentation and the tests read it. A new experiment is a package,
and a line here.
"""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
      options: what follows the experiment's name.
      folder: what it writes, below figures/; the doctor writes nothing there.
      minutes: about how long it takes on two idle cores.
      what: what it does, in a few words.
    """

    options: str
    folder: str | None
    minutes: float
    what: str


@dataclass(frozen=True)
class Experiment:
    """A package of this folder.

    Attributes:
      name: of the package.
      what: what is asked, in a few words.
      commands: its documented command lines; the first has no options or is the usual one.
    """

    name: str
    what: str
    commands: tuple[Command, ...]


EXPERIMENTS = (
    Experiment(
        "copy_task",
        "does an orthogonal W_hh let a vanilla RNN remember?",
        (
            Command("", "copy_task", 1, "three methods"),
            Command("--seeds 5", "copy_task/seeds", 4, "mean and spread"),
            Command("--backend both", "copy_task/both", 4, "JAX and PyTorch from equal weights"),
            Command("--preset no_clipping", "copy_task/no_clipping", 0.5, "100 steps unclipped"),
            Command("--preset copy_memory", "copy_task/copy_memory", 2, "a delay of 100 steps"),
        ),
    ),
    Experiment(
        "adding_task",
        "does a ReLU RNN that starts as the identity remember?",
        (
            Command("--irnn", "adding_task/irnn", 2.5, "the IRNN alone"),
            Command("--irnn --backend torch", "adding_task/irnn/torch", 8, "in PyTorch"),
            Command("", "adding_task", 12, "five methods"),
            Command("--sweep", "adding_task/sweep_length", 45, "T = 150, 200, 300, 400"),
            Command("--sweep-scale", "adding_task/sweep_scale", 20, "from 1, 0.1, 0.01 times I"),
            Command("--sweep-clip", "adding_task/sweep_clip", 25, "SGD with clipping; Adam"),
            Command("--irnn --preset sgd", "adding_task/irnn/sgd", 130, "440 epochs, as published"),
        ),
    ),
    Experiment(
        "char_lm",
        "how well do recurrent networks learn text?",
        (
            Command("", "char_lm", 1, "a vanilla RNN learns Shakespeare"),
            Command("--compare sizes", "char_lm/sizes", 18, "N and T"),
            Command("--compare datasets", "char_lm/datasets", 6, "five texts"),
            Command("--compare cells", "char_lm/cells", 15, "vanilla, projected, IRNN, GRU, LSTM"),
            Command("--compare projection", "char_lm/projection", 7, "projection, by T"),
            Command("--preset long", "char_lm/long", 7, "a larger GRU"),
        ),
    ),
    Experiment(
        "gradient_analysis",
        "where do gradients go, and what does training make of it?",
        (Command("", "gradient_analysis", 7, "five figures; --quick: one minute"),),
    ),
    Experiment(
        "remedies",
        "which remedy helps on which symptom?",
        (Command("", "remedies", 35, "1,340 networks; --quick: nine minutes"),),
    ),
    Experiment(
        "doctor_calibration",
        "how often is diagnose right?",
        (
            Command("", "doctor", 5, "on networks whose condition is known"),
            Command("--train", "doctor/training", 5, "which of them learn"),
        ),
    ),
    Experiment(
        "doctor",
        "what is wrong with a run?",
        (Command("--results figures/copy_task/results.json", None, 0.1, "of a results.json"),),
    ),
    Experiment(
        "retractions",
        "which retraction, and how often?",
        (Command("", "retractions", 10, "accuracy, distance, training"),),
    ),
    Experiment(
        "gradient_spikes",
        "where do gradient norms spike?",
        (Command("", "gradient_spikes", 12, "eleven settings"),),
    ),
    Experiment(
        "benchmark",
        "how fast is a training step, and what does projecting cost?",
        (Command("", "benchmark", 10, "on idle cores; --parts steps --rounds 3: two minutes"),),
    ),
    Experiment(
        "analysis_speed",
        "how fast is a language model, and what do diagnostics cost?",
        (Command("", "analysis_speed", 3, "on idle cores"),),
    ),
    Experiment(
        "checkpoint_cost",
        "what do checkpoints cost?",
        (Command("", "checkpoint_cost", 2, "on idle cores"),),
    ),
    Experiment(
        "gpu",
        "what does a GPU change?",
        (Command("", "gpu", 8, "all that a GPU should measure; without one, tiny sizes"),),
    ),
)
MADE_ELSEWHERE = ("gpu",)  # its figures come from a machine with a GPU


def line(experiment: Experiment, command: Command) -> str:
    """A command line, without ``python -m experiments.``."""
    return f"{experiment.name} {command.options}".strip()


def figure_lines() -> list[str]:
    """The command lines that write all that is committed below figures/, in their order."""
    return [
        line(experiment, command)
        for experiment in EXPERIMENTS
        for command in experiment.commands
        if command.folder is not None and experiment.name not in MADE_ELSEWHERE
    ]


def table() -> str:
    """What there is, with the minutes each takes."""
    rows = []
    for experiment in EXPERIMENTS:
        rows.append(f"{experiment.name}: {experiment.what}")
        rows += [
            f"    python -m experiments.{line(experiment, command):45} "
            f"{command.minutes:>5g} min   {command.what}"
            for command in experiment.commands
        ]
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    """Print the table, or the lines."""
    if arguments not in ([], ["--lines"]):
        print(f"error: only --lines is an option, got {' '.join(arguments)}", file=sys.stderr)
        return 2
    print("\n".join(figure_lines()) if arguments else table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
