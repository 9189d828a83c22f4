"""Predictions in files from anywhere, read as far as they fit a problem."""

import tempfile
from pathlib import Path

from anndata import AnnData

from scmobench.data.foreign import read_scored
from scmobench.experiment.records import write_prediction


def read_predictions(solution: AnnData, *paths: Path) -> list[AnnData]:
    """Predictions of the cells of a solution in memory; a large file that cannot fit it is not read.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : a file is no h5ad file, is damaged, or declares values that cannot fit the solution.
    """
    with tempfile.TemporaryDirectory(prefix="scmobench-") as folder:
        place = Path(folder) / "solution.h5ad"  # what the inspection compares the declared shapes with
        write_prediction(place, solution.copy())
        _, *predictions = read_scored(place, *paths)
    return predictions
