"""Which metrics of a joint embedding the labels of a solution do not support, known before the fit."""

import numpy as np
from anndata import AnnData

from scmobench.experiment.evaluate import metrics, scored_cells
from scmobench.metrics.neighbors import ScoredEmbedding
from scmobench.types import NotApplicable


class Asked(Exception):  # noqa: N818 (no error: the labels suffice)
    """A metric has found its labels and asks for the embedding."""


class Labels(ScoredEmbedding):
    """The scored cells without an embedding. `Asked` is raised where a metric needs it."""

    def __init__(self, solution: AnnData) -> None:
        super().__init__(np.zeros((solution.n_obs, 1)), solution)

    def cells(self, *columns: str) -> AnnData:
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
