"""The copy task: does an orthogonal W_hh let a vanilla RNN remember?

    python -m experiments.copy_task [--backend jax|torch|numpy|both] [--seeds 5] [--preset ...]

Three methods train the same RNN on the same batches; each adds one thing to the one before it:

    vanilla           W_hh drawn from ±1/√N
    orthogonal_init   W_hh starts orthogonal
    qr                W_hh starts orthogonal, and is projected back after every step
"""
