"""Recurrent networks that train, in JAX: cells, orthogonal projection, tasks and diagnostics.

    h_t = phi(W_xh x_t + W_hh h_{t-1} + b_h)          y_t = W_hy h_t + b_y

Letters used in every docstring, annotation and error:

    B batch   T time steps   N hidden units   D input features   C classes or outputs   S seeds
    K training steps in a chunk

A Flax kernel is stored (in, out): ``h/kernel`` is W_hhᵀ. Functions on matrices take W_hh as the
equation writes it, h ← W_hh h.

Names load on first use, so that the NumPy-only parts (tasks) do not import JAX.

The examples in docstrings begin with

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import optax
    >>> from flax import linen as nn
    >>> from jaxrnn import *
    >>> from jaxrnn import text
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
