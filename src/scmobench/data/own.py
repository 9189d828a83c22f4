"""Your own paired cells: two h5ad files or one, one h5mu file, or what Cell Ranger wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pandas as pd
from anndata import AnnData

from scmobench.data.cellranger import read_tenx_folder
from scmobench.data.folder import named_columns, use_layer
from scmobench.data.foreign import check_file, read_h5ad, read_h5mu, read_tenx
from scmobench.data.source import TENX_TYPES, Source, with_feature_type
from scmobench.data.table import read_table
from scmobench.types import MODALITIES, Paired, feature_type

H5MU_NAMES = {"GEX": ("gex", "rna"), "ADT": ("adt", "prot", "protein"), "ATAC": ("atac", "peaks")}


@dataclass(kw_only=True)
class Own(Source):
    """Paired cells of your own, given in exactly one of four ways.

    Attributes
    ----------
    gex, mod2 : two h5ad files with the same cells.
    h5ad : one h5ad file with the features of both, ``var["feature_types"]`` says which is which (as the
        competition's public deposit, GEO GSE194122).
    h5mu : one MuData file with the modalities ``rna`` (or ``gex``) and ``prot``, ``adt`` or ``protein``,
        or ``atac`` or ``peaks``, in small or capital letters.
    tenx : Cell Ranger's ``filtered_feature_bc_matrix.h5``, or its folder with matrix.mtx.gz.
    kind : ``ADT`` or ``ATAC``. Needed only where the file of mod2 does not say its feature type, or
        where there are more than two modalities.
    batch, cell_type : columns of the (GEX) cell annotation; without `batch` all cells are one batch.
    labels : CSV with one row a cell (cell name first), for annotation that the files lack.
    layer : read X from this layer of both modalities; what X was is kept as the raw counts.
    normalization : modality -> what X holds; None means raw counts. Needed with `layer`.
    """

    gex: str | None = None
    mod2: str | None = None
    h5ad: str | None = None
    h5mu: str | None = None
    tenx: str | None = None
    kind: str | None = None
    batch: str | None = None
    cell_type: str | None = "cell_type"
    labels: str | None = None
    layer: str | None = None
    normalization: Mapping[str, str] | None = None

    def fetch(self) -> Path:
        """The (first) file, after checking that all of them exist.

        Raises
        ------
        FileNotFoundError : a file is missing.
        ValueError : not exactly one way of giving the cells; a pipe or a device for a file.
        """
        given = [w for w in (self.gex or self.mod2, self.h5ad, self.h5mu, self.tenx) if w]
        if len(given) != 1 or bool(self.gex) != bool(self.mod2):
            raise ValueError(
                f"{self.name}: give the cells in one way: `gex` and `mod2` (two h5ad files), `h5ad` (one), "
                f"`h5mu` or `tenx`; found {len(given)}"
            )
        for file in (self.gex, self.mod2, self.h5ad, self.h5mu, self.tenx, self.labels):
            if file and not (file == self.tenx and Path(file).expanduser().is_dir()):
                check_file(Path(file).expanduser())
        return Path(given[0]).expanduser()

    def load(self) -> Paired:
        """As of any `Source`; the organism is part of the hash, as it decides what cell-cycle genes are."""
        paired = super().load()
        if not self.organism:
            return paired
        return replace(paired, hash=sha256(f"{paired.hash} {self.organism}".encode()).hexdigest())

    def read(self) -> Paired:
        """Read the files, name the modalities, find batch and cell type, split."""
        first = self.fetch()
        if self.gex:
            gex, mod2 = self._h5ad_pair(first)
        elif self.h5mu:
            gex, mod2 = self._mudata(first)
        else:
            gex, mod2 = self._by_feature_type(first)
        if self.layer:
            use_layer(self.name, (gex, mod2), self.layer, self.normalization)
        obs = gex.obs
        if self.labels:
            table = read_table(Path(self.labels).expanduser(), index_col=0)
            missing = gex.obs_names.difference(table.index.astype(str), sort=False)
            if len(missing):
                raise ValueError(
                    f"{self.name}: {len(missing)} of {gex.n_obs} cells are not in {self.labels}, e.g. "
                    f"{', '.join(missing[:3])}; its first column must hold the cell names"
                )
            table.index = table.index.astype(str)
            table = table[table.index.isin(gex.obs_names)]
            if twice := list(table.index[table.index.duplicated()][:3]):
                raise ValueError(
                    f"{self.name}: cells twice in {self.labels}: {', '.join(twice)}; keep one row"
                )
            obs = obs.drop(columns=table.columns, errors="ignore").join(table)
        obs = named_columns(self.name, obs, self.batch, self.cell_type)
        kind = feature_type(mod2)
        return self.pair(gex, mod2, obs, self.normalization or {"GEX": "counts", kind: "counts"})

    def _h5ad_pair(self, first: Path) -> tuple[AnnData, AnnData]:
        gex, mod2 = read_h5ad(first, Path(str(self.mod2)).expanduser(), layer=self.layer)
        kind = self.kind or self._stated_kind(mod2)
        return with_feature_type(gex, "GEX", str(self.gex)), with_feature_type(mod2, kind, str(self.mod2))

    def _stated_kind(self, modality: AnnData) -> str:
        stated = set(map(str, modality.var.get("feature_types", pd.Series(dtype=str)).unique()))
        kinds = {TENX_TYPES.get(t, t) for t in stated}
        if len(kinds) != 1 or not kinds <= {"ADT", "ATAC"}:
            raise ValueError(
                f'{self.name}: var["feature_types"] of mod2 says {sorted(stated) or "nothing"}; expected '
                "ADT or ATAC (or Antibody Capture, Peaks). Name it: dataset.kind=ADT"
            )
        return kinds.pop()

    def _mudata(self, first: Path) -> tuple[AnnData, AnnData]:
        kinds = ("GEX", self.kind) if self.kind else H5MU_NAMES
        mods, cells = read_h5mu(first, [n for kind in kinds for n in H5MU_NAMES.get(kind, ())], self.layer)
        named = {name.lower(): name for name in mods}
        present = {k: named[n] for k, names in H5MU_NAMES.items() for n in names[::-1] if n in named}
        gex_name, mod2_name, kind = self._chosen(present, list(mods))
        gex, mod2 = mods[gex_name], mods[mod2_name]
        wider = cells.reindex(gex.obs_names)
        gex.obs = gex.obs.join(wider[[c for c in wider if c not in gex.obs]])
        return with_feature_type(gex, "GEX", gex_name), with_feature_type(mod2, kind, mod2_name)

    def _by_feature_type(self, first: Path) -> tuple[AnnData, AnnData]:
        if self.h5ad:
            both = read_h5ad(first, layer=self.layer)[0]
        elif first.is_dir():
            both = read_tenx_folder(first)
        else:
            both = read_tenx(first)
        both.var_names_make_unique()  # a few gene symbols stand for two genes
        if "feature_types" not in both.var:
            raise ValueError(
                f'{self.name}: {first} does not say which features are genes (no var["feature_types"]; Cell '
                "Ranger before 3 has none): give two h5ad files"
            )
        types = both.var["feature_types"].astype(str)
        present = {TENX_TYPES.get(t, t): t for t in types.unique() if TENX_TYPES.get(t, t) in MODALITIES}
        gex_type, mod2_type, kind = self._chosen(present, sorted(types.unique()))
        gex, mod2 = both[:, types == gex_type].copy(), both[:, types == mod2_type].copy()
        return with_feature_type(gex, "GEX", str(first)), with_feature_type(mod2, kind, str(first))

    def _chosen(self, present: Mapping[str, str], found: list[str]) -> tuple[str, str, str]:
        others = [k for k in present if k != "GEX" and self.kind in (None, k)]
        if "GEX" not in present or len(others) != 1:
            raise ValueError(
                f"{self.name}: expected gene expression and one of ADT or ATAC, found {found}; "
                "where there are three, choose by dataset.kind=ADT or dataset.kind=ATAC"
            )
        return present["GEX"], present[others[0]], others[0]
