"""Texts as tokens, streams through them, and what is said of them without a network."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from jaxrnn.text import (
    FRESH_EVERY,
    CharacterTask,
    Text,
    frequencies,
    frequency_distance,
    share_of_known_words,
)


@pytest.fixture
def text(rng):
    return Text("".join(rng.choice(list("abcé\n"), 977, p=[0.4, 0.3, 0.15, 0.1, 0.05])))


def test_tokens_and_characters_are_one_to_one(text):
    assert text.vocabulary == "\nabcé"
    characters = text.decode(text.tokens)
    assert len(characters) == 977
    np.testing.assert_array_equal(text.encode(characters), text.tokens)
    np.testing.assert_array_equal(Text("ba🎉a").tokens, [1, 0, 2, 0])


def test_unknown_characters_are_named(text):
    with pytest.raises(ValueError, match="has no 'x', 'ß'"):
        text.encode("axbß")
    with pytest.raises(ValueError, match="two different characters"):
        Text("aaaa")


def test_tokens_that_there_are_not():
    """Python would count −1 from the end, and NumPy's bincount would give another's frequency."""
    text = Text("to be or not to be")
    for wrong in (-1, 7, 1.0, True):
        with pytest.raises(ValueError, match="tokens must be"):
            text.decode(np.array([wrong]))
        with pytest.raises(ValueError, match="tokens must be"):
            frequencies(np.array([wrong]), num_tokens=7)
    assert text.decode([]) == ""


def test_splits_are_the_text_in_three_parts(text):
    parts = [text.split(name) for name in ("train", "validation", "test")]
    assert list(map(len, parts)) == [879, 49, 49]
    np.testing.assert_array_equal(np.concatenate(parts), text.tokens)


def test_entropies_are_those_of_counts_in_the_training_split():
    # 18 training characters, one to validate, one to test on: "b", after "a".
    text = Text("aab" * 6 + "ab")
    counts = {"a": 12 + 1, "b": 6 + 1}
    expected = -math.log(counts["b"] / 20)
    assert text.unigram_entropy("test") == pytest.approx(expected, rel=1e-12)
    # Train: after "a" come 6 "a" and 6 "b"; after "b" 5 "a" and no "b". All counts begin at one.
    whole = Text("aab" * 60)
    pairs = np.array([[54 + 1, 54 + 1], [53 + 1, 0 + 1]])
    log_probs = np.log(pairs / pairs.sum(axis=1, keepdims=True))
    tested = whole.split("test")
    expected = -np.mean([log_probs[a, b] for a, b in itertools.pairwise(tested)])
    assert whole.bigram_entropy() == pytest.approx(expected, rel=1e-12)


def test_streams_read_the_ring_in_order(text):
    task = CharacterTask(text, seq_len=7, streams=3)
    ring = text.split("train")
    inputs, targets, _ = task.batches(start=5 * 7, count=40)  # beyond the end of the ring
    assert inputs.shape == targets.shape == (40, 3, 7)
    for stream in range(3):
        start = stream * (879 // 3) + 5 * 7
        read = np.take(ring, np.arange(start, start + 40 * 7 + 1), mode="wrap")
        np.testing.assert_array_equal(inputs[:, stream].ravel(), read[:-1])
        np.testing.assert_array_equal(targets[:, stream].ravel(), read[1:])
    again = task.batches(start=11 * 7, count=2)
    np.testing.assert_array_equal(again.inputs, inputs[6:8])


def test_each_stream_is_fresh_at_every_fiftieth_batch(text):
    task = CharacterTask(text, seq_len=7, streams=8)
    is_fresh = task.batches(start=5 * 7, count=100).is_fresh
    assert is_fresh.shape == (100, 8)
    np.testing.assert_array_equal(is_fresh.sum(0), 2)
    assert is_fresh.sum(1).max() == 1  # not all of them at once
    np.testing.assert_array_equal(is_fresh[:50], is_fresh[50:])
    np.testing.assert_array_equal(task.batches(start=12 * 7, count=20).is_fresh, is_fresh[7:27])


def test_sampled_windows_are_pieces_of_the_training_split(text, rng):
    inputs, targets = CharacterTask(text, 6, streams=3).sample(rng, 4, 5)
    assert inputs.shape == targets.shape == (4, 5, 6)
    train = text.decode(text.split("train"))
    for window, following in zip(inputs.reshape(-1, 6), targets.reshape(-1, 6), strict=True):
        assert text.decode(np.append(window, following[-1])) in train
        np.testing.assert_array_equal(window[1:], following[:-1])


def test_sequences_cover_a_split(text):
    for name, shape in (("train", (1, 878)), ("test", (1, 48))):
        inputs, targets = CharacterTask(text, streams=3).sequences(name)
        assert inputs.shape == targets.shape == shape
        np.testing.assert_array_equal(inputs[0], text.split(name)[:-1])
        np.testing.assert_array_equal(targets[0], text.split(name)[1:])
    long = CharacterTask(Text("ab cd" * 2000))
    inputs, targets = long.sequences("train")
    assert inputs.shape == (4, 2000)
    np.testing.assert_array_equal(inputs.ravel(), long.text.split("train")[:8000])
    np.testing.assert_array_equal(targets.ravel(), long.text.split("train")[1:8001])


def test_sizes_and_baseline(text):
    task = CharacterTask(text, streams=3)
    assert task.num_inputs == task.num_outputs == 5
    assert task.baseline == text.unigram_entropy("test")


def test_texts_that_are_too_short_and_bad_sizes(text):
    # 32 streams of 36 characters in nine tenths of the text.
    with pytest.raises(ValueError, match="32 streams of 35 characters need a text of 1,280"):
        CharacterTask(Text("ab" * 639))
    CharacterTask(Text("ab" * 640))
    for name in ("seq_len", "streams"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number, 1 or more, got 0"):
            CharacterTask(text, **{name: 0})


def test_frequencies_of_groups():
    tokens = np.array([0, 1, 1, 2, 1, 1])
    np.testing.assert_allclose(frequencies(tokens, 3), [1 / 6, 4 / 6, 1 / 6])
    pairs = frequencies(tokens, 3, order=2).reshape(3, 3)
    np.testing.assert_allclose(pairs, np.array([[0, 1, 0], [0, 2, 1], [0, 1, 0]]) / 5)


def test_frequency_distance_is_total_variation():
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1, 2, 2, 2, 2])
    assert frequency_distance(a, a, 3) == 0
    # ½ (|4/8 − 1/8| + |4/8 − 3/8| + |0 − 4/8|)
    assert frequency_distance(a, b, 3) == pytest.approx(0.5)
    assert frequency_distance(a, np.array([2, 2]), 3) == 1
    assert frequency_distance(a, a[::-1], 3, order=2) == pytest.approx(1 / 3)


def test_share_of_known_words():
    # "th" and "ca" may be words cut short; "cat" is known, "hat" is not, case counts.
    assert share_of_known_words("th cat hat The ca", "the cat sat, The end") == pytest.approx(2 / 3)
    assert share_of_known_words("one", "one") == 0


@pytest.mark.parametrize("given", [None, b"abc", 5, ["a", "b"]])
def test_what_is_no_text_is_named(given, unchecked):
    with pytest.raises(
        ValueError, match=f"the characters of a text are a str, got {type(given).__name__}"
    ):
        Text(given)


def test_half_a_surrogate_pair_is_named():
    with pytest.raises(ValueError, match="half of a surrogate pair, got one at character 2"):
        Text("ab\ud800c")


def test_splits_that_there_are_not(text):
    with pytest.raises(ValueError, match="one of train, validation, test, got 'valid'"):
        text.split("valid")


def test_twenty_thousand_kinds_of_characters(rng):
    """Of 4e8 possible pairs, only those that occur are counted."""
    V = 20_000
    tokens = np.concatenate([np.arange(V), rng.integers(0, V, 60_000)])
    many = Text("".join(chr(0x4E00 + token) if token < V else "" for token in tokens))
    train, tested = many.split("train").astype(int), many.split("test").astype(int)
    counts, firsts = Counter(itertools.pairwise(train)), Counter(train[:-1])
    pairs = itertools.pairwise(tested)
    expected = [-math.log((counts[pair] + 1) / (firsts[pair[0]] + V)) for pair in pairs]
    assert many.bigram_entropy() == pytest.approx(np.mean(expected), rel=1e-12)
    distance = frequency_distance(train, tested, V, order=2)
    assert 0 < distance <= 1


def test_streams_go_on_for_as_long_as_they_are_read():
    """Their ring is small, and the places on it are counted from the start of the run."""
    task = CharacterTask(Text("abcdefg" * 20), seq_len=5, streams=2)
    all_turns = len(task.text.split("train")) * 5 * FRESH_EVERY
    for ages in (1, 10**12, 10**400):
        later = task.batches(3 + ages * all_turns, 2)
        for one, other in zip(task.batches(3, 2), later, strict=True):
            np.testing.assert_array_equal(one, other)
