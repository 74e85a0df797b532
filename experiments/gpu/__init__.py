"""Everything that a machine with a GPU should measure, as one command.

    make gpu        or        python -m experiments.gpu [--parts ...] [--out DIR]

    parts.py          the parts, in their order, with their limits
    conductor.py      runs each part as a separate process, and keeps its rows
    machine.py        what the machine has: devices, driver, packages
    part_process.py   the other side: how a part's process is started, and where its rows go
    parity.py, speed.py, projection.py, variants.py, jax_tests.py      the parts
    pytest_rows.py    a plugin of pytest that turns tests into rows
    figure.py, tables.py, claims.py      what is made of the rows

It needs no network, and of this project's packages only JAX, Flax, Optax, NumPy, jaxtyping,
lazy_loader, Matplotlib and rich; what needs another is left out, and said. Hence argparse where
other commands use tyro.
"""
