"""One step of each optimizer on the orthogonal group again, in NumPy, SciPy and float64.

W, memory = step(W, G, memory)          memory is None at first
"""

import numpy as np
import scipy.linalg

RATE = 0.015


def skew(M):
    return (M - M.T) / 2


def nearest(M):
    U, _, Vt = np.linalg.svd(M)
    return U @ Vt


def adam(g, memory, rate=RATE, b1=0.9, b2=0.999, eps=1e-8, square=np.square):
    count, m, v = memory or (0, 0.0, 0.0)
    count, m, v = count + 1, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * square(g)
    step = -rate * (m / (1 - b1**count)) / (np.sqrt(v / (1 - b2**count)) + eps)
    return step, (count, m, v)


def rms(g, v, rate=RATE):
    v = 0.9 * (0.0 if v is None else v) + 0.1 * g**2
    return -rate * g / np.sqrt(v + 1e-8), v


def on_group(W, G, memory):
    u, memory = adam(skew(W.T @ G), memory)
    return W @ scipy.linalg.expm(u), memory


def stiefel_adam(W, G, memory):
    u, memory = adam(W.T @ G - G.T @ W, memory, b2=0.99, eps=1e-5)
    return nearest(W @ (np.eye(len(W)) + u)), memory


def group_muon(W, G, m):
    m = skew(W.T @ G) + (0.0 if m is None else 0.9 * m)
    X = m / np.linalg.norm(m)
    for _ in range(5):
        P = X @ X.T
        X = 3.4445 * X - 4.775 * P @ X + 2.0315 * P @ P @ X
    return second_order(W, -RATE * X), m


def second_order(W, A):
    """In two halves, as is due to angles between 0.016 and 0.032 in float64."""
    assert 0.016 < np.linalg.norm(A @ A) ** 0.5 / 2**0.25 < 0.032
    R = newton_schulz(np.eye(len(W)) + A / 2 + A @ A / 8)
    return newton_schulz(W @ R @ R)


def newton_schulz(M):
    return M + (M - M @ M.T @ M) / 2


def pogo(W, G, memory):
    u, memory = adam(G, memory, square=lambda g: np.sum(g**2))
    M = W + (W @ W.T @ u - W @ u.T @ W) / 2
    return newton_schulz(M), memory


def landing(W, G, m):
    m = G + (0.0 if m is None else 0.5 * m)
    off = W.T @ W - np.eye(len(W))
    field = W @ skew(W.T @ m) + W @ off
    d, alpha = np.linalg.norm(off), np.sum(field**2)
    beta = d * (1 - d)
    safe = (beta + np.sqrt(beta**2 + alpha * max(0.5 - d, 0))) / alpha
    return W - min(RATE, safe, 0.5) * field, m


def exprnn(W, G, memory, every=3):
    """The gradient by A from differences of tr(Gᵀ W₀ exp(A)), which is linear in exp(A)."""
    count, base, A, v = memory or (0, W, np.zeros_like(W), None)
    gradient = np.zeros_like(A)
    for i, j in np.argwhere(np.triu(np.ones_like(A), 1)):
        turn = np.zeros_like(A)
        turn[i, j], turn[j, i] = 1.0, -1.0
        along = scipy.linalg.expm_frechet(A, turn, compute_expm=False)
        gradient += turn * np.sum(G * (base @ along)) / 2
    u, v = rms(gradient, v)
    A, count = A + u, count + 1
    W = base @ scipy.linalg.expm(A)
    return W, (count, *((W, np.zeros_like(A)) if count % every == 0 else (base, A)), v)
