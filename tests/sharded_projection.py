"""The projection on two devices; a program, because JAX fixes their number when it starts."""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrnn import project_recurrent
from tests import numpy_reference as reference


def check(sharding: NamedSharding) -> None:
    """The first update is projected, the second is not, and both stay where they were."""
    kernel, update = np.random.default_rng(0).standard_normal((2, 6, 6))
    trees = [{"h": {"kernel": leaf}} for leaf in (kernel, update)]
    params, updates = jax.device_put(trees, sharding)
    transform = project_recurrent(every=2)
    step = jax.jit(transform.update)
    first, state = step(updates, transform.init(params), params)
    second, _ = step(updates, state, params)
    expected = reference.qr((kernel + update).T).T - kernel
    # Rounding moves the QR factor of W by a few κ(W) eps, and κ is below 100.
    np.testing.assert_allclose(first["h"]["kernel"], expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(second["h"]["kernel"], update)
    for moved in (first, second):
        assert moved["h"]["kernel"].sharding.is_equivalent_to(sharding, 2), sharding


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_enable_x64", True)
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((2,), ("devices",), axis_types=(kind,))
        for spec in ((), ("devices",), (None, "devices")):
            check(NamedSharding(mesh, PartitionSpec(*spec)))
