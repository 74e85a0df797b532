"""A generator for each purpose: the ones behind the committed results, all different."""

import itertools

import numpy as np

from experiments.harness.method.randomness import NUMBERS, generator


def test_the_generators_are_those_of_the_committed_results():
    # What the numbers after the seed were when figures/ was first written.
    for purpose, key in {
        "training": [7, 0],
        "validation": [7, 1],
        "numpy weights": [7, 2],
        "test": [7, 3],
        "examination": [7, 4],
        "place": 7,
    }.items():
        expected = np.random.default_rng(key).integers(2**62, size=3)
        np.testing.assert_array_equal(generator(7, purpose).integers(2**62, size=3), expected)
    expected = np.random.default_rng([7, 4, 30]).integers(2**62)
    assert generator(7, "shorter training", 30).integers(2**62) == expected


def test_no_two_purposes_share_their_numbers():
    # A text's place is drawn by what trains on streams, which draws no training sequences.
    purposes = NUMBERS.keys() - {"place"}
    drawn = {
        (seed, purpose): generator(seed, purpose, *([5] if "shorter" in purpose else [])).random()
        for seed, purpose in itertools.product(range(3), purposes)
    }
    assert len(set(drawn.values())) == len(drawn)
