"""One table: what each condition usually comes from, and what helps, the most promising first.

Reports, the doctor and TROUBLESHOOTING.md take their advice from here. Its code is what
experiments.remedies measured; tests/experiments/test_advice.py runs it beside the recipes.
"""

from typing import NamedTuple


class Aid(NamedTuple):
    """What is known of a condition.

    Attributes:
      symptom: what one sees, in a line.
      cause: what it usually comes from; numbers of a finding go into the braces.
      remedies: names in ``REMEDIES``, pairs joined by "+", in order of promise.

    Example:
      >>> aid = diagnosis.FIRST_AID["crawling"]
      >>> aid.symptom
      'the loss falls steadily, but far too slowly'
      >>> aid.remedies
      ('higher_rate', 'momentum', 'rmsprop', 'adam')
    """

    symptom: str
    cause: str
    remedies: tuple[str, ...]


class Remedy(NamedTuple):
    """How to do it: code as the experiments ran it, or words where it is no code.

    Names in the code are Optax's, Flax's (nn is flax.linen) and jaxrnn's, and

      cell: the network's so far, a VanillaCell.
      optimizer: its optimizer so far. Clipping before it and a projection after it stay there.
      N, k, K: its units, the steps between what belongs together, and all steps of training.
      lr: its learning rate; ``rate`` in place of an optimizer of the other kind, where SGD with and
        without momentum are of one kind, Adam and RMSprop of the other.

    Attributes:
      cell: an expression for the new cell; "": it stays.
      optimizer: an expression for the new optimizer; "": it stays.
      rate: lr in place of an optimizer of the other kind.
      words: what else there is to say, or all there is.
    """

    cell: str = ""
    optimizer: str = ""
    rate: float | None = None
    words: str = ""

    def __str__(self) -> str:
        rate = "" if self.rate is None else f"lr = {self.rate:g} in place of {self._others()}"
        return ", ".join(filter(None, (self.cell, self.optimizer, rate, self.words)))

    @property
    def is_for_vanilla_cell(self) -> bool:
        """Whether it changes what a VanillaCell has, and takes gates away from another cell."""
        return self.cell.startswith("cell.copy(")

    def _others(self) -> str:
        return "Adam or RMSprop" if "optax.sgd" in self.optimizer else "SGD"


_INPUT_AND_BIAS = "kernel_init=cell.kernel_init, bias_init=cell.bias_init"
_INITS = f"{_INPUT_AND_BIAS}, recurrent_kernel_init=cell.recurrent_kernel_init"
_ORTHOGONAL = "recurrent_kernel_init=initializers.orthogonal()"
_SMALL_INPUTS = "kernel_init=initializers.normal(0.001), bias_init=nn.initializers.zeros"
_PROJECTED = "optax.chain(optimizer, project_recurrent())"

REMEDIES: dict[str, Remedy] = {
    "gru": Remedy(f"nn.GRUCell(N, {_INITS})"),
    "lstm": Remedy(f"nn.OptimizedLSTMCell(N, {_INITS})"),
    "skip": Remedy("SkipCell(cell, steps=k)", words="so that h_{t-k} goes into h_t"),
    "leaky": Remedy("LeakyCell(cell, rate=1 / k)", words="whose units forget over k steps"),
    "relu": Remedy('cell.copy(activation="relu")'),
    "leaky_relu": Remedy('cell.copy(activation="leaky_relu")'),
    "modrelu": Remedy('cell.copy(activation="modrelu")'),
    "identity_init": Remedy("cell.copy(recurrent_kernel_init=initializers.identity())"),
    "scaled_identity_init": Remedy("cell.copy(recurrent_kernel_init=initializers.identity(0.5))"),
    "orthogonal_init": Remedy(f"cell.copy({_ORTHOGONAL})"),
    "henaff_init": Remedy("cell.copy(recurrent_kernel_init=initializers.henaff())"),
    "small_inputs": Remedy(f"cell.copy({_SMALL_INPUTS})"),
    "scaled_inputs": Remedy(words="inputs of mean 0 and variance 1, by the training data's own"),
    "clip_norm": Remedy(optimizer="optax.chain(optax.clip_by_global_norm(1.0), optimizer)"),
    "clip_norm_5": Remedy(optimizer="optax.chain(optax.clip_by_global_norm(5.0), optimizer)"),
    "clip_value": Remedy(optimizer="optax.chain(optax.clip(0.01), optimizer)"),
    "clip_adaptive": Remedy(optimizer="optax.chain(optax.adaptive_grad_clip(0.01), optimizer)"),
    "lower_rate": Remedy(
        optimizer="optax.chain(optimizer, optax.scale(0.1))",
        words="or a learning rate ten times lower",
    ),
    "higher_rate": Remedy(
        optimizer="optax.chain(optimizer, optax.scale(10.0))",
        words="or a learning rate ten times higher",
    ),
    # Optax's warmup_cosine_decay_schedule begins at 0, and does not move in its first step.
    "warm_up": Remedy(
        optimizer="optax.chain(optimizer, "
        "optax.scale_by_schedule(optimizers.schedule(K // 10, K)))",
    ),
    "adam": Remedy(optimizer="optax.adam(lr)", rate=1e-3),
    "sgd": Remedy(optimizer="optax.sgd(lr)", rate=0.1),
    "momentum": Remedy(optimizer="optax.sgd(lr, momentum=0.9)", rate=0.1),
    "rmsprop": Remedy(
        optimizer="optax.rmsprop(lr, decay=0.99, eps=1e-8, eps_in_sqrt=False)",
        rate=1e-3,
        words="with PyTorch's constants, not Optax's",
    ),
    "truncated_bptt": Remedy(
        "TruncatedCell(cell, steps=k)", words="for gradients over k steps at most"
    ),
    "longer_bptt": Remedy(words="TruncatedCell with more steps, or without it"),
    "growing_length": Remedy(words="train on short sequences first, then on longer ones"),
    "projection": Remedy(f"cell.copy({_ORTHOGONAL})", _PROJECTED),
    "gru_projected": Remedy(f"nn.GRUCell(N, {_INPUT_AND_BIAS}, {_ORTHOGONAL})", _PROJECTED),
    "lstm_projected": Remedy(
        f"nn.OptimizedLSTMCell(N, {_INPUT_AND_BIAS}, {_ORTHOGONAL})", _PROJECTED
    ),
    "irnn": Remedy(
        f'cell.copy(activation="relu", recurrent_kernel_init=initializers.identity(), '
        f"{_SMALL_INPUTS})"
    ),
    "henaff_modrelu": Remedy(
        'cell.copy(activation="modrelu", recurrent_kernel_init=initializers.henaff())'
    ),
    "projection_modrelu": Remedy(f'cell.copy(activation="modrelu", {_ORTHOGONAL})', _PROJECTED),
    "gradient_path": Remedy(
        words="a way for gradients from the loss to every parameter: no argmax, rounding or "
        "comparison, no stop_gradient, no weights that are all zero"
    ),
    "clean_data": Remedy(
        words="look for it where the data come from, before anything else: a division by 0, a "
        "logarithm of 0, missing values, a mean over nothing"
    ),
}

# In the order in which a report names them: what to treat first, causes before what they
# lead to.
FIRST_AID: dict[str, Aid] = {
    "non_finite": Aid(
        "NaN or Inf",
        "the first place with NaN or Inf is {place}: a step that was too long, an overflow, or "
        "data that had it",
        ("clip_norm", "lower_rate", "orthogonal_init", "projection", "adam", "warm_up"),
    ),
    "no_gradient": Aid(
        "nothing changes in training",
        "the gradient of the loss, {loss:.4g}, is exactly 0 in every parameter: the loss does not "
        "depend on them, or only through what has no derivative",
        ("gradient_path",),
    ),
    "unstable": Aid(
        "the loss jumps, the run restarts or diverges",
        "{what}: steps are too long for the gradients that they meet",
        (
            *("clip_norm", "clip_adaptive", "clip_value", "adam", "rmsprop", "gru", "lstm"),
            *("gru_projected", "lower_rate", "projection", "warm_up", "leaky"),
        ),
    ),
    "crawling": Aid(
        "the loss falls steadily, but far too slowly",
        "from the second to the last third of {epochs} epochs the loss fell from {before:.3g} to "
        "{last:.3g}; at this rate half the baseline is {budgets:.1f} whole runs away: steps are "
        "too short",
        ("higher_rate", "momentum", "rmsprop", "adam"),
    ),
    "saturated": Aid(
        "states sit at ±1, where tanh passes no gradient",
        "{share:.0%} of tanh's values lie beyond ±0.95, where less than a tenth of a gradient gets "
        "through: the inputs, their weights or W_hh (spectral norm {spectral_norm:.3g}) are too "
        "large",
        (
            *("orthogonal_init", "projection", "henaff_init", "scaled_identity_init"),
            *("identity_init", "leaky_relu+orthogonal_init", "gru_projected", "gru"),
        ),
    ),
    "dead_units": Aid(
        "units are the same number at all steps, whatever comes in",
        "{share:.0%} of {units} units never change: biases or input weights hold them below zero, "
        "where ReLU passes nothing, or far beyond where tanh turns",
        ("lower_rate", "gru", "lstm", "leaky", "gru_projected", "lstm_projected"),
    ),
    "vanishing": Aid(
        "gradients do not reach the start of a sequence",
        "of a signal at the end {memory_left:.1e} is left {steps} steps before (a factor of "
        "{memory_rate:.2f} a step; the recurrent kernel's spectral radius is "
        "{spectral_radius:.2f}): W_hh times phi' shrinks what it carries (no fault where "
        "the loss asks for nothing from that far back; and gates may still learn to keep it)",
        (
            *("henaff_modrelu", "projection_modrelu", "skip", "henaff_init", "projection"),
            *("higher_rate", "modrelu", "momentum", "lstm_projected", "relu+identity_init", "irnn"),
        ),
    ),
    "exploding": Aid(
        "gradients grow on their way back, the loss jumps",
        "a signal at the end has grown {memory_largest:.1e}-fold within {steps} steps back (a "
        "factor of {memory_rate:.2f} a step; the recurrent kernel's spectral radius is "
        "{spectral_radius:.2f}): W_hh stretches what it carries (in a tanh network that is "
        "chaos)",
        (
            *("clip_norm+orthogonal_init", "gru", "henaff_modrelu", "henaff_init"),
            *("orthogonal_init", "scaled_identity_init", "gru_projected", "lstm_projected"),
            *("clip_adaptive", "leaky", "projection", "clip_norm", "small_inputs"),
        ),
    ),
    "short_memory": Aid(
        "only recent inputs move the output",
        "exchanging the first half of {steps} steps moves the last outputs by {early_share:.1e} of "
        "what exchanging all does: early inputs are forgotten, or what is kept is not read (no "
        "fault where the loss asks for recent inputs only)",
        (
            *("gru", "lstm", "henaff_modrelu", "relu+identity_init", "modrelu", "relu", "irnn"),
            *("leaky_relu+orthogonal_init", "gru_projected", "projection_modrelu"),
        ),
    ),
    "stuck_at_baseline": Aid(
        "the loss stays where an answer without memory is",
        "after {epochs} epochs the best loss is {best:.3g}, {of_baseline:.0%} of the baseline "
        "{baseline:.3g}: nothing that needs memory was learnt",
        (
            *("henaff_modrelu", "projection_modrelu", "skip", "projection", "henaff_init"),
            *("lstm_projected", "relu+identity_init"),
        ),
    ),
}

# What is known instead where a condition has a special cause.
TRUNCATED = Aid(
    "gradients are cut on their way to the start of a sequence",
    "TruncatedCell lets no gradient past a block's first step, so that nothing of a signal at the "
    "end is left {steps} steps before: what it is for, but what has to be remembered for longer "
    "is not learnt",
    ("longer_bptt", "lstm", "gru", "skip"),
)
UNREACHED = Aid(
    "a layer does not change in training",
    "no gradient of the loss reaches this layer: what is above it has weights of zero, units that "
    "pass nothing, or a stop_gradient (a readout that begins at zero moves in the first step)",
    ("gradient_path",),
)
BAD_DATA = Aid(
    "NaN or Inf in the data",
    "the first place with NaN or Inf is {place}: the data have it, and no remedy in training helps",
    ("clean_data",),
)
LARGE_INPUTS = Aid(
    "states sit at ±1 though W_hh is small",
    "{share:.0%} of tanh's values lie beyond ±0.95, where less than a tenth of a gradient gets "
    "through, and W_hh (spectral norm {spectral_norm:.3g}) is too small to bring that about: the "
    "inputs, their weights or the biases are too large",
    ("scaled_inputs", "small_inputs", "lower_rate"),
)
SPECIAL: dict[str, Aid] = {
    "vanishing": TRUNCATED,
    "no_gradient": UNREACHED,
    "saturated": LARGE_INPUTS,
    "non_finite": BAD_DATA,
}


def how(remedy: str) -> str:
    """What to do for a remedy, or for a pair of them.

    Raises:
      ValueError: an unknown name.

    Example:
      >>> diagnosis.how("relu+identity_init")
      'cell.copy(activation="relu"); cell.copy(recurrent_kernel_init=initializers.identity())'
    """
    names = remedy.split("+")
    if unknown := [name for name in names if name not in REMEDIES]:
        raise ValueError(f"remedies are {', '.join(REMEDIES)}, got {', '.join(unknown)}")
    return "; ".join(str(REMEDIES[name]) for name in names)
