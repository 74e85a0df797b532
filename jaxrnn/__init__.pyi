from . import bptt as bptt
from . import convert as convert
from . import diagnosis as diagnosis
from . import diagnostics as diagnostics
from . import group as group
from . import initializers as initializers
from . import losses as losses
from . import numpy_rnn as numpy_rnn
from . import optimizers as optimizers
from . import orthogonal as orthogonal
from . import tasks as tasks
from . import text as text
from . import training as training
from .cells import VanillaCell as VanillaCell
from .diagnosis import diagnose as diagnose
from .group import keep_orthogonal as keep_orthogonal
from .model import SequenceModel as SequenceModel
from .sampling import sample as sample
from .stacked import StackedModel as StackedModel
from .tasks import AddingTask as AddingTask
from .tasks import CopyMemoryTask as CopyMemoryTask
from .tasks import CopyTask as CopyTask
from .text import CharacterTask as CharacterTask
from .text import Text as Text
from .training import TrainState as TrainState
from .transforms import assert_orthogonal as assert_orthogonal
from .transforms import project_recurrent as project_recurrent
from .transforms import retract_params as retract_params
from .wrappers import LeakyCell as LeakyCell
from .wrappers import SkipCell as SkipCell
from .wrappers import TruncatedCell as TruncatedCell

__all__ = [
    "AddingTask",
    "CharacterTask",
    "CopyMemoryTask",
    "CopyTask",
    "LeakyCell",
    "SequenceModel",
    "SkipCell",
    "StackedModel",
    "Text",
    "TrainState",
    "TruncatedCell",
    "VanillaCell",
    "assert_orthogonal",
    "bptt",
    "convert",
    "diagnose",
    "diagnosis",
    "diagnostics",
    "group",
    "initializers",
    "keep_orthogonal",
    "losses",
    "numpy_rnn",
    "optimizers",
    "orthogonal",
    "project_recurrent",
    "retract_params",
    "sample",
    "tasks",
    "text",
    "training",
]
