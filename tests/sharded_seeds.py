"""Projected steps of seeds that two devices share; a program, so that one that hangs can be ended.

python -m tests.sharded_seeds N
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrnn import diagnostics, orthogonal, project_recurrent
from tests import numpy_reference as reference

SEEDS, STEPS = 4, 3


def main(retraction: str, N: int) -> None:
    optimizer = optax.chain(optax.adam(1e-3), project_recurrent(retraction))

    def trained(kernel: jax.Array, gradients: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(state, gradient):
            params, opt_state = state
            updates, opt_state = optimizer.update({"h": {"kernel": gradient}}, opt_state, params)
            params = optax.apply_updates(params, updates)
            return (params, opt_state), diagnostics.recurrent_diagnostics(params)

        params = {"h": {"kernel": kernel}}
        (params, _), (norms, _) = jax.lax.scan(step, (params, optimizer.init(params)), gradients)
        return params["h"]["kernel"], norms

    rng = np.random.default_rng(N)
    # One of them far from orthogonal, which qr leaves to Householder's reflections.
    kernels = np.stack([reference.qr(W) for W in rng.standard_normal((SEEDS, N, N))])
    kernels[1] = rng.standard_normal((N, N)) / np.sqrt(N)
    gradients = rng.standard_normal((SEEDS, STEPS, N, N))
    mesh = jax.make_mesh((2,), ("seeds",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("seeds"))
    arrays = jax.device_put([jnp.float32(kernels), jnp.float32(gradients)], sharding)
    found, norms = jax.jit(jax.vmap(trained))(*arrays)
    alone = jax.jit(trained)
    for i in range(SEEDS):
        # Of each seed by itself: rounding in another order, times the condition of the one.
        expected, expected_norms = alone(jnp.float32(kernels[i]), jnp.float32(gradients[i]))
        atol = 1e-3 if i == 1 else 2e-6
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=atol, err_msg=f"seed {i}")
        np.testing.assert_allclose(norms[i], expected_norms, rtol=1e-4)
    assert jnp.max(orthogonal.householder(found) - found) < 1e-3


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    for name in ("qr", "householder", "polar", "cholesky"):
        main(name, int(sys.argv[1]))
