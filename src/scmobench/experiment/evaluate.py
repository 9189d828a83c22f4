"""Scoring: every metric of a task on a prediction and its solution, with intervals and paired tests.

The files ``conf/metric/<task>/<name>.yaml`` list the metrics. The task checks the format of a prediction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from omegaconf import OmegaConf

from scmobench.data.labels import LABELS, tidy_labels
from scmobench.data.pairing import pairing
from scmobench.experiment.config import build, conf_dir
from scmobench.metrics.neighbors import ScoredEmbedding
from scmobench.metrics.paired import paired_t
from scmobench.types import COUNTED, TASKS, NotApplicable, Score

METRICS = "scmobench.metrics"
NEEDED = {"label", "direction", "bounds", "citation"}  # of a metric's `metadata`
OPTIONAL = {"primary", "extra", "per_cell", "root"}
RESAMPLES = 1000  # of the test cells, for an interval


@dataclass(frozen=True)
class Metric:
    """A metric."""

    name: str  # of the file and the column
    label: str  # for people
    direction: str  # the better one, ``min`` or ``max``
    bounds: tuple[float | None, float | None]  # lowest and highest possible value; None: there is none
    citation: str
    primary: bool = False  # whether this metric ranks the task
    extra: bool = False  # whether it is left out of ranks and means, unlike the competition's metrics
    function: Callable[..., float | Score] | None = None  # computes it; None for a mean of others
    mean_of: tuple[str, ...] = ()  # names of the metrics of which it is the mean
    # one number per cell, of which the metric is the mean (``root``: its square root); None for others
    per_cell: Callable[..., np.ndarray] | None = None
    root: bool = False

    def __call__(self, *inputs: Any) -> Score:
        """Score of the task's inputs: no value but a reason if the metric does not apply."""
        try:
            result = self.function(*inputs)
        except NotApplicable as reason:
            return Score(None, str(reason))
        score = result if isinstance(result, Score) else Score(float(result))
        if score.value is not None and not np.isfinite(score.value):
            return Score(None, f"not a finite number ({score.value})")
        return score

    def mean(self, scores: dict[str, Score]) -> Score:
        """Mean of those in `mean_of` that apply; the reason counts and names incomplete ones."""
        found = {name: scores[name] for name in self.mean_of if scores[name].value is not None}
        if not found:
            return Score(None, f"none of {', '.join(self.mean_of)} applies")
        notes = [f"of {len(found)}/{len(self.mean_of)}"] if len(found) < len(self.mean_of) else []
        counted = [name for name, score in found.items() if score.reason.endswith(COUNTED)]
        notes += [f"{name} has no value in part: {COUNTED}" for name in counted]
        return Score(float(np.mean([score.value for score in found.values()])), "; ".join(notes))


def metrics(task: str) -> dict[str, Metric]:
    """Metrics of a task by name, the ranking one first. Raises ValueError for an unknown task."""
    folder = conf_dir() / "metric" / known(task)
    found = [_read(path) for path in sorted(folder.glob("*.yaml"))]
    return {metric.name: metric for metric in sorted(found, key=lambda m: (not m.primary, m.extra, m.name))}


def primary(task: str) -> Metric:
    """The metric that ranks a task."""
    return next(iter(metrics(task).values()))


def evaluate(task: str, prediction: AnnData, solution: AnnData) -> dict[str, Score]:
    """Score a prediction, which `Task.check` has checked, with every metric of its task.

    Raises ValueError for an unknown task, or for shapes that do not fit each other.
    """
    chosen = metrics(task)
    inputs = scorer_inputs(task, prediction, solution)
    scores = {name: metric(*inputs) for name, metric in chosen.items() if not metric.mean_of}
    scores |= {name: metric.mean(scores) for name, metric in chosen.items() if metric.mean_of}
    return {name: scores[name] for name in chosen}


def scorer_inputs(task: str, prediction: AnnData, solution: AnnData) -> tuple[Any, ...]:
    """The arguments of every metric of a task: matrices, pairing, or an embedding with labels."""
    if known(task) == "predict_modality":
        return solution.X, prediction.X
    if task == "match_modality":
        partner = np.argsort(pairing(solution))
        return sp.csr_matrix(prediction.X), partner, _labels(solution, "cell_type").get("cell_type")
    return (ScoredEmbedding(prediction.X, scored_cells(solution)),)


def scored_cells(solution: AnnData) -> AnnData:
    """The solution of a joint embedding with tidy labels."""
    labels = _labels(solution, "batch", "is_scored", *LABELS)
    return AnnData(X=solution.X, obs=labels, var=solution.var[[]], uns=solution.uns)


def _labels(solution: AnnData, *columns: str) -> pd.DataFrame:
    """These columns of a solution from any source, in the form that metrics expect."""
    # column by column, because pandas cannot select columns of a foreign byte order
    found = {c: solution.obs[c] for c in columns if c in solution.obs}
    return tidy_labels("the solution", pd.DataFrame(found, index=solution.obs.index))


def intervals(task: str, prediction: AnnData, solution: AnnData) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of the ranking metric, by its name, over resamples of the test cells.

    Empty if that metric is no mean over cells.
    """
    metric = primary(task)
    if metric.per_cell is None:
        return {}
    values = metric.per_cell(*scorer_inputs(task, prediction, solution))
    rng, n = np.random.default_rng(0), len(values)
    means = np.array([values[rng.integers(n, size=n)].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(np.sqrt(means) if metric.root else means, (0.025, 0.975))
    return {metric.name: (float(low), float(high))}


def scores_by_cell(task: str, prediction: AnnData, solution: AnnData) -> np.ndarray | None:
    """The ranking metric of each test cell, float32; None if the metric is no mean over cells.

    Prediction: the squared error of each cell, a mean over features. Matching: the probability that each cell
    is given its own profile.
    """
    per_cell = primary(task).per_cell
    if per_cell is None:
        return None
    return per_cell(*scorer_inputs(task, prediction, solution)).astype(np.float32)


class PairedTest(NamedTuple):
    """Two predictions of the same ``n`` cells: the metric of each, and the ``difference`` a - b.

    ``low`` and ``high`` are its 95 % interval over cells; ``p_value`` is two-sided, 1 for equal predictions.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int


def paired_test(task: str, prediction_a: AnnData, prediction_b: AnnData, solution: AnnData) -> PairedTest:
    """Paired t-test of two predictions by the ranking metric per cell, as the leaderboard's (see `paired_t`).

    It covers the luck of cells, and not that of seeds. Of a root of a mean, the squares are tested, and the
    interval of their difference d gives that of a - b = d / (a + b). Raises ValueError if the metric is no
    mean over cells.
    """
    metric = primary(task)
    if metric.per_cell is None:
        raise ValueError(f"expected a task that is ranked by a mean over cells, found {task} ({metric.name})")
    both = (prediction_a, prediction_b)
    a, b = (metric.per_cell(*scorer_inputs(task, prediction, solution)) for prediction in both)
    totals = [float(np.sqrt(v.mean()) if metric.root else v.mean()) for v in (a, b)]
    scale = 1 / sum(totals) if metric.root and any(totals) else 1.0
    gaps = a - b
    found = paired_t(gaps.mean(), (gaps.var(ddof=1) if len(gaps) > 1 else np.nan, len(gaps)))
    low, high, p_value = float(found.low * scale), float(found.high * scale), float(found.p_value)
    return PairedTest(*totals, totals[0] - totals[1], low, high, p_value, len(gaps))


def known(task: str) -> str:
    """The task. Raises ValueError for an unknown one."""
    if task not in TASKS:
        raise ValueError(f"expected a task of {', '.join(TASKS)}, found {task!r}; check its spelling")
    return task


@cache
def _read(path: Path) -> Metric:
    """The metric that a YAML file describes.

    Raises ValueError if the file lacks a key of `NEEDED` or has another one than a metric has.
    """
    node = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    about = dict(node.pop("metadata", None) or {})
    missing, unknown = sorted(NEEDED - set(about)), sorted(set(about) - NEEDED - OPTIONAL)
    if (
        missing
        or unknown
        or about["direction"] not in ("min", "max")
        or not isinstance(about["bounds"], list)
    ):
        raise ValueError(
            f"expected `metadata` in {path} with {', '.join(sorted(NEEDED))} (direction: min or max, bounds: "
            f"[lowest, highest]) and perhaps {', '.join(sorted(OPTIONAL))}, found {about}"
        )
    per_cell = about.pop("per_cell", None)
    return Metric(
        name=path.stem,
        function=build(node, METRICS) if "_target_" in node else None,
        mean_of=tuple(node.get("mean_of", ())),
        per_cell=build(per_cell, METRICS) if per_cell else None,
        bounds=tuple(about.pop("bounds")),
        **about,
    )
