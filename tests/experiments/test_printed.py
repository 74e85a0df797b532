"""Commands whose output nobody takes: the run is worth more than its lines."""

import errno
import os
import subprocess
import sys

import pytest
from experiment_support import load, options

from experiments.harness.command import cli
from experiments.harness.command.options import Options
from experiments.harness.command.printed import Printed, what_is_printed
from experiments.harness.records.results import ROOT


def run(redirection: str, folder, **environment) -> subprocess.CompletedProcess:
    """A small copy task with checkpoints, by a shell."""
    words = [*options(methods="qr", out="out"), "--checkpoint-dir", "saved"]
    line = " ".join([sys.executable, "-m", "experiments.copy_task", *words, redirection])
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        ("| head -1", 0, ""),
        (">&-", 0, ""),
        ("> /dev/full", 1, "error: standard output: No space left on device\n"),
    ],
)
def test_the_run_goes_on(tmp_path, redirection, status, said):
    done = run(redirection, tmp_path)
    assert (done.returncode, done.stderr) == (status, said)
    (trained,) = load(tmp_path / "out")["runs"]
    assert trained["status"] == "completed"
    assert list((tmp_path / "saved").glob("checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "abacus"])
def test_a_platform_that_is_not_there(tmp_path, platform):
    done = run("", tmp_path, JAX_PLATFORMS=platform)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: JAX does not start on JAX_PLATFORMS={platform}: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*"))


class Broken:
    def __init__(self, number: int, descriptor: int) -> None:
        self.number, self.descriptor = number, descriptor

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))

    def fileno(self):
        return self.descriptor


def test_what_fails_once_goes_nowhere(tmp_path):
    with (tmp_path / "taken").open("w") as file:
        for number, is_told in ((errno.EPIPE, False), (errno.ENOSPC, True)):
            printed = Printed(Broken(number, file.fileno()))
            assert printed.write("a line\n") == 7
            assert (printed.error is not None) == is_told
        os.write(file.fileno(), b"more")
    assert (tmp_path / "taken").read_bytes() == b""


def test_standard_output_is_given_back(capsys):
    before = sys.stdout
    with what_is_printed() as printed:
        assert sys.stdout is printed
        print("as ever")
    assert sys.stdout is before
    assert capsys.readouterr().out == "as ever\n"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_limit_of_memory_is_one_line(tmp_path, backend):
    """3 GB of addresses, and matrices of 0.6 GB each."""
    words = [*options(backend=backend, hidden=12_000, epochs=1, out="out")]
    line = " ".join([sys.executable, "-m", "experiments.copy_task", *words])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -v 3000000; {line}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: out of memory: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 64.0 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nwith more lines"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_one_line(capsys, error):
    def execute(config):
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.run(Options, execute, arguments=[])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory: ")
    assert str(error).partition("\n")[0] in said
    assert said.count("\n") == 1


def test_other_errors_keep_their_traceback():
    def execute(config):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        cli.run(Options, execute, arguments=[])


@pytest.mark.parametrize("name", ["--out", "--checkpoint-dir", "--text-file", "--json"])
def test_an_empty_name_is_no_path(capsys, name):
    for arguments in ([name, ""], [f"{name}="]):
        with pytest.raises(SystemExit) as stop:
            cli.run(Options, lambda config: None, arguments=arguments)
        assert stop.value.code == 2
        assert f"error: {name} must be a f" in capsys.readouterr().err
