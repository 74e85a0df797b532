"""The library's equations again, in plain NumPy and float64, for its tests to compare with."""

import numpy as np

# All different, so that swapped axes do not go unseen; letters as in the package's docstring.
B, T, N, D, C, S, K = 3, 5, 7, 4, 2, 6, 8


def modrelu(z, bias):
    return np.where(np.abs(z) + bias > 0, z + bias * np.sign(z), 0.0)


ACTIVATIONS = {
    "tanh": lambda z, bias: np.tanh(z),
    "relu": lambda z, bias: np.maximum(z, 0),
    "leaky_relu": lambda z, bias: np.where(z > 0, z, z / 100),
    "modrelu": modrelu,
    "identity": lambda z, bias: z,
}


def random_weights(rng, activation="tanh"):
    """Arrays as the equations write them, biases and all; W_hh with a spectral norm near 1."""
    weights = {
        "W_xh": rng.standard_normal((N, D)) / np.sqrt(D),
        "W_hh": rng.standard_normal((N, N)) / (2 * np.sqrt(N)),
        "b_h": rng.standard_normal(N) / 2,
        "W_hy": rng.standard_normal((C, N)) / np.sqrt(N),
        "b_y": rng.standard_normal(C),
    }
    if activation == "modrelu":
        weights["b_modrelu"] = rng.standard_normal(N) / 2
    return weights


def hidden_states(weights, inputs, activation="tanh", h_0=None):
    """h_1 … h_T, (B, T, N), of inputs (B, T, D), one sequence and one step at a time."""
    phi = ACTIVATIONS[activation]
    hidden = np.zeros((*inputs.shape[:2], len(weights["b_h"])))
    for b, sequence in enumerate(inputs):
        h = np.zeros(len(weights["b_h"])) if h_0 is None else h_0[b]
        for t, x in enumerate(sequence):
            z = weights["W_xh"] @ x + weights["W_hh"] @ h + weights["b_h"]
            h = hidden[b, t] = phi(z, weights.get("b_modrelu"))
    return hidden


def outputs(weights, hidden):
    """y = W_hy h + b_y at every step."""
    return np.einsum("cn,...n->...c", weights["W_hy"], hidden) + weights["b_y"]


def qr(W):
    """The QR factor with a positive diagonal of one matrix, or of each in a batch."""
    Q, R = np.linalg.qr(np.asarray(W, np.float64))
    diagonal = np.diagonal(R, axis1=-2, axis2=-1)
    return Q * np.where(diagonal < 0, -1.0, 1.0)[..., None, :]


def orthogonality_error(W):
    """‖WᵀW − I‖_F / √N of one matrix, or of each in a batch."""
    W = np.asarray(W, np.float64)
    gram = np.swapaxes(W, -1, -2) @ W - np.eye(W.shape[-1])
    return np.sqrt((gram**2).sum((-2, -1)) / W.shape[-1])
