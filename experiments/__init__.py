"""One module per experiment, each a thin command line over the library.

    python -m experiments.X

What they share is in experiments.common.
"""

import os

# QR and SVD of one small matrix inside a compiled loop: OpenBLAS, which JAX calls for them, would
# spin threads that compete with XLA's. One thread halves their cost, and takes nothing elsewhere.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
