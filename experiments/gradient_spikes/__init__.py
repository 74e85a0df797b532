"""Where do gradient norms spike? A search over length, rate, clipping and size.

    python -m experiments.gradient_spikes

Each setting changes one thing of the copy task's defaults and trains a few hundred steps; what
counts is the largest gradient norm before clipping, with and without projection.
"""
