"""A folder with one h5ad file a modality: ``gex.h5ad`` and ``adt.h5ad`` or ``atac.h5ad``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.data.feature_types import with_feature_type
from scmobench.data.foreign import read_h5ad
from scmobench.data.labels import is_one_of, tidy_labels
from scmobench.data.source import Source
from scmobench.types import Paired, feature_type


@dataclass(kw_only=True)
class Folder(Source):
    """Cells of two h5ad files, the same cells in the same rows of both.

    Attributes
    ----------
    folder : name of the folder where the datasets lie; empty takes `name`.
    path : the folder itself, where it lies elsewhere.
    env : environment variable with the folder that holds dataset folders.
    mod2 : ``adt`` or ``atac``, the name of the second file.
    batch, cell_type : columns of the GEX file's cell annotation.
    layer : read X from this layer; what X was is kept as the raw counts.
    normalization : modality -> what X holds; None means raw counts. Needed with `layer`.
    drop : column -> values; cells with one of them are left out.
    scored : column -> value; only these cells' labels score an embedding.
    """

    folder: str = ""
    path: str | None = None
    env: str = "SCMOBENCH_DATA"
    mod2: str = "adt"
    batch: str = "batch"
    cell_type: str = "cell_type"
    layer: str | None = None
    normalization: Mapping[str, str] | None = None
    drop: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scored: Mapping[str, Any] = field(default_factory=dict)

    def fetch(self) -> Path:
        """The folder: `path` where it is named, else ``$SCMOBENCH_DATA/<folder>`` or ``data/<folder>``."""
        name = self.folder or self.name
        places = [Path("data") / name]
        if os.environ.get(self.env):
            places.insert(0, Path(os.environ[self.env]).expanduser() / name)
        if self.path:
            places = [Path(self.path).expanduser()]
        for place in places:
            if all(os.path.isfile(place / f"{stem}.h5ad") for stem in ("gex", self.mod2)):  # of any name
                return place
        raise FileNotFoundError(
            f"{self.name}: expected gex.h5ad and {self.mod2}.h5ad in one of {[str(p) for p in places]}; "
            f"set the environment variable {self.env} to the folder that holds {name}/, or dataset.path "
            f"to {name} itself"
        )

    def read(self) -> Paired:
        """Read both files, leave out what `drop` names, split."""
        kind = self.mod2.upper()
        place = self.fetch()
        gex, mod2 = read_h5ad(place / "gex.h5ad", place / f"{self.mod2}.h5ad", layer=self.layer)
        gex = with_feature_type(gex, "GEX", f"{self.name} gex.h5ad")
        mod2 = with_feature_type(mod2, kind, f"{self.name} {self.mod2}.h5ad")
        if self.layer:
            use_layer(self.name, (gex, mod2), self.layer, self.normalization)
        obs = named_columns(self.name, gex.obs, self.batch, self.cell_type)
        keep = np.ones(len(obs), bool)
        for column, values in self.drop.items():
            keep &= ~self._is(obs, column, values)
        if not keep.all():
            mod2 = mod2[mod2.obs_names.isin(gex.obs_names[keep])].copy()
            gex, obs = gex[keep].copy(), obs[keep].copy()
        scored = tidy_labels(self.name, obs.filter(["is_scored"])).get("is_scored", True)
        for column, value in self.scored.items():
            obs["is_scored"] = scored = scored & self._is(obs, column, [value])
        normalization = self.normalization or {"GEX": "counts", kind: "counts"}
        return self.pair(gex, mod2, obs, normalization, source=str(gex.uns.get("source", "")))

    def _is(self, obs: pd.DataFrame, column: str, values: Sequence[Any]) -> np.ndarray:
        if column not in obs:
            raise ValueError(
                f"{self.name}: no column {column!r} in the cell annotation, it has {list(obs.columns)}"
            )
        return is_one_of(obs[column], values)


def use_layer(
    name: str, pair: tuple[AnnData, AnnData], layer: str, normalization: Mapping[str, str] | None
) -> None:
    """Make a layer of both modalities their X; what X was is kept as the raw counts.

    Raises
    ------
    ValueError : a modality has no such layer, or it isn't said what the layer holds.
    """
    kinds = [feature_type(modality) for modality in pair]
    if not normalization:
        raise ValueError(
            f"{name}: X is read from layer {layer!r}; say what it holds, "
            f"e.g. 'dataset.normalization={{{kinds[0]}:counts,{kinds[1]}:counts}}'"
        )
    for modality, kind in zip(pair, kinds, strict=True):
        if layer not in modality.layers:
            raise ValueError(
                f"{name}: no layer {layer!r} in {kind}, the file has {list(modality.layers)}; both need it: "
                f"where X holds it already, write the file again with layers[{layer!r}] = X"
            )
        modality.layers["counts"], modality.X = modality.X, modality.layers[layer]


def named_columns(name: str, obs: pd.DataFrame, batch: str | None, cell_type: str | None) -> pd.DataFrame:
    """The cell annotation with the named columns as ``batch`` and ``cell_type``.

    A dataset without a batch column (``batch`` None) is one batch; with ``cell_type`` None it has no cell
    types. ``cell_type`` may be absent only where the name is the default one or None.

    Raises
    ------
    ValueError : a named column does not exist.
    """
    obs = obs.copy()
    for target, column in (("batch", batch), ("cell_type", cell_type)):
        if column is None:
            obs = obs.drop(columns=target, errors="ignore")
            continue
        if column in obs:
            obs[target] = obs[column]
        elif target == "batch" or column != target:
            raise ValueError(
                f"{name}: no column {column!r} in the cell annotation, it has {list(map(str, obs.columns))}; "
                f"name the right one: dataset.{target}=COLUMN"
            )
    if batch is None:
        obs["batch"] = "all"
    return obs
