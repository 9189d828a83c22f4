"""Ranges of numbers in a configuration: one table for all models, data sets, tasks and the trainer."""

import math
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.settings import check_fits
from scmobench.types import TASKS

# range in words -> what it takes, and the settings that it is of; the first name that fits counts
RANGES = {
    "from 0 to 1": (lambda x: 0 <= x <= 1, "ScMoGNNPrediction.alpha peak_share linked"),
    "from 0 to below 1": (lambda x: 0 <= x < 1, "*dropout quantile weight_averaging"),
    "above 0 and at most 1": (lambda x: 0 < x <= 1, "feature_share"),
    "above 0 and below 1": (lambda x: 0 < x < 1, "*_share test_fraction"),
    "from -1 to 1": (lambda x: -1 <= x <= 1, "pathway_threshold"),
    "from -10 to 10": (lambda x: -10 <= x <= 10, "log_scale dropout_midpoint"),
    "from 0 to 4294967295": (lambda x: 0 <= x < 2**32, "*seed"),
    "above 0": (lambda x: x > 0, "alpha scale length_scale sigma *_rate max_seconds max_memory_gb"),
    "from 1 to 100": (lambda x: 1 <= x <= 100, "LSLAutoencoder.latent *VI.latent MOFA.factors"),
    # more layers would be built for minutes before the memory is full
    "from 1 to 1000": (lambda x: 1 <= x <= 1000, "ScMoGNNPrediction.layers *_blocks"),
    "at least 24": (lambda x: x >= 24, "n_genes"),
    "at least 2": (
        lambda x: x >= 2,
        # these networks tell the cells of a step apart, or normalise over them
        "ScMoGNNMatching.batch_size NovelClip.batch_size ClueLike.batch_size ScMoGNNEmbedding.batch_size "
        "JAE.batch_size folds max_leaves validation_cells n_cell_types n_mod2",
    ),
    "at least 0": (
        lambda x: x >= 0,
        "*_weight weight_decay l2 *theta free* decay_start min_epochs min_genes mod?_components exact_up_to "
        "copies others resume_every_seconds n_states umis fragments program_strength batch_effect",
    ),
    "at least 1": (
        lambda x: x >= 1,
        "k n[12] n_* *components *layers first_layer *hidden *dim latent *neighbours partners top_* "
        "factors max_* min_steps batch_size patience evaluate_every check_val_every_n_epoch repeats "
        "landmarks rounds networks models",
    ),
}


def range_of(owner: str, name: str) -> str:
    """The range of a setting of a class, in words; empty if the table has none."""
    for words, (_, names) in RANGES.items():
        if any(
            fnmatchcase(f"{owner}.{name}" if "." in pattern else name, pattern) for pattern in names.split()
        ):
            return words
    return ""


def check_numbers(cfg: DictConfig) -> None:
    """Raise ValueError for a number out of its range, wherever it stands."""
    parts = [name for name in cfg if name != "hydra" and OmegaConf.is_config(cfg[name])]
    plain = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in parts}
    smoke = (plain["model"].get("smoke") or {}) if cfg.smoke else {}
    blocks = {task: plain["model"].get(task) for task in TASKS}
    plain["model"] = {task: node | smoke for task, node in blocks.items() if isinstance(node, dict)}
    check_ranges(plain, "")


def check_object(made: Any) -> None:
    """Check the choices and numbers that an object of one of our classes was made with, as of its config.

    Raises ValueError for a choice that there is not, and for a number out of its range.
    """
    if isinstance(node := _node(made), dict):
        check_ranges(node, "")


def _node(made: Any) -> Any:
    if isinstance(made, list | tuple):
        return [_node(child) for child in made]
    kind = type(made)
    if not is_dataclass(made) or not kind.__module__.startswith("scmobench."):
        return made
    given = {field.name: _node(getattr(made, field.name)) for field in fields(made) if field.init}
    for name, choices in get_type_hints(kind).items():
        if name in given and get_origin(choices) is Literal:
            check_fits(name, given[name], choices)
    return {"_target_": f"{kind.__module__}.{kind.__name__}"} | given


def check_ranges(node: Any, place: str, name: str = "", owner: str = "") -> None:
    """Check the numbers of a plain config, also in lists and of subtasks; ``place`` stands before a name.

    Settings of a class from outside this package have no ranges. Raises ValueError for a number out of range,
    and for one that is not finite, also outside.
    """
    inside = isinstance(node, dict) and "_target_" in node
    if inside:
        module, _, owner = str(node["_target_"]).rpartition(".")
        owner = owner if module.startswith("scmobench.") else ""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        setting = str(key) if inside else name
        if isinstance(value, dict | list):
            check_ranges(value, f"{place}{key}.", setting, owner)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"expected {place}{key} to be a finite number, found {value}")
        elif owner and type(value) in (int, float):
            words = range_of(owner, setting)
            if words and not RANGES[words][0](value):
                raise ValueError(f"expected {place}{key} to be {words}, found {value}")
