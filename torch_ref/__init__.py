"""The PyTorch reference of jaxrnn: the same concepts under the same file and class names.

    h_t = phi(W_xh x_t + W_hh h_{t-1} + b_h)          y_t = W_hy h_t + b_y

Needs PyTorch and NumPy alone, so it can be read and used by itself:

    model = SequenceModel(VanillaCell(9, 128), num_outputs=9)
    optimizer = torch.optim.Adam(trainable(model), lr=1e-3)
    projection = project_recurrent(model)
    ...                       # loss.backward()
    optimizer.step()
    projection.step()         # W_hh is orthogonal again

Letters: B batch, T time steps, N hidden units, D input features, C classes or outputs, K training
steps in a chunk. PyTorch stores weights (out, in), as the equation writes them.

The examples in docstrings begin with

    >>> import numpy as np
    >>> import torch
    >>> from torch_ref import *
"""

from torch_ref import convert, diagnostics, group, initializers, optimizers, orthogonal, training
from torch_ref.cells import GRUCell, LSTMCell, VanillaCell
from torch_ref.group import keep_orthogonal
from torch_ref.model import SequenceModel
from torch_ref.optimizers import trainable
from torch_ref.sampling import sample
from torch_ref.stacked import StackedModel
from torch_ref.training import TrainState
from torch_ref.transforms import project_recurrent
from torch_ref.wrappers import LeakyCell, SkipCell, TruncatedCell

__all__ = [
    "GRUCell",
    "LSTMCell",
    "LeakyCell",
    "SequenceModel",
    "SkipCell",
    "StackedModel",
    "TrainState",
    "TruncatedCell",
    "VanillaCell",
    "convert",
    "diagnostics",
    "group",
    "initializers",
    "keep_orthogonal",
    "optimizers",
    "orthogonal",
    "project_recurrent",
    "sample",
    "trainable",
    "training",
]
