"""What arguments have to be, said where they arrive."""

from torch import Tensor


def check_range(name: str, values: Tensor, most: int, ignored: int | None = None) -> None:
    """ValueError for values outside 0 … most − 1; a GPU would have to be waited for."""
    if values.is_cuda:
        return
    wrong = values[(values < 0) | (values >= most)]
    wrong = wrong if ignored is None else wrong[wrong != ignored]
    if len(wrong):
        besides = "" if ignored is None else f", or {ignored} to ignore one"
        raise ValueError(f"{name} must be from 0 to {most - 1}{besides}, got {wrong[0].item()}")
