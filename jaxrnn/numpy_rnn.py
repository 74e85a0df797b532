"""A recurrent network from scratch in NumPy: forward pass, BPTT, clipping, Adam, sampling.

Nothing is hidden: no automatic differentiation, no framework. Read it beside the equations,

    z_t = W_xh x_t + W_hh h_{t-1} + b_h      h_t = phi(z_t)      y_t = W_hy h_t + b_y

with x_t (B, D), h_t (B, N), y_t (B, C) as rows of a batch, so that W x is written x @ W.T. Weights
are a dictionary in the letters of the equations: W_xh (N, D), W_hh (N, N), b_h (N,), W_hy (C, N),
b_y (C,), and b_modrelu (N,) for modReLU. Gradients and Adam's moments have the same keys.
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxrnn.checks import (
    as_tokens,
    check_generator,
    check_not_negative,
    check_one_of,
    check_shapes,
    check_whole,
)

Weights = dict[str, np.ndarray]

# B sequences of T steps, D features, N units, C outputs.
AXES = {
    "W_xh": "N D",
    "W_hh": "N N",
    "b_h": "N",
    "W_hy": "C N",
    "b_y": "C",
    "b_modrelu": "N",
    "inputs": "B T D",
    "h0": "B N",
    "hidden": "B T+1 N",
    "dy": "B T C",
    "outputs": "B T C",
    "targets": "B",
}

# phi(z, b), and phi'(z) as a function of h = phi(z); b is modReLU's bias, which the others ignore.
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "tanh": (lambda z, b: np.tanh(z), lambda h: 1 - h**2),
    "relu": (lambda z, b: np.maximum(z, 0), lambda h: (h > 0).astype(h.dtype)),
    "leaky_relu": (
        lambda z, b: np.where(z > 0, z, 0.01 * z),
        lambda h: np.where(h > 0, 1.0, 0.01),
    ),
    "modrelu": (
        lambda z, b: np.sign(z) * np.maximum(np.abs(z) + b, 0),
        lambda h: (h != 0).astype(h.dtype),
    ),
    "identity": (lambda z, b: z, np.ones_like),
}


def initial_weights(
    rng: np.random.Generator, num_inputs: int, num_units: int, num_outputs: int
) -> Weights:
    """Everything uniform in ±1/√N, as torch.nn.RNN does.

    Example:
      >>> weights = numpy_rnn.initial_weights(np.random.default_rng(0), 3, 4, 6)
      >>> {name: array.shape for name, array in weights.items()}
      {'W_xh': (4, 3), 'W_hh': (4, 4), 'b_h': (4,), 'W_hy': (6, 4), 'b_y': (6,)}
    """
    D, N, C = num_inputs, num_units, num_outputs
    check_generator("rng", rng)
    for name, size in {"num_inputs": D, "num_units": N, "num_outputs": C}.items():
        check_whole(name, size)
    shapes = {"W_xh": (N, D), "W_hh": (N, N), "b_h": (N,), "W_hy": (C, N), "b_y": (C,)}
    bound = 1 / np.sqrt(N)
    return {name: rng.uniform(-bound, bound, shape) for name, shape in shapes.items()}


def forward(
    weights: Weights, inputs: np.ndarray, h0: np.ndarray | None = None, activation: str = "tanh"
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, T, D) → outputs y (B, T, C) and states (B, T+1, N), the first of them h_0.

    Example:
      >>> weights = numpy_rnn.initial_weights(np.random.default_rng(0), 3, 4, 6)
      >>> outputs, hidden = numpy_rnn.forward(weights, np.ones((2, 5, 3)))
      >>> outputs.shape, hidden.shape  # (B, T, C), (B, T+1, N)
      ((2, 5, 6), (2, 6, 4))
    """
    _check(weights, activation, {"inputs": inputs} | ({} if h0 is None else {"h0": h0}))
    phi, _ = ACTIVATIONS[activation]
    B, T, _ = inputs.shape
    N = len(weights["b_h"])
    h = np.zeros((B, N), inputs.dtype) if h0 is None else h0
    states = [h]
    for t in range(T):
        z = inputs[:, t] @ weights["W_xh"].T + h @ weights["W_hh"].T + weights["b_h"]
        h = phi(z, weights.get("b_modrelu"))
        states.append(h)
    hidden = np.stack(states, axis=1)
    return hidden[:, 1:] @ weights["W_hy"].T + weights["b_y"], hidden


def _check(weights: Weights, activation: str, arrays: Weights) -> None:
    """ValueError unless the weights are those of the network, and all that is given fits."""
    check_one_of("activation", activation, ACTIVATIONS)
    names = ["W_xh", "W_hh", "b_h", "W_hy", "b_y"]
    names += ["b_modrelu"] if activation == "modrelu" else []
    if set(weights) != set(names):
        raise ValueError(f"weights must be {', '.join(names)}, got {', '.join(map(str, weights))}")
    check_shapes(AXES, {**weights, **arrays})


def _float(array: np.ndarray) -> np.dtype:
    """The dtype of a gradient by an array, which may be of whole numbers."""
    return np.promote_types(array.dtype, np.float32)


def cross_entropy(outputs: np.ndarray, classes: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of −ln softmax(y)[class] over B·T predictions, and its gradient with respect to y.

    ∂L/∂y = (softmax(y) − one-hot(class)) / (B·T).

    Example:
      >>> loss, gradient = numpy_rnn.cross_entropy(np.zeros((1, 2, 4)), np.array([[0, 3]]))
      >>> print(f"{loss:.3f} {np.log(4):.3f}")
      1.386 1.386
      >>> print(gradient)
      [[[-0.375  0.125  0.125  0.125]
        [ 0.125  0.125  0.125 -0.375]]]
    """
    check_shapes(AXES, {"outputs": outputs})
    classes = as_tokens("classes", classes, outputs.shape[-1], "BT")
    if classes.shape != outputs.shape[:-1]:
        raise ValueError(
            f"classes must be (B, T) like the outputs {outputs.shape}, got {classes.shape}"
        )
    shifted = outputs - outputs.max(axis=-1, keepdims=True)  # exp must not overflow
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    right = np.take_along_axis(log_probs, classes[..., None], axis=-1)
    gradient = np.exp(log_probs)
    np.put_along_axis(gradient, classes[..., None], np.exp(right) - 1, axis=-1)
    return -right.mean(), gradient / classes.size


def squared_error(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of (y_T − target)² over the batch, read out at the last step; its gradient.

    Example:
      >>> outputs = np.array([[[9.0], [1.0]], [[9.0], [4.0]]])  # (B, T, 1)
      >>> loss, gradient = numpy_rnn.squared_error(outputs, np.array([1.0, 2.0]))
      >>> print(loss, *gradient[:, -1, 0])
      2.0 0.0 2.0
    """
    check_shapes(AXES, {"outputs": outputs, "targets": targets})
    error = outputs[:, -1, 0] - targets
    gradient = np.zeros(outputs.shape, _float(outputs))
    gradient[:, -1, 0] = 2 * error / len(error)
    return np.mean(error**2), gradient


def backward(
    weights: Weights,
    inputs: np.ndarray,
    hidden: np.ndarray,
    dy: np.ndarray,
    activation: str = "tanh",
) -> Weights:
    """BPTT: the gradient of the loss with respect to every weight.

    δ_t = ∂L/∂z_t depends on the future through h_t alone, so it is computed backwards in time:

        ∂L/∂h_t = W_hyᵀ ∂L/∂y_t + W_hhᵀ δ_{t+1}          δ_t = ∂L/∂h_t ⊙ phi'(z_t)

    and each weight's gradient is a sum over t of δ_t (or ∂L/∂y_t) times what it multiplied.

    Args:
      weights: as in ``forward``.
      inputs: (B, T, D).
      hidden: (B, T+1, N), from ``forward``.
      dy: ∂L/∂y, (B, T, C).
      activation: as in ``forward``.

    Example:
      >>> weights = numpy_rnn.initial_weights(np.random.default_rng(0), 3, 4, 6)
      >>> inputs, classes = np.ones((1, 5, 3)), np.array([[0, 1, 2, 3, 4]])
      >>> outputs, hidden = numpy_rnn.forward(weights, inputs)
      >>> loss, dy = numpy_rnn.cross_entropy(outputs, classes)
      >>> gradient = numpy_rnn.backward(weights, inputs, hidden, dy)["W_hh"][0, 1]
      >>> weights["W_hh"][0, 1] += 1e-6  # for a finite difference
      >>> moved, _ = numpy_rnn.cross_entropy(numpy_rnn.forward(weights, inputs)[0], classes)
      >>> bool(np.isclose((moved - loss) / 1e-6, gradient, rtol=1e-4))
      True
    """
    _check(weights, activation, {"inputs": inputs, "hidden": hidden, "dy": dy})
    _, derivative = ACTIVATIONS[activation]
    gradients = {name: np.zeros(w.shape, _float(w)) for name, w in weights.items()}
    dh = np.zeros_like(hidden[:, 0])
    for t in reversed(range(inputs.shape[1])):
        h, previous = hidden[:, t + 1], hidden[:, t]
        gradients["W_hy"] += dy[:, t].T @ h
        gradients["b_y"] += dy[:, t].sum(axis=0)
        dh = dh + dy[:, t] @ weights["W_hy"]
        delta = dh * derivative(h)
        gradients["W_xh"] += delta.T @ inputs[:, t]
        gradients["W_hh"] += delta.T @ previous
        gradients["b_h"] += delta.sum(axis=0)
        if activation == "modrelu":
            gradients["b_modrelu"] += (delta * np.sign(h)).sum(axis=0)
        dh = delta @ weights["W_hh"]
    return gradients


def clip_by_global_norm(gradients: Weights, max_norm: float) -> tuple[Weights, float]:
    """g · min(1, max_norm / ‖g‖), all gradients as one vector g; also ‖g‖. 0: no clipping.

    Example:
      >>> gradients = {"W_hh": np.array([[3.0]]), "b_h": np.array([4.0])}
      >>> clipped, norm = numpy_rnn.clip_by_global_norm(gradients, max_norm=1.0)
      >>> print(norm, clipped["W_hh"], clipped["b_h"])
      5.0 [[0.6]] [0.8]
    """
    check_not_negative("max_norm", max_norm)
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
    scale = max_norm / norm if max_norm and norm > max_norm else 1.0
    return {name: gradient * scale for name, gradient in gradients.items()}, norm


class Adam:
    """Kingma & Ba 2015: w ← w − lr · m̂ / (√v̂ + ε), with m and v running means of g and g².

    Example:
      >>> weights, gradients = {"b_h": np.zeros(3)}, {"b_h": np.array([5.0, -0.2, 0.0])}
      >>> print(numpy_rnn.Adam(weights, lr=0.1).update(weights, gradients)["b_h"].round(4))
      [-0.1  0.1  0. ]
    """

    def __init__(self, weights: Weights, lr: float = 1e-3) -> None:
        check_not_negative("lr", lr)
        self.lr, self.decay_m, self.decay_v, self.epsilon = lr, 0.9, 0.999, 1e-8
        self.m = {name: np.zeros_like(array) for name, array in weights.items()}
        self.v = {name: np.zeros_like(array) for name, array in weights.items()}
        self.steps = 0

    def update(self, weights: Weights, gradients: Weights) -> Weights:
        """The weights after one step."""
        self.steps += 1
        new = {}
        for name, g in gradients.items():
            self.m[name] = self.decay_m * self.m[name] + (1 - self.decay_m) * g
            self.v[name] = self.decay_v * self.v[name] + (1 - self.decay_v) * g**2
            m_hat = self.m[name] / (1 - self.decay_m**self.steps)  # both start at zero, and are
            v_hat = self.v[name] / (1 - self.decay_v**self.steps)  # biased towards it at first
            new[name] = weights[name] - self.lr * m_hat / (np.sqrt(v_hat) + self.epsilon)
        return new


def project(W_hh: np.ndarray) -> np.ndarray:
    """Q·diag(s) of W_hh = QR, s = −1 where R has a negative diagonal entry and +1 elsewhere.

    Example:
      >>> print(numpy_rnn.project(np.array([[3.0, 1.0], [-4.0, 2.0]])).round(3))
      [[ 0.6  0.8]
       [-0.8  0.6]]
    """
    check_shapes(AXES, {"W_hh": W_hh})
    Q, R = np.linalg.qr(W_hh.astype(np.promote_types(W_hh.dtype, np.float32)))
    return Q * np.where(np.diag(R) < 0, -1, 1).astype(Q.dtype)


def sample(
    weights: Weights,
    rng: np.random.Generator,
    length: int,
    prompt: Sequence[int] | np.ndarray = (0,),
    temperature: float = 1.0,
    activation: str = "tanh",
) -> list[int]:
    """Tokens drawn one after the other from softmax(y_t / temperature), each the next input.

    At a temperature of 0 the likeliest is taken.

    Raises:
      ValueError: an empty prompt, a length or temperature below 0, one that is not finite.

    Example:
      >>> weights = numpy_rnn.initial_weights(np.random.default_rng(0), 6, 4, 6)
      >>> weights["b_y"][5] = 50.0  # the likeliest by far
      >>> numpy_rnn.sample(weights, np.random.default_rng(1), length=4, prompt=[0, 2])
      [5, 5, 5, 5]
    """
    _check(weights, activation, {})
    num_tokens = weights["W_xh"].shape[1]
    read = as_tokens("prompt", prompt, num_tokens)
    if not len(read):
        raise ValueError("a prompt needs at least one token")
    check_generator("rng", rng)
    check_whole("length", length, least=0)
    check_not_negative("temperature", temperature)
    tokens: list[int] = []
    h = None
    for _ in range(length):
        x = np.eye(num_tokens)[read][None]
        y, hidden = forward(weights, x, h, activation)
        h = hidden[:, -1]
        logits = y[0, -1]
        if temperature < np.finfo(logits.dtype).tiny:  # by which no logit can be divided
            token = int(logits.argmax())
        else:
            probabilities = np.exp((logits - logits.max()) / temperature)
            token = int(rng.choice(len(logits), p=probabilities / probabilities.sum()))
        tokens.append(token)
        read = np.array([token])
    return tokens
