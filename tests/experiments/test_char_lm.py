"""The character language model: settings, folders, small true runs, and text from checkpoints."""

import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from experiment_support import PNG, load, without_timings

from experiments.char_lm.command import execute, jobs
from experiments.char_lm.config import COMPARISONS, METHODS, PRESETS, CharLMConfig
from experiments.char_lm.figure import draw, label
from experiments.harness.command import cli
from experiments.harness.saving.session import SessionOptions
from experiments.harness.text.language import corpus
from experiments.harness.training.runner import Interrupted
from experiments.harness.training.stream_data import StreamData

SMALL = {
    "seq_len": 6,
    "hidden": 8,
    "epochs": 2,
    "train_characters": 600,
    "batch_size": 4,
    "lr": 0.01,
    "track_every": 10,
    "devices": 1,
}


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat.\n" * 100)
    return path


def small(text_file, out=None, **changes):
    return CharLMConfig(**{**SMALL, "text_file": text_file, "out": out, **changes})


def parse(line):
    return cli.parse(CharLMConfig, PRESETS, line.split())


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("", "char_lm"),
        ("--devices 1 --sample 9 --prompt a", "char_lm"),
        ("--backend torch", "char_lm/torch"),
        ("--preset long", "char_lm/long"),
        ("--preset long --hidden 64", "char_lm/long/custom"),
        ("--compare sizes", "char_lm/sizes"),
        ("--compare=projection", "char_lm/projection"),
        ("--compare datasets --seeds 1", "char_lm/datasets/custom"),
        ("--dataset english", "char_lm/custom"),
        ("--temperature 0.5", "char_lm/custom"),
    ],
)
def test_only_the_defaults_go_to_their_own_folder(line, folder):
    assert str(parse(line).folder) == folder


def test_comparisons_are_presets():
    assert parse("--compare projection").methods == ("vanilla", "orthogonal", "qr")
    assert parse("--compare projection --methods qr").methods == ("qr",)
    sizes = [(s["hidden"], s["seq_len"]) for s in COMPARISONS["sizes"]]
    assert sizes == [(25, 15), (50, 25), (100, 35)]


def test_jobs_and_labels():
    config = CharLMConfig(dataset="simple", compare="projection", methods=("qr", "vanilla"))
    first, second, third = list(jobs(config))[:3]
    assert (first.method, first.settings) == ("qr", {"seq_len": 10})
    assert (second.method, third.settings) == ("vanilla", {"seq_len": 25})
    assert third.recipe.task.seq_len == 25
    assert label("qr", {"seq_len": 10}) == "tanh, QR projection, T = 10"
    assert label("vanilla", {"hidden": 25, "seq_len": 15}) == "N = 25, T = 15"
    assert label("vanilla", {"dataset": "code"}) == "code"


def test_recipes(text_file):
    config = small(text_file, project_every=3)
    recipes = {method: config.recipe(method, {}) for method in METHODS}
    assert [name for name, recipe in recipes.items() if recipe.retraction] == ["qr"]
    assert recipes["qr"].project_every == 3
    assert [recipe.cell for recipe in recipes.values()] == [*["vanilla"] * 4, "gru", "lstm"]
    assert small(text_file, project_every=0).recipe("qr", {}).retraction is None
    assert recipes["lstm"].streams == 4
    assert config.recipe("vanilla", {"seq_len": 9}).task.seq_len == 9
    # As many characters in an epoch, whatever the length.
    assert config.schedule({}).steps_per_epoch == 600 // (4 * 6)
    assert config.schedule({"seq_len": 12}).steps_per_epoch == 600 // (4 * 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq_len": 0}, "--seq-len must be from 1"),
        ({"temperature": 0.0}, "--temperature must be above 0"),
        ({"temperature": math.nan}, "--temperature must be above 0"),
        ({"sample": -1}, "--sample must be from 0"),
        ({"methods": ()}, "--methods needs"),
        (
            {"backend": "numpy", "methods": ("lstm",), "devices": "auto"},
            "numpy has no --methods gru or lstm",
        ),
        ({"backend": "torch", "devices": 1}, "--devices is for --backend jax"),
        ({"compare": "datasets"}, "--compare datasets decides about --text-file itself"),
        ({"compare": "sizes"}, "--compare sizes decides about --hidden itself, got 8"),
        ({"dataset": "code"}, "--text-file .* and --dataset code: only one of them"),
        ({"load": "x"}, "--load needs --sample"),
        ({"load": "x", "sample": 5, "out": Path("y")}, "--load writes nothing"),
        (
            {"load": "x", "sample": 5, "session": SessionOptions(log_dir=Path("z"))},
            "--load writes nothing",
        ),
        ({"batch_size": 5, "devices": 2}, "--devices must be auto or a divisor"),
    ],
)
def test_bad_options_are_named(text_file, changes, message):
    with pytest.raises(ValueError, match=message):
        small(text_file, **changes)


def test_a_text_is_not_overwritten_by_its_results(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("ab" * 99)
    with pytest.raises(ValueError, match="would overwrite --text-file"):
        small(path, tmp_path)
    assert small(path, tmp_path / "other").text_file == path


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (b"a" * 5000, {}, "at least two different characters"),
        (b"ab" * 10, {}, "need a text of 100 characters or more, got 20"),
        (b"", {}, "the file is empty"),
        (b"\xff\xfe", {}, "not UTF-8 at byte 0"),
        (b"ab" * 999, {"prompt": "abc"}, "--prompt abc: the text has no 'c'"),
    ],
)
def test_bad_texts_are_refused_before_anything_is_written(tmp_path, capsys, text, changes, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(text)
    with pytest.raises(SystemExit) as caught:
        execute(small(path, tmp_path / "out", **changes))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_small_run(text_file, tmp_path, capsys):
    config = small(text_file, tmp_path / "a", methods=("qr", "gru", "lstm"), sample=40)
    execute(config)
    printed = capsys.readouterr().out
    results = load(tmp_path / "a")
    assert (tmp_path / "a" / "char_lm.png").read_bytes().startswith(PNG)
    assert [run["method"] for run in results["runs"]] == ["qr", "gru", "lstm"]
    assert len(results["config"]["text_hash"]) == 32
    for run in results["runs"]:
        final = run["final"]
        assert run["status"] == "completed"
        assert final["perplexity"] == pytest.approx(math.exp(final["test_loss"]), rel=1e-6)
        assert final["bits_per_character"] == pytest.approx(final["test_loss"] / math.log(2))
        assert final["test_loss"] < final["unigram_bits"] * math.log(2)
        assert 0 <= final["known_words"] <= 1
        assert len(final["sample"]) == 300
        assert final["sample"][:40] in printed


def test_the_same_seed_gives_the_same_results(text_file, tmp_path):
    results = []
    for name in ("a", "b"):
        execute(small(text_file, tmp_path / name, seeds=2))
        results.append(load(tmp_path / name))
        results[-1]["config"]["out"] = None
    assert without_timings(results[0]) == without_timings(results[1])


@pytest.mark.parametrize("backend", ["torch", "numpy", "both"])
def test_other_backends(text_file, tmp_path, backend):
    devices = 1 if backend == "both" else "auto"
    execute(small(text_file, tmp_path / "out", backend=backend, devices=devices))
    runs = load(tmp_path / "out")["runs"]
    backends = ["jax", "torch"] if backend == "both" else [backend]
    assert [run["backend"] for run in runs] == backends
    for run in runs:
        assert run["final"]["test_loss"] < run["history"]["train_loss"][0]
        assert len(run["final"]["sample"]) == 300
    if backend == "both":
        # Two epochs from the same weights on the same streams part by rounding alone.
        losses = [run["history"]["val_loss"] for run in runs]
        np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("compare", COMPARISONS)
def test_figures_of_comparisons(text_file, tmp_path, compare, monkeypatch):
    monkeypatch.setitem(COMPARISONS, compare, COMPARISONS[compare][:2])
    path = None if compare == "datasets" else text_file
    decided = {name: getattr(CharLMConfig, name) for name in COMPARISONS[compare][0]}
    execute(small(path, tmp_path / "out", compare=compare, epochs=1, seeds=2, **decided))
    results = load(tmp_path / "out")
    assert len(results["runs"]) == 2 * len(COMPARISONS[compare])
    assert draw(results, tmp_path) == ["char_lm.png"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_interrupted_run_resumes_bit_for_bit(text_file, tmp_path, backend, monkeypatch):
    """The carry of the streams, their place in the text, and an LSTM's two states."""
    changes = {"backend": backend, "methods": ("lstm",), "lr": 0.003}
    changes["devices"] = 1 if backend == "jax" else "auto"
    execute(small(text_file, tmp_path / "whole", **changes))

    numbers = iter(range(100))
    steps = StreamData.steps

    def kill_in_the_second_epoch(self, *arguments):
        if next(numbers) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return steps(self, *arguments)

    monkeypatch.setattr(StreamData, "steps", kill_in_the_second_epoch)
    options = SessionOptions(checkpoint_dir=tmp_path / "saved")
    with pytest.raises(Interrupted):
        execute(small(text_file, tmp_path / "parts", session=options, **changes))
    monkeypatch.undo()
    resumed = SessionOptions(checkpoint_dir=tmp_path / "saved", resume=True)
    execute(small(text_file, tmp_path / "parts", session=resumed, **changes))
    whole, parts = (load(tmp_path / name) for name in ("whole", "parts"))
    for each in (whole, parts):
        each["config"]["out"] = None
    assert without_timings(parts) == without_timings(whole)


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_text_from_a_checkpoint(text_file, tmp_path, capsys, backend):
    changes = {"backend": backend, "devices": 1 if backend == "jax" else "auto"}
    options = SessionOptions(checkpoint_dir=tmp_path / "saved")
    execute(small(text_file, tmp_path / "out", session=options, seeds=2, **changes))
    capsys.readouterr()
    request = {"load": tmp_path / "saved", "sample": 60, "prompt": "the c", "temperature": 0.7}
    execute(small(text_file, **changes, **request))
    first = capsys.readouterr().out
    assert first.count("the c") >= 2
    assert "seed 0" in first
    assert "seed 1" in first
    execute(small(text_file, **changes, **request))
    assert capsys.readouterr().out == first
    with pytest.raises(SystemExit):
        execute(small(text_file, **changes, **request, hidden=9))
    assert f"was trained with --hidden {SMALL['hidden']}, not 9" in capsys.readouterr().err
    text_file.write_text("another text altogether\n" * 100)
    corpus.cache_clear()
    with pytest.raises(SystemExit):
        execute(small(text_file, **changes, **request))
    assert "has changed since it was trained on" in capsys.readouterr().err


def test_a_folder_without_checkpoints(text_file, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        execute(small(text_file, load=tmp_path / "nothing", sample=5))
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: --load")
    assert "holds no checkpoint" in message
