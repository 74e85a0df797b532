"""Optimisation on the orthogonal group, with torch's own optimizers; the twin of jaxrnn.group.

optimizer = group.keep_orthogonal(torch.optim.Adam(trainable(model), lr=1e-3), model)
"""

from torch_ref.group import maps
from torch_ref.group.keep import keep_orthogonal
from torch_ref.group.methods import METHODS
from torch_ref.group.optimizers import MatrixAdam, SkewMuon

__all__ = ["METHODS", "MatrixAdam", "SkewMuon", "keep_orthogonal", "maps"]
