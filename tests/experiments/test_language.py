"""What language models are measured by."""

import math

import numpy as np
import pytest

from experiments.harness.text import language
from experiments.harness.text.language import corpus, describe, first_prompt, quality


@pytest.fixture
def source(tmp_path, rng):
    path = tmp_path / "text.txt"
    letters = rng.choice(list("abcd efgh\n"), 20_000, p=[0.19, *[0.09] * 9])
    path.write_text("".join(letters))
    return corpus("simple", path)


def test_a_corpus_is_read_once_and_knows_its_hash(source, tmp_path):
    assert corpus("simple", tmp_path / "text.txt") is source
    assert len(source.hash) == 32
    assert corpus("numbers").hash != source.hash
    (tmp_path / "same.txt").write_text("a" * 500)
    with pytest.raises(ValueError, match=r"same.txt: a text needs at least two"):
        corpus("simple", tmp_path / "same.txt")


def test_prompts(source):
    assert source.text.decode(first_prompt(source.text, "")) == "\n"
    assert source.text.decode(first_prompt(source.text, "cab")) == "cab"
    assert source.text.decode(first_prompt(source.text, "a\r\nb\r")) == "a\nb\n"
    with pytest.raises(ValueError, match="--prompt xa: the text has no 'x'"):
        first_prompt(source.text, "xa")


def test_what_is_known_of_a_text(source):
    found = describe(source)
    assert (found["characters"], found["vocabulary"]) == (20_000, 10)
    # p log p of the probabilities that it was drawn with, to the accuracy of 20,000 draws.
    entropy = -(0.19 * math.log2(0.19) + 9 * 0.09 * math.log2(0.09))
    assert found["entropy_bits"] == pytest.approx(entropy, abs=0.01)
    assert found["unigram_bits"] == pytest.approx(entropy, abs=0.1)
    assert found["bigram_bits"] == pytest.approx(entropy, abs=0.1)  # draws know nothing of others


def test_quality_of_the_text_itself_and_of_noise(source):
    real = quality(source, source.text.split("test"))
    for name in ("character_distance", "bigram_distance", "known_words"):
        assert real[name] == real[f"real_{name}"]
    noise = quality(source, np.zeros(1000, np.int32))
    assert noise["character_distance"] > 0.9 - 0.1
    assert noise["known_words"] == 0
    assert real["character_distance"] < 0.1 < noise["bigram_distance"]
    assert real["shown_characters"][0] == "a"
    assert real["text_frequencies"][0] == max(real["text_frequencies"])
    assert len(real["sample_frequencies"]) == len(real["shown_characters"]) == 10


def test_bits():
    assert language.bits(math.log(8)) == pytest.approx(3)
