"""Paired cells with the user's annotation, whether they come from files or from memory."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.annotation import (
    check_agreement,
    few_values,
    joined,
    known_names,
    named_columns,
    read_labels,
)
from scmobench.data.check import check
from scmobench.data.labels import FLAGS, LABELS
from scmobench.data.matrix import checked_matrix
from scmobench.data.source import Source
from scmobench.types import Paired, feature_type

ORGANISMS = ("human", "mouse", "zebrafish", "c_elegans")  # whose cell-cycle genes scib has


class Parts(NamedTuple):
    """Both modalities, with one of `MODALITIES` as feature type, and all tables of the cells by place."""

    gex: AnnData
    mod2: AnnData
    tables: Mapping[str, pd.DataFrame]


@dataclass(kw_only=True)
class Annotated(Source):
    """Paired cells whose annotation, layers and values the user names."""

    # columns of the cell annotation; with no `batch`, all cells are one batch
    batch: str | None = None
    cell_type: str | None = "cell_type"
    labels: str | None = None  # CSV with one row a cell (cell name first), for annotation that the cells lack
    # read X from this layer of both modalities. The raw counts are then ``layers["counts"]`` where it holds
    # counts, else the former X
    layer: str | None = None
    # modality -> name of the values in X; None: raw counts, which are taken from ``layers["counts"]`` where
    # it holds counts, else from X. Needed with `layer`
    normalization: Mapping[str, str] | None = None

    @abstractmethod
    def parts(self) -> Parts:
        """Both modalities and the tables of the cells, as they were given."""

    def load(self) -> Paired:
        """See `Source.load`; the organism is part of the hash, since it decides the cell-cycle genes."""
        if self.organism and self.organism not in ORGANISMS:
            raise ValueError(
                f"{self.name}: expected dataset.organism to be one of {', '.join(ORGANISMS)}, found "
                f"{self.organism!r}: leave it out for another one, and the cell cycle is not scored"
            )
        return _with_organism(super().load(), self.organism)

    def describe(self, paired: Paired | None = None) -> dict[str, Any]:
        """See `Source.describe`; without a batch, ``batch_columns`` are those that could be one."""
        about = super().describe(paired)
        found = getattr(self, "_batch_columns", None)
        return about if found is None else about | {"batch_columns": found}

    def read(self) -> Paired:
        """Choose the values, find batch and cell type, split."""
        gex, mod2, tables = self.parts()
        self._choose_values(gex, mod2)
        labels = read_labels(self.name, self.labels, gex.obs_names)
        columns = {self.batch, self.cell_type, "is_train", "is_scored", *LABELS[1:]}
        check_agreement(self.name, tables, columns - set(labels))
        obs = known_names(joined({"labels": labels, **tables}, gex.obs_names))
        if self.batch is None and "is_train" not in obs:
            self._batch_columns = few_values(obs.drop(columns=[*{*LABELS, self.cell_type}], errors="ignore"))
        obs = named_columns(self.name, obs, self.batch, self.cell_type)
        normalization = self.normalization or {"GEX": "counts", feature_type(mod2): "counts"}
        return self.pair(gex, mod2, obs, normalization, str(gex.uns.get("source", "")))

    def _choose_values(self, *pair: AnnData) -> None:
        """Make the layer that is named, or the counts, the X of both modalities."""
        if self.layer and not self.normalization:
            counts = ",".join(f"{feature_type(modality)}:counts" for modality in pair)
            raise ValueError(
                f"{self.name}: X is read from layer {self.layer!r}; say what it holds, "
                f"e.g. 'dataset.normalization={{{counts}}}'"
            )
        for modality in pair:
            counts = self._is_counts(modality)
            if self.layer and self.layer not in modality.layers:
                raise ValueError(
                    f"{self.name}: expected the layer {self.layer!r} in both modalities, found none in obsm: "
                    "give the proteins as an AnnData of their own, as dataset.mod2"
                )
            if self.layer:
                former, modality.X = modality.X, modality.layers[self.layer]
                if not counts:
                    modality.layers["counts"] = former
            elif counts and not self.normalization:
                modality.X = modality.layers.pop("counts")

    def _is_counts(self, modality: AnnData) -> bool:
        """Whether the layer ``counts`` holds counts, as its name says."""
        if "counts" not in modality.layers:
            return False
        layer = checked_matrix(
            modality.layers["counts"], f'{self.name} {feature_type(modality)} layers["counts"]'
        )
        values = layer.data if sp.issparse(layer) else layer
        return bool((values >= 0).all() and (values == np.floor(values)).all())


def unchanged(cells: Paired) -> Paired:
    """Cells that were loaded before, as they were, without what was added to them.

    Raises ValueError if values, features or known columns of cells were changed.
    """
    with suppress(ValueError):
        known = [name for name in ("batch", *FLAGS, *LABELS) if name in cells.obs]
        again = check(replace(cells, obs=cells.obs[known]), empty_features="keep", copy=False)
        for found in (again, _with_organism(again, cells.organism)):
            if cells.hash in ("", found.hash):
                return found
    raise ValueError(
        f"expected the cells of {cells.name} as load gave them, found that they were changed since: change "
        "your own AnnData or MuData, and load it"
    )


def _with_organism(paired: Paired, organism: str) -> Paired:
    if not organism:
        return paired
    return replace(paired, hash=sha256(f"{paired.hash} {organism}".encode()).hexdigest())
