"""A package for each experiment, all of them command lines over the library.

    python -m experiments.X

    __init__.py   what is asked, and the command lines
    __main__.py   starts the command
    config.py     its options
    command.py    what it measures, writes and prints
    figure.py     its figures, drawn from results.json alone
    claims.py     what README.md and docs/ say of its results

What they share is in experiments.harness, which knows none of them.
"""

import os

# QR and SVD of one small matrix inside a compiled loop: OpenBLAS, which JAX calls for them, would
# spin threads that compete with XLA's. One thread halves their cost, and takes nothing elsewhere.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
