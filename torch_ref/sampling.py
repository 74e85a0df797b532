"""Text, or any other tokens, drawn from a network one after the other, each the next input."""

import torch
from torch import Tensor, nn

from torch_ref.checks import check_kind, check_not_negative, check_range, check_tokens, check_whole
from torch_ref.model import SequenceModel
from torch_ref.stacked import StackedModel


@torch.no_grad()
def sample(
    model: SequenceModel | StackedModel,
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
      temperature: below 1 the likely tokens are favoured; at 0 the likeliest is taken.

    Raises:
      ValueError: a model that reads out the last step alone, an empty prompt, tokens that there are
        not, a length or temperature below 0, a temperature that is not finite.

    Example:
      >>> model = SequenceModel(GRUCell(3, 4), num_outputs=3)
      >>> tokens = sample(model, torch.Generator(), prompt=torch.tensor([2, 0]), length=5)
      >>> tuple(tokens.shape), bool((tokens < 3).all())
      ((5,), True)
    """
    check_kind("model", model, SequenceModel | StackedModel, "a SequenceModel or a StackedModel")
    if model.last_only:
        raise ValueError("a model that is sampled from reads out every step, got last_only=True")
    check_kind("generator", generator, torch.Generator, "a torch.Generator")
    if isinstance(prompt, Tensor) and prompt.numel() == 0:
        raise ValueError("a prompt needs at least one token")
    check_tokens("prompt", prompt, ("P",))
    num_tokens = model.readout.out_features
    check_range("prompt", prompt, num_tokens)
    check_whole("length", length, least=0)
    check_not_negative("temperature", temperature)
    temperature = float(temperature)
    tokens, carry, drawn = prompt.long(), None, []
    for _ in range(length):
        inputs = nn.functional.one_hot(tokens, num_tokens).to(model.readout.weight.dtype)
        carry, logits = model(inputs[None], carry, return_carry=True)
        below_most = logits[0, -1] - logits[0, -1].max()  # at most 0, so that no quotient overflows
        if temperature < torch.finfo(logits.dtype).tiny:  # by which nothing can be divided
            tokens = below_most.argmax().reshape(1)
        else:
            probabilities = torch.softmax(below_most / temperature, dim=-1)
            tokens = torch.multinomial(probabilities, 1, generator=generator)
        drawn.append(tokens)
    return torch.cat(drawn) if drawn else prompt.new_empty(0)
