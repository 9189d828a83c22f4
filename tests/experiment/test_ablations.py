"""Every ablation of scMoGNN changes the prediction wherever it changes the settings."""

import functools

import numpy as np
import pytest
import scipy.sparse as sp
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment import config
from scmobench.experiment.plan import Plan, model_block
from scmobench.experiment.run import respond
from scmobench.types import Problem

ABLATIONS = [
    name for name in config.names("ablation") if name not in ("none", "hallmark")
]  # hallmark: fetched


@functools.cache
def usual() -> DictConfig:
    """The settings of all tasks, which are the same on both sets."""
    cfg = config.compose(["dataset=tiny_cite", "model=scmognn", "smoke=true"])
    return OmegaConf.create(OmegaConf.to_container(cfg))


def ablated(name: str) -> DictConfig:
    """As it is composed (see `test_deltas_change_only_keys_that_exist`)."""
    return OmegaConf.merge(usual(), OmegaConf.load(config.conf_dir() / "ablation" / f"{name}.yaml"))


@pytest.mark.parametrize("task", ["predict_modality", "match_modality", "joint_embedding"])
def test_every_ablation_changes_the_prediction(task: str) -> None:
    tried: list[tuple[str, dict]] = []
    for dataset in ("tiny_cite", "tiny_multiome"):
        base = config.compose([f"task={task}", f"dataset={dataset}"])
        problem = config.build(base.task).split(Plan(base).cells, "from_gex")

        def settings(name: str, subtask: str = problem.data.subtask) -> dict:
            found = config.for_subtask(model_block(ablated(name), task), subtask)
            return found | {"trainer": None, "max_epochs": 1}

        def answer(found: dict, problem: Problem = problem) -> np.ndarray:
            result = respond(config.build(found), problem, 0)
            return result.toarray() if sp.issparse(result) else result

        whole = settings("none")
        changed = {name: settings(name) for name in ABLATIONS}
        changed = {name: found for name, found in changed.items() if found != whole}
        assert len(changed) >= {"predict_modality": 15, "match_modality": 5, "joint_embedding": 5}[task]
        expected = answer(whole)
        for name, found in changed.items():
            change = name, {key: value for key, value in found.items() if whole.get(key) != value}
            if change not in tried:  # on the second set, what is not the same change again
                tried.append(change)
                other = answer(found)
                assert other.shape != expected.shape or not np.array_equal(other, expected), name
