"""The vanilla recurrent cell, h_t = phi(W_xh x_t + W_hh h_{t-1} + b_h), and gated ones.

torch.nn.RNN is a cell and the loop over time in one, and so are torch.nn.GRU and torch.nn.LSTM: all
take whole sequences. Each gate trains one bias, as the equations have it: torch's second one, b_hh,
stays at zero: two redundant biases get the same gradient, move twice as fast under Adam and
count twice in the clipping norm.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torch_ref.checks import check_carry, check_one_of, check_tensor, check_whole


def map_carry(function: Callable[..., Tensor], *carries: Any) -> Any:
    """The function of each tensor in carries of one structure: h, (c, h), or pairs of pairs."""
    if isinstance(carries[0], tuple):
        return tuple(map_carry(function, *parts) for parts in zip(*carries, strict=True))
    return function(*carries)


def state_of(carry: Any) -> Tensor:
    """What a cell emits: the last tensor of its carry, such as h of an LSTM's (c, h)."""
    return state_of(carry[-1]) if isinstance(carry, tuple) else carry


def check_sequence(cell: Any, inputs: Any, carry: Any, dtype: torch.dtype | None = None) -> None:
    """ValueError unless inputs (B, T, D) and a carry, which may be None, fit a cell."""
    check_tensor("inputs", inputs, ("B", "T", cell.input_size), dtype)
    if carry is not None:
        check_carry(carry, cell.initialize_carry(len(inputs)))


def _check_sizes(num_inputs: int, features: int) -> None:
    check_whole("num_inputs", num_inputs)
    check_whole("features", features)


def modrelu(z: Tensor, bias: Tensor) -> Tensor:
    """sign(z) · relu(|z| + b): ReLU on the modulus, keeping the sign (Arjovsky et al. 2016)."""
    return torch.sign(z) * torch.relu(torch.abs(z) + bias)


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "modrelu": modrelu,
    "identity": lambda z: z,
}
_NATIVE = ("tanh", "relu")  # the ones that torch.nn.RNN has; the others loop in Python


class VanillaCell(nn.RNN):
    """h_t = phi(W_xh x_t + W_hh h_{t-1} + b_h) over a sequence.

    Parameters: ``weight_ih_l0`` (N, D), ``weight_hh_l0`` (N, N), ``bias_ih_l0`` (N,), and for
    modReLU ``modrelu_bias`` (N,), initially zero; the rest as torch.nn.RNN draws them.

    Args:
      num_inputs: D.
      features: N.
      activation: phi, a name in ``ACTIVATIONS``.
      dtype, device: of the parameters.

    Raises:
      ValueError: an unknown activation.

    Example:
      >>> hidden, last = VanillaCell(3, 4, activation="relu")(torch.randn(2, 5, 3))
      >>> tuple(hidden.shape), torch.equal(hidden[:, -1], last)  # (B, T, N)
      ((2, 5, 4), True)
    """

    gates: ClassVar[str] = "h"
    gates_with_two_biases: ClassVar[str] = ""
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(
        self,
        num_inputs: int,
        features: int,
        activation: str = "tanh",
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        check_one_of("activation", activation, ACTIVATIONS)
        _check_sizes(num_inputs, features)
        native = activation if activation in _NATIVE else "tanh"
        super().__init__(
            num_inputs, features, nonlinearity=native, batch_first=True, dtype=dtype, device=device
        )
        self.activation = activation
        nn.init.zeros_(self.bias_hh_l0)
        self.bias_hh_l0.requires_grad_(False)
        if activation == "modrelu":
            self.modrelu_bias = nn.Parameter(torch.zeros_like(self.bias_ih_l0))

    def forward(self, inputs: Tensor, carry: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(B, T, D) and h_0 (B, N) or None for zeros → all h_t (B, T, N) and h_T (B, N)."""
        check_sequence(self, inputs, carry, self.weight_hh_l0.dtype)
        if self.activation in _NATIVE:
            hidden, last = super().forward(inputs, None if carry is None else carry[None])
            return hidden, last[0]
        bias = self.bias_ih_l0 + self.bias_hh_l0  # the latter zero, but of loaded states
        z_from_inputs = nn.functional.linear(inputs, self.weight_ih_l0, bias)
        h = z_from_inputs.new_zeros(inputs.shape[0], self.hidden_size) if carry is None else carry
        phi = ACTIVATIONS[self.activation]
        extra = (self.modrelu_bias,) if self.activation == "modrelu" else ()
        steps = []
        for z in z_from_inputs.unbind(1):
            h = phi(z + h @ self.weight_hh_l0.T, *extra)
            steps.append(h)
        return torch.stack(steps, 1), h

    def initialize_carry(self, batch_size: int) -> Tensor:
        """h_0 = 0, (B, N)."""
        return self.weight_hh_l0.new_zeros(batch_size, self.hidden_size)


class GRUCell(nn.GRU):
    """r, z = σ(W_x x + W_h h + b);  n = tanh(W_xn x + b_n + r ⊙ (W_hn h + b_hn));
    h_t = (1 − z) ⊙ n + z ⊙ h_{t-1}, over a sequence (Cho et al. 2014), as in flax's GRUCell.

    Parameters: those of torch.nn.GRU; of ``bias_hh_l0`` only b_hn, which r multiplies, is trained.

    Args:
      num_inputs: D.
      features: N.
      dtype, device: of the parameters.

    Example:
      >>> cell = GRUCell(3, 4)
      >>> hidden, last = cell(torch.randn(2, 5, 3))
      >>> tuple(hidden.shape), tuple(cell.weight_hh_l0.shape)  # (B, T, N), (3N, N)
      ((2, 5, 4), (12, 4))
    """

    gates: ClassVar[str] = "rzn"
    gates_with_two_biases: ClassVar[str] = "n"
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(
        self,
        num_inputs: int,
        features: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        _check_sizes(num_inputs, features)
        super().__init__(num_inputs, features, batch_first=True, dtype=dtype, device=device)
        mask = torch.zeros_like(self.bias_hh_l0)
        mask[2 * features :] = 1
        with torch.no_grad():
            self.bias_hh_l0.mul_(mask)
        self.bias_hh_l0.register_hook(lambda grad: grad * mask.to(grad.device))

    def forward(self, inputs: Tensor, carry: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(B, T, D) and h_0 (B, N) or None for zeros → all h_t (B, T, N) and h_T (B, N)."""
        check_sequence(self, inputs, carry, self.weight_hh_l0.dtype)
        hidden, last = super().forward(inputs, None if carry is None else carry[None])
        return hidden, last[0]

    def initialize_carry(self, batch_size: int) -> Tensor:
        """h_0 = 0, (B, N)."""
        return self.weight_hh_l0.new_zeros(batch_size, self.hidden_size)


class LSTMCell(nn.LSTM):
    """i, f, o = σ(W_x x + W_h h + b);  g = tanh(W_xg x + W_hg h + b_g);
    c_t = f ⊙ c_{t-1} + i ⊙ g;  h_t = o ⊙ tanh(c_t), over a sequence (Hochreiter & Schmidhuber
    1997; Gers et al. 2000), as in flax's LSTMCell.

    Parameters: those of torch.nn.LSTM, of which ``bias_hh_l0`` stays at zero.

    Args:
      num_inputs: D.
      features: N.
      dtype, device: of the parameters.

    Example:
      >>> hidden, (c, h) = LSTMCell(3, 4)(torch.randn(2, 5, 3))
      >>> tuple(hidden.shape), tuple(c.shape), torch.equal(hidden[:, -1], h)  # (B, T, N), (B, N)
      ((2, 5, 4), (2, 4), True)
    """

    gates: ClassVar[str] = "ifgo"
    gates_with_two_biases: ClassVar[str] = ""
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(
        self,
        num_inputs: int,
        features: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        _check_sizes(num_inputs, features)
        super().__init__(num_inputs, features, batch_first=True, dtype=dtype, device=device)
        nn.init.zeros_(self.bias_hh_l0)
        self.bias_hh_l0.requires_grad_(False)

    def forward(  # type: ignore[override]
        self, inputs: Tensor, carry: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, T, D) and (c_0, h_0), (B, N) each, or None for zeros → h_t (B, T, N), (c_T, h_T)."""
        check_sequence(self, inputs, carry, self.weight_hh_l0.dtype)
        # The order of a carry is flax's, (c, h).
        state = None if carry is None else (carry[1][None], carry[0][None])
        hidden, (last, memory) = super().forward(inputs, state)
        return hidden, (memory[0], last[0])

    def initialize_carry(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """(c_0, h_0) = 0, (B, N) each."""
        zeros = self.weight_hh_l0.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros


Cell = VanillaCell | GRUCell | LSTMCell
