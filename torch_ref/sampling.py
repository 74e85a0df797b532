"""Text, or any other tokens, drawn from a network one after the other, each the next input."""

import torch
from torch import Tensor, nn

from torch_ref.model import SequenceModel


@torch.no_grad()
def sample(
    model: SequenceModel,
    generator: torch.Generator,
    prompt: Tensor,
    length: int,
    temperature: float = 1.0,
) -> Tensor:
    """Tokens x_{P+1}, x_{P+2}, ... with x_{t+1} drawn from softmax(y_t / temperature).

    Args:
      model: of one-hot inputs, with as many outputs as inputs.
      generator: for the draws.
      prompt: (P,) tokens read before the first draw, one or more.
      length: how many to draw.
      temperature: above 0; below 1 the likely tokens are favoured.

    Raises:
      ValueError: an empty prompt.

    Example:
      >>> model = SequenceModel(GRUCell(3, 4), num_outputs=3)
      >>> tokens = sample(model, torch.Generator(), prompt=torch.tensor([2, 0]), length=5)
      >>> tuple(tokens.shape), bool((tokens < 3).all())
      ((5,), True)
    """
    if not len(prompt):
        raise ValueError("a prompt needs at least one token")
    num_tokens = model.readout.out_features
    tokens, carry, drawn = prompt.long(), None, []
    for _ in range(length):
        inputs = nn.functional.one_hot(tokens, num_tokens).to(model.readout.weight.dtype)
        carry, logits = model(inputs[None], carry, return_carry=True)
        probabilities = torch.softmax(logits[0, -1] / temperature, dim=-1)
        tokens = torch.multinomial(probabilities, 1, generator=generator)
        drawn.append(tokens)
    return torch.cat(drawn)
