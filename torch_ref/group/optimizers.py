"""torch optimizers of whole matrices: Muon for skew ones, and Adam with one second moment each."""

from typing import Any

import torch

from torch_ref.checks import check_not_negative, check_real, described
from torch_ref.group.maps import polar_of_skew


class SkewMuon(torch.optim.Optimizer):
    """A ← A − η polar(m), m ← β m + a, with ``keep_orthogonal``: every plane turns by one angle.

    Args:
      params: the recurrent matrices alone.
      lr: η, in radians.
      momentum: β.

    Example:
      >>> A = torch.nn.Parameter(torch.zeros(2, 2))
      >>> A.grad = torch.tensor([[0.0, 1e-4], [-1e-4, 0.0]])
      >>> group.SkewMuon([A], lr=0.1).step()
      >>> 0.07 < A[1, 0].item() < 0.13  # whatever the size of the gradient
      True
    """

    def __init__(self, params: Any, lr: float = 3e-3, momentum: float = 0.9) -> None:
        check_not_negative("lr", lr)
        check_real("momentum", momentum, "in [0, 1)", lambda beta: 0 <= beta < 1)
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each parameter."""
        del closure
        for one in self.param_groups:
            for param in one["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                m = state["m"] = one["momentum"] * state.get("m", 0.0) + param.grad
                param -= one["lr"] * polar_of_skew(m)


class MatrixAdam(torch.optim.Optimizer):
    """u = −η m̂ / (√v̂ + ε), v ← β₂ v + (1 − β₂) ‖g‖_F²: Adam with one second moment a matrix.

    Example:
      >>> W = torch.nn.Parameter(torch.zeros(2, 2))
      >>> W.grad = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
      >>> group.MatrixAdam([W], lr=0.1).step()
      >>> print(W.detach().numpy().round(3))
      [[-0.06  0.  ]
       [ 0.   -0.08]]
    """

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        check_not_negative("lr", lr)
        check_not_negative("eps", eps)
        if not isinstance(betas, tuple) or len(betas) != 2:
            raise ValueError(f"betas must be two numbers, got {described(betas)}")
        for beta in betas:
            check_real("betas", beta, "in [0, 1)", lambda beta: 0 <= beta < 1)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each parameter."""
        del closure
        for one in self.param_groups:
            b1, b2 = one["betas"]
            for param in one["params"]:
                if param.grad is None:
                    continue
                g, state = param.grad, self.state[param]
                count = state["step"] = state.get("step", 0) + 1
                square = g.square().sum((-2, -1), keepdim=True)
                m = state["m"] = b1 * state.get("m", 0.0) + (1 - b1) * g
                v = state["v"] = b2 * state.get("v", 0.0) + (1 - b2) * square
                scale = (v / (1 - b2**count)).sqrt() + one["eps"]
                param -= one["lr"] * m / (1 - b1**count) / scale
