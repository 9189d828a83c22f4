"""Every ablation of scMoGNN changes the prediction wherever it changes the settings."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.sparse as sp
from omegaconf import DictConfig

from scmobench.experiment import config
from scmobench.experiment.plan import cells, model_block
from scmobench.experiment.run import respond

ABLATIONS = [
    name for name in config.names("ablation") if name not in ("none", "hallmark")
]  # hallmark: fetched


@functools.cache
def composed(name: str) -> DictConfig:
    """The settings of all tasks with an ablation, which is the same on both sets."""
    return config.compose(["dataset=tiny_cite", "model=scmognn", "smoke=true", f"ablation={name}"])


@pytest.mark.parametrize("dataset", ["tiny_cite", "tiny_multiome"])
@pytest.mark.parametrize("task", ["predict_modality", "match_modality", "joint_embedding"])
def test_every_ablation_changes_the_prediction(task: str, dataset: str) -> None:
    base = config.compose([f"task={task}", f"dataset={dataset}"])
    problem = config.build(base.task).split(cells(base), "from_gex")

    def settings(name: str) -> dict:
        block = model_block(composed(name), task)
        return config.for_subtask(block, problem.data.subtask) | {"trainer": None, "max_epochs": 1}

    def answer(found: dict) -> np.ndarray:
        result = respond(config.build(found), problem, 0)
        return result.toarray() if sp.issparse(result) else result

    usual = settings("none")
    changed = {name: settings(name) for name in ABLATIONS}
    changed = {name: found for name, found in changed.items() if found != usual}
    assert len(changed) >= {"predict_modality": 15, "match_modality": 5, "joint_embedding": 5}[task]
    expected = answer(usual)
    for name, found in changed.items():
        other = answer(found)
        assert other.shape != expected.shape or not np.array_equal(other, expected), name
