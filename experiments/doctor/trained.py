"""What a results.json or a checkpoint was trained on: recipes from configurations as JSON has them.

Experiments on the copy task say in a run's settings which of its options they changed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.adding_task.config import SWEEPS, AddingTaskConfig
from experiments.char_lm.config import CharLMConfig
from experiments.copy_task.config import CopyTaskConfig
from experiments.harness.method.recipe import Recipe

COPY_TASKS = ("copy_task", "retractions", "gradient_spikes")
KNOWN = (*COPY_TASKS, "adding_task", "char_lm")


def recipe_of(
    experiment: str, config: Mapping[str, Any], method: str, settings: Mapping[str, Any]
) -> Recipe:
    """How a run was trained.

    Args:
      experiment: its name.
      config: of the command.
      method: of the run.
      settings: of the run.

    Raises:
      ValueError: an experiment that trains nothing to be examined, settings that it does not have,
        or a text that has changed.
    """
    if experiment not in KNOWN:
        raise ValueError(f"experiment must be one of {', '.join(KNOWN)}, got {experiment}")
    try:
        if experiment == "char_lm":
            trained = CharLMConfig.from_json(dict(config))
            trained.check_text(dict(settings))
            return trained.recipe(method, dict(settings))
        if experiment == "adding_task":
            # What a mode allows is for the command line to say; its settings are the run's.
            fields = {name: config[name] for name in config.keys() - {"irnn", "preset", *SWEEPS}}
            return _from_json(AddingTaskConfig, fields).recipe(method, dict(settings))
        methods = ("vanilla", "orthogonal_init", "qr")
        changed = _from_json(CopyTaskConfig, {**config, **settings})
        return changed.recipe(method if method in methods else "qr")
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a configuration of {experiment}: {error}") from None


def _from_json(config_class: Any, fields: Mapping[str, Any]) -> Any:
    """A configuration from those of its fields that are there."""
    known = {field.name for field in dataclasses.fields(config_class)} - {"out", "session"}
    return config_class(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
            if name in known
        }
    )
