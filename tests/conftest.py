"""Settings and fixtures that all tests share."""

import gc
import hashlib
import importlib.metadata
import os
import signal
from pathlib import Path

import hypothesis
import pytest

# Traced programs are millions of small objects that stay: going through them all again and again in
# search of garbage took a tenth of the time of the tests.
gc.set_threshold(200_000, 50, 1000)

CACHE = Path(__file__).parents[1] / ".jax_cache"


def cache_of_this_machine() -> Path:
    """Where compiled programs are kept: their keys know JAX's version, not the processor."""
    processor = Path("/proc/cpuinfo")
    text = processor.read_text() if processor.exists() else ""
    flags = text.partition("flags")[2].partition("\n")[0]
    return CACHE / hashlib.sha256(flags.encode()).hexdigest()[:8]


# Many tests compile the same. Workers and the commands that tests start share what they have
# compiled. Read by JAX when it is imported.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_of_this_machine()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# The older of XLA's code generators for the CPU compiles in a fifth of the time of the newer one,
# which the tutorials use. JAX 0.11 knows it no more, and stops at a flag that it does not know.
if importlib.metadata.version("jax").startswith("0.10."):
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
    )

# Threads of PyTorch wait for XLA's, and for those of the other workers: ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Workers of pytest-xdist are told the width of a terminal that no command here prints to.
os.environ.pop("COLUMNS", None)

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402

# A new size means a new compilation, hence no deadline and few examples; the same ones every time,
# so that a test that passed once does not fail for somebody else.
hypothesis.settings.register_profile("jaxrnn", deadline=None, derandomize=True, max_examples=20)
hypothesis.settings.load_profile("jaxrnn")

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that; the
# tests that press it need it to work.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two devices where there are two cores. They share what they can unless a test says otherwise.
jax.config.update("jax_num_cpu_devices", min(2, os.cpu_count() or 1))

# Rank and dtype promotion stay at JAX's defaults: broadcasting a bias over leading dimensions is
# how the library writes its equations, and Optax's Adam multiplies floats with an integer count.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that workers end together; the others stay in their order."""

    def minutes(item: pytest.Item) -> float:
        marker = item.get_closest_marker("slow")
        return marker.kwargs.get("minutes", 0.5) if marker else 0.0

    items.sort(key=minutes, reverse=True)


@pytest.fixture(autouse=True, scope="session")
def compile_as_little_as_is_needed():
    """LLVM's expensive passes take longer than they save in some hundred steps on few numbers."""
    jax.config.update("jax_disable_most_optimizations", jax.default_backend() == "cpu")


@pytest.fixture
def two_devices():
    """Skips where JAX does not see two."""
    if len(jax.devices()) != 2:
        pytest.skip(f"needs two JAX devices, sees {len(jax.devices())}")


@pytest.fixture
def one_torch_thread():
    """Two thread pools, torch's and XLA's, wait for each other: 10 times slower on two cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of its own for each test, always with the same numbers."""
    return np.random.default_rng(1997)


@pytest.fixture
def x64():
    """Double precision in JAX for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked(monkeypatch):
    """Without the run-time check of annotations, which would refuse some bad input first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
