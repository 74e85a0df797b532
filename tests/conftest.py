"""Settings and fixtures that all tests share."""

import hashlib
import os
import signal
from pathlib import Path

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest

# A new size means a new compilation, hence no deadline and few examples; the same ones every time,
# so that a test that passed once does not fail for somebody else.
hypothesis.settings.register_profile("jaxrnn", deadline=None, derandomize=True, max_examples=20)
hypothesis.settings.load_profile("jaxrnn")

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that; the
# tests that press it need it to work.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two devices where there are two cores. They share what they can unless a test says otherwise.
jax.config.update("jax_num_cpu_devices", min(2, os.cpu_count() or 1))

# Most of the time of a test goes to XLA's compiler, and many compile the same. The key of an entry
# knows the version of JAX, and nothing of what the processor can do.
processor = Path("/proc/cpuinfo")
flags = processor.read_text().partition("flags")[2].partition("\n")[0] if processor.exists() else ""
cache = Path(__file__).parents[1] / ".jax_cache" / hashlib.sha256(flags.encode()).hexdigest()[:8]
jax.config.update("jax_compilation_cache_dir", str(cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Rank and dtype promotion stay at JAX's defaults: broadcasting a bias over leading dimensions is
# how the library writes its equations, and Optax's Adam multiplies floats with an integer count.


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
