"""Which random numbers are whose: a generator for each purpose of a seed.

Every method and every backend takes the data of a seed from the same generators, so that all of
them train on the same batches, whatever else draws.
"""

from typing import Literal

import numpy as np

Purpose = Literal[
    "training", "validation", "numpy weights", "test", "shorter training", "examination", "place"
]
# What follows the seed. JAX and PyTorch draw weights from generators of their frameworks.
NUMBERS: dict[Purpose, tuple[int, ...]] = {
    "training": (0,),  # sequences and their order
    "validation": (1,),
    "numpy weights": (2,),
    "test": (3,),
    "shorter training": (4,),  # sets of sequences that grow; the length follows, 1 or more
    "examination": (4,),  # sequences that the doctor looks at a network with; nothing follows
    "place": (),  # of a text, where its streams begin
}


def generator(seed: int, purpose: Purpose, *more: int) -> np.random.Generator:
    """The generator of a seed for a purpose, and of what else tells it apart."""
    return np.random.default_rng([seed, *NUMBERS[purpose], *more])
