"""Embeddings by other libraries: optional packages, which place only the cells of the fit."""

import importlib
from types import ModuleType

import numpy as np
import pandas as pd

from scmobench.models.base import Model
from scmobench.types import EmbeddingData


class PlacedCells(Model):
    """An embedding of the cells of the fit, looked up by their names."""

    transductive = True
    embedding: np.ndarray  # cells of the fit x dimensions, float32
    cells: pd.Index  # their names

    def predict(self, data: EmbeddingData) -> np.ndarray:
        places = self.cells.get_indexer(data.mod1.obs_names)
        if (places < 0).any():
            others = (places < 0).sum()
            raise ValueError(f"expected the cells of the fit, found {others} others: fit on all cells")
        return self.embedding[places]


def load(module: str, extra: str) -> ModuleType:
    """Import an optional package of the install extra ``extra``; ValueError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        advice = f"in the checkout, pip install -e '.[{extra}]'"
        raise ValueError(f"{error.name} is not installed: {advice}") from error
