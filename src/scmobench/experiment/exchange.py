"""Write a task's files for a method outside the suite, in the competition's layout; read its predictions."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.foreign import read_h5ad, read_scored
from scmobench.experiment.plan import Plan
from scmobench.experiment.records import write_prediction
from scmobench.machine.files import TEMPORARY, whole
from scmobench.types import MatchingData


def export(overrides: Sequence[str], out: str | Path, folder: str | Path | None = None) -> list[Path]:
    """Write what a model may see, and as ``solution.h5ad`` what only the scorer may see.

    ``overrides`` and ``folder`` (``--config-dir``) are those of a run. Matching has ``train_sol.h5ad`` too,
    and training cells with labels ``labels.csv``. Returns the files. Raises what would stop a run, and
    ValueError if ``out`` holds another export.
    """
    problem = Plan.composed(overrides, folder).problem
    data, out, written = problem.data, Path(out), []
    if (held := out / "solution.h5ad").is_file():
        held = read_h5ad(held)[0]
        known = " ".join(str(held.uns.get(name)) for name in ("dataset_id", "subtask"))
        same = held.obs_names.equals(problem.solution.obs_names)
        if not same or known != f"{data.dataset} {data.subtask}":
            told = f"found that of {known} with {held.n_obs:,} scored cells"
            raise ValueError(f"expected no other export in {out}, {told}: name another folder")
    parts = {name: part for name, part in vars(data).items() if isinstance(part, AnnData)}
    if isinstance(data, MatchingData):
        parts["train_sol"] = _pairs(data)
    for name, part in (parts | {"solution": problem.solution}).items():
        part.uns |= {"dataset_id": data.dataset, "subtask": data.subtask}
        written.append(out / f"{name}.h5ad")
        write_prediction(written[-1], part)
    if data.labels is not None and data.labels.shape[1]:
        written.append(out / "labels.csv")
        with whole(written[-1]) as partial:
            data.labels.to_csv(partial)
    return written


def _pairs(data: MatchingData) -> AnnData:
    """The training cells' pairing: a 0/1 matrix and ``uns["pairing_ix"]``, as in the solution."""
    n = len(data.train_pairing)
    matrix = sp.csr_matrix((np.ones(n, np.float32), (data.train_pairing, np.arange(n))), shape=(n, n))
    names = pd.DataFrame(index=data.train_mod2.obs_names)
    return AnnData(matrix, data.train_mod1.obs.copy(), names, uns={"pairing_ix": data.train_pairing})


def read_predictions(solution: AnnData, *paths: Path) -> list[AnnData]:
    """Predictions of the cells of a solution in memory; a large file that cannot fit it is not read.

    Raises FileNotFoundError if there is no such file, and ValueError for what is no h5ad file, is damaged, or
    declares values that cannot fit the solution.
    """
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        place = Path(folder) / "solution.h5ad"  # what the inspection compares the declared shapes with
        write_prediction(place, solution.copy())
        _, *predictions = read_scored(place, *paths)
    return predictions
