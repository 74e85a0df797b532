"""The parts of the command, most telling first."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """A part, which runs as a separate process.

    Attributes:
      name: in the command line and in results.json.
      module: what ``python -m`` runs.
      limit: seconds it may take on a GPU; then it is stopped.
      cpu_limit: the same at the tiny sizes of a machine without one.
      needs: packages without which it is left out.
      arguments: more arguments of the module.
      environment: variables of the process.
    """

    name: str
    module: str
    limit: float
    cpu_limit: float
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


# Eight minutes together on a GPU, of which ten seconds are for looking at the machine.
PARTS = (
    Part("parity", "experiments.gpu.parity", 150, 50, needs=("torch", "pytest", "hypothesis")),
    Part("speed", "experiments.gpu.speed", 180, 30),
    Part("projection", "experiments.gpu.projection", 35, 20),
    Part("variants", "experiments.gpu.variants", 30, 20),
    # XLA reads the flag when it starts, and a wrong one ends the process.
    Part(
        "command_buffers",
        "experiments.gpu.variants",
        20,
        15,
        arguments=("--command-buffers",),
        environment={"XLA_FLAGS": "--xla_gpu_enable_command_buffer=+WHILE"},
    ),
    Part("tests", "experiments.gpu.jax_tests", 55, 25, needs=("pytest", "hypothesis")),
)
