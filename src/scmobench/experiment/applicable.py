"""Checks that a solution is of the task, and finds the metrics that its labels cannot support."""

import numpy as np
from anndata import AnnData

from scmobench.data.labels import LABELS
from scmobench.experiment.evaluate import metrics, scored_cells
from scmobench.metrics.neighbors import ScoredEmbedding
from scmobench.types import NotApplicable


class Asked(Exception):  # noqa: N818 (no error: the labels suffice)
    """A metric has found its labels and asks for the embedding."""


class Labels(ScoredEmbedding):
    """The scored cells without an embedding. `Asked` is raised where a metric needs it."""

    def __init__(self, solution: AnnData) -> None:
        super().__init__(np.zeros((solution.n_obs, 1)), solution)

    def points(self, members: np.ndarray) -> np.ndarray:
        """None."""
        raise Asked

    def connected_cells(self, *columns: str) -> AnnData:
        """Check the columns as a metric would, and stop there."""
        for column in columns:
            self.categories(column)
        raise Asked


def lacking(task: str, solution: AnnData) -> dict[str, str]:
    """Metric -> reason, of the metrics that no embedding of these cells can have; empty for other tasks."""
    if task != "joint_embedding":
        return {}
    labels, found = Labels(scored_cells(solution)), {}
    for name, metric in metrics(task).items():
        try:
            if metric.function is not None:
                metric.function(labels)
        except NotApplicable as reason:
            found[name] = str(reason)
        except Asked:
            continue
    return found


def of_task(task: str, solution: AnnData) -> AnnData:
    """The solution. Raises ValueError if it is of another task, or of an embedding without any label."""
    subtask, found = str(solution.uns.get("subtask", "")), task
    if "pairing_ix" in solution.uns:
        found = "match_modality"
    elif "-" in subtask:
        found = "joint_embedding"
    elif "2" in subtask and (task == "joint_embedding" or solution.n_obs != solution.n_vars):
        found = "predict_modality"
    elif task == "joint_embedding" and not (subtask or {*LABELS, "is_scored"} & {*solution.obs}):
        raise ValueError(
            f"expected labels of cells in obs of the solution ({', '.join(LABELS)}), found none: "
            "no metric of an embedding can be computed without them"
        )
    if found != task:
        raise ValueError(
            f"expected the solution of {task}, found that of {found}: name its own task, or give the file "
            f"that `scmobench data export DATASET --task {task}` writes"
        )
    return solution
