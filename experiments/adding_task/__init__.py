"""The adding problem: a ReLU RNN that starts as the identity adds two numbers far apart.

    python -m experiments.adding_task --irnn [--backend jax|torch|both] [--preset sgd|adam]
    python -m experiments.adding_task --sweep | --sweep-scale | --sweep-clip

Without ``--irnn`` five methods are compared on the same batches:

    irnn              ReLU, W_hh = scale · I, small input weights, no biases (Le et al. 2015)
    vanilla           tanh, everything drawn from ±1/√N
    relu              ReLU, everything drawn from ±1/√N
    relu_orthogonal   ReLU, W_hh starts orthogonal
    qr                tanh, W_hh starts orthogonal and is projected back after every step
"""
