"""Your own paired cells: two h5ad files or one, one h5mu file, or what Cell Ranger wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pandas as pd
from anndata import AnnData

from scmobench.data.annotation import check_agreement, read_labels
from scmobench.data.cellranger import read_tenx_folder
from scmobench.data.feature_types import chosen, modality_of, stated_modality, with_feature_type
from scmobench.data.folder import named_columns, use_layer
from scmobench.data.foreign import check_file, read_h5ad, read_h5mu, read_tenx
from scmobench.data.labels import LABELS
from scmobench.data.source import Source
from scmobench.types import MODALITIES, Paired, feature_type

Parts = tuple[AnnData, AnnData, Mapping[str, pd.DataFrame]]
"""GEX, mod2, and where which annotation of the cells stands."""


@dataclass(kw_only=True)
class Own(Source):
    """Paired cells of your own, given in exactly one of four ways.

    Attributes
    ----------
    gex, mod2 : two h5ad files with the same cells.
    h5ad : one h5ad file with the features of both, ``var["feature_types"]`` says which is which (as the
        competition's public deposit, GEO GSE194122).
    h5mu : one MuData file whose modalities have names of `WORDS`, such as ``rna`` and ``prot`` or ``atac``.
    tenx : Cell Ranger's ``filtered_feature_bc_matrix.h5``, or its folder with matrix.mtx.gz.
    kind : ``ADT`` or ``ATAC``. Needed only where the file says the feature type of mod2 in no word of
        `WORDS`, or where there are more than two modalities.
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
            gex, mod2, tables = self._h5ad_pair(first)
        elif self.h5mu:
            gex, mod2, tables = self._mudata(first)
        else:
            gex, mod2, tables = self._by_feature_type(first)
        if self.layer:
            use_layer(self.name, (gex, mod2), self.layer, self.normalization)
        labels = read_labels(self.name, self.labels, gex.obs_names)
        columns = {self.batch, self.cell_type, "is_train", "is_scored", *LABELS[1:]}
        check_agreement(self.name, tables, columns - set(labels))
        obs = gex.obs.drop(columns=labels.columns, errors="ignore").join(labels)
        obs = named_columns(self.name, obs, self.batch, self.cell_type)
        kind = feature_type(mod2)
        return self.pair(gex, mod2, obs, self.normalization or {"GEX": "counts", kind: "counts"})

    def _mod2(self) -> str | None:
        """`kind` in the field's short form."""
        if self.kind is None or (kind := modality_of(self.kind)) in MODALITIES[1:]:
            return self.kind and kind
        raise ValueError(f"{self.name}: expected dataset.kind to be ADT or ATAC, found {self.kind!r}")

    def _h5ad_pair(self, first: Path) -> Parts:
        gex, mod2 = read_h5ad(first, Path(str(self.mod2)).expanduser(), layer=self.layer)
        where = f"{self.name}: {self.mod2}"
        kind = self._mod2() or stated_modality(mod2, where, "Say what it holds: dataset.kind=ADT")
        if kind == "GEX":
            raise ValueError(f"{where}: expected ADT or ATAC features in dataset.mod2, found gene expression")
        gex = with_feature_type(gex, "GEX", f"{self.name}: {self.gex}")
        tables = {str(self.gex): gex.obs, str(self.mod2): mod2.obs}
        return gex, with_feature_type(mod2, kind, where), tables

    def _mudata(self, first: Path) -> Parts:
        kind = self._mod2()
        mods, cells = read_h5mu(first, kind=kind, layer=self.layer)
        rename = 'name the modalities so: mudata.MuData({"rna": ..., "prot": ...}), or "atac"'
        genes, others, kind = chosen(mods, kind, f"{self.name}: {first}", rename)
        if len(genes) + len(others) > 2:
            raise ValueError(
                f"{self.name}: expected one modality for GEX and one for {kind} in {first}, found "
                f"{genes + others}: write a file without the others"
            )
        gex, mod2 = (mods[names[0]] for names in (genes, others))
        tables = {
            f"mod[{genes[0]!r}].obs": gex.obs,
            "obs of the whole file": cells,
            f"mod[{others[0]!r}].obs": mod2.obs,
        }
        check_agreement(self.name, tables, ())
        wider = cells.reindex(gex.obs_names)
        gex.obs = gex.obs.join(wider[[c for c in wider if c not in gex.obs]])
        gex = with_feature_type(gex, "GEX", genes[0])
        return gex, with_feature_type(mod2, kind, others[0]), tables

    def _by_feature_type(self, first: Path) -> Parts:
        if self.h5ad:
            both = read_h5ad(first, layer=self.layer)[0]
        elif first.is_dir():
            both = read_tenx_folder(first)
        else:
            both = read_tenx(first)
        if "feature_types" not in both.var:
            raise ValueError(
                f'{self.name}: {first} does not say which features are genes (no var["feature_types"]; a '
                "features.tsv of two columns, as before Cell Ranger 3, has none): give two h5ad files"
            )
        types = both.var["feature_types"].astype(str)
        genes, others, kind = chosen(types.unique(), self._mod2(), f"{self.name}: {first}")
        gex, mod2 = (both[:, types.isin(words)].copy() for words in (genes, others))
        for modality, modality_kind in ((gex, "GEX"), (mod2, kind)):
            modality.var["feature_types"] = modality_kind
            modality.var_names_make_unique()  # a few gene symbols stand for two genes
        return gex, mod2, {str(first): gex.obs}
