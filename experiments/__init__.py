"""One module per experiment, each a thin command line over the library.

    python -m experiments.X

What they share is in experiments.common.
"""
