"""How an optimizer sees an orthogonal matrix: as a point A of a vector space, with a gradient.

    on_group        A = 0, a = skew(WᵀG)        W ← W exp(A)
    stiefel_adam    A = 0, 2 a                  W ← polar(W (I + A))
    pogo            A = 0, G                    W ← M (3 I − MᵀM) / 2, M = W + W skew(WᵀA)
    landing         A = 0, G                    W ← W − η (W skew(Wᵀm) + λ W (WᵀW − I)), m = −A
    exprnn          A, its own gradient         W ← W₀ exp(A)

A is where the optimizer leaves it. Sources: jaxrnn/group/methods.py.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from torch_ref.checks import check_not_negative, check_real, check_whole
from torch_ref.group.maps import newton_schulz, rotate, skew
from torch_ref.orthogonal import polar

__all__ = ["METHODS"]


class Method(Protocol):
    """Of one parameter; all methods take (..., N, N)."""

    def enter(self, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        """A and the gradient by it, for the optimizer."""

    def leave(self, W: Tensor, A: Tensor) -> Tensor:
        """The new W, of A after the optimizer's step."""


class OnGroup:
    """W exp(A)."""

    def enter(self, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(W), skew(W.mT @ G)

    def leave(self, W: Tensor, A: Tensor) -> Tensor:
        return rotate(W, A)


class StiefelAdam:
    """Of ``torch.optim.Adam(..., betas=(0.9, 0.99), eps=1e-5)``."""

    def enter(self, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(W), 2 * skew(W.mT @ G)

    def leave(self, W: Tensor, A: Tensor) -> Tensor:
        return polar(W + W @ skew(A))


class Pogo:
    """Of ``MatrixAdam``, or any other."""

    def enter(self, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(W), G

    def leave(self, W: Tensor, A: Tensor) -> Tensor:
        return newton_schulz(W + W @ skew(W.mT @ A))


class Landing:
    """Of ``torch.optim.SGD(..., lr=1.0)`` with any momentum; the rate is an argument here."""

    def __init__(self, learning_rate: float = 0.1, attraction: float = 1.0) -> None:
        check_not_negative("learning_rate", learning_rate)
        check_real("attraction", attraction, "above 0 and finite", lambda value: value > 0)
        self.learning_rate, self.attraction = learning_rate, attraction

    def enter(self, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(W), G

    def leave(self, W: Tensor, A: Tensor) -> Tensor:
        off = W.mT @ W - torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
        field = W @ (skew(W.mT @ -A) + self.attraction * off)
        d = torch.linalg.matrix_norm(off, keepdim=True)
        alpha = field.square().sum((-2, -1), keepdim=True)
        beta = self.attraction * d * (1 - d)
        safe = (beta + (beta.square() + alpha * (0.5 - d).clamp(min=0)).sqrt()) / alpha
        most = min(self.learning_rate, 1 / (2 * self.attraction))
        # With nothing to move, 0 / 0, any step is safe.
        return W - safe.nan_to_num(nan=most).clamp(max=most) * field


class ExpRNN:
    """Of any optimizer; W₀ ← W and A ← 0 after every K-th step."""

    def __init__(self, every: int = 100) -> None:
        check_whole("every", every)
        self.every, self.count = every, 0
        self.base: Tensor | None = None
        self.A: Tensor | None = None

    def enter(self, W: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        if self.base is None or self.A is None or self.count % self.every == 0:
            self.base, self.A = W.clone(), torch.zeros_like(W)
        with torch.enable_grad():
            A = self.A.clone().requires_grad_()
            torch.sum(G * (self.base @ torch.linalg.matrix_exp(A))).backward()
        assert A.grad is not None
        return self.A, skew(A.grad)

    def leave(self, W: Tensor, A: Tensor) -> Tensor:
        assert self.base is not None
        self.A, self.count = skew(A), self.count + 1
        return newton_schulz(self.base @ torch.linalg.matrix_exp(self.A))


METHODS: dict[str, Callable[[], Method]] = {
    "on_group": OnGroup,
    "stiefel_adam": StiefelAdam,
    "pogo": Pogo,
    "landing": Landing,
    "exprnn": ExpRNN,
}
