from . import bptt as bptt
from . import convert as convert
from . import diagnostics as diagnostics
from . import initializers as initializers
from . import numpy_rnn as numpy_rnn
from . import optimizers as optimizers
from . import orthogonal as orthogonal
from . import tasks as tasks
from . import training as training
from .cells import VanillaCell as VanillaCell
from .model import SequenceModel as SequenceModel
from .tasks import AddingTask as AddingTask
from .tasks import CopyMemoryTask as CopyMemoryTask
from .tasks import CopyTask as CopyTask
from .training import TrainState as TrainState
from .transforms import project_recurrent as project_recurrent

__all__ = [
    "AddingTask",
    "CopyMemoryTask",
    "CopyTask",
    "SequenceModel",
    "TrainState",
    "VanillaCell",
    "bptt",
    "convert",
    "diagnostics",
    "initializers",
    "numpy_rnn",
    "optimizers",
    "orthogonal",
    "project_recurrent",
    "tasks",
    "training",
]
