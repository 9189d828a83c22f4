"""Your own paired cells: two h5ad files or one, one h5mu file, or the output of Cell Ranger."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.data.annotated import Annotated, Parts
from scmobench.data.cellranger import read_tenx_folder
from scmobench.data.feature_types import chosen, modality_of, stated_modality, with_feature_type
from scmobench.data.foreign import check_file, read_h5ad, read_h5mu, read_tenx
from scmobench.machine.files import path_of
from scmobench.types import MODALITIES

PROTEINS = "protein_expression"  # where totalVI keeps the proteins of an AnnData of genes, in obsm


@dataclass(kw_only=True)
class Own(Annotated):
    """Paired cells of your own, given in exactly one of four ways."""

    gex: str | None = None  # with `mod2`: two h5ad files with the same cells
    mod2: str | None = None
    # one h5ad file with the features of both, told apart by ``var["feature_types"]`` (as the competition's
    # public deposit, GEO GSE194122), or of genes with totalVI's ``obsm["protein_expression"]``
    h5ad: str | None = None
    # one MuData file whose modalities have names of `WORDS`, such as ``rna`` and ``prot``
    h5mu: str | None = None
    # Cell Ranger's ``filtered_feature_bc_matrix.h5``, or its folder with matrix.mtx.gz
    tenx: str | None = None
    # ``ADT`` or ``ATAC``. Needed only where the feature type of mod2 is no word of `WORDS`, or where there
    # are more than two modalities
    kind: str | None = None

    def fetch(self) -> Path:
        """The (first) file, after checking that all of them exist.

        Raises FileNotFoundError if a file is missing, and ValueError if the cells are not given in exactly
        one way, or a file is a pipe or a device.
        """
        if bool(self.gex) != bool(self.mod2):
            other = "mod2" if self.gex else "gex"
            raise ValueError(
                f"{self.name}: expected two h5ad files, found one: give dataset.{other}=FILE too, or one "
                "file that holds both as dataset.h5ad=FILE"
            )
        given = [way for way in (self.gex or self.mod2, self.h5ad, self.h5mu, self.tenx) if way]
        if len(given) != 1:
            raise ValueError(
                f"{self.name}: give the cells in one way: `gex` and `mod2` (two h5ad files), `h5ad` (one), "
                f"`h5mu` or `tenx`; found {len(given)}; on the command line, e.g. dataset.h5mu=FILE"
            )
        for file in filter(None, (self.gex, self.mod2, self.h5ad, self.h5mu, self.tenx, self.labels)):
            path = path_of(file)
            if file != self.tenx or path.suffix == ".zarr" or not path.is_dir():
                check_file(path)
        if self.gex and path_of(self.gex).samefile(path_of(str(self.mod2))):
            raise ValueError(
                f"{self.name}: expected two files, found {self.gex} as `gex` and as `mod2`: name the other "
                f"one, or give one file that holds both as dataset.h5ad={self.gex}"
            )
        return path_of(given[0])

    def at_hand(self) -> str:
        """Whether files are named, and found."""
        if not any((self.gex, self.h5ad, self.h5mu, self.tenx)):
            return "name your files"
        try:
            self.fetch()
        except FileNotFoundError:
            return "no: give full paths"
        return "yes"

    def parts(self) -> Parts:
        """Read the files, whichever way they are given."""
        first, kind = self.fetch(), known_mod2(self.name, self.kind)
        where = f"{self.name}: {first}"
        if self.gex:
            gex, mod2 = read_h5ad(first, path_of(str(self.mod2)), layer=self.layer)
            return two_tables(gex, mod2, kind, (f"{self.name}: {self.gex}", f"{self.name}: {self.mod2}"))
        if self.h5mu:
            mods, cells = read_h5mu(first, kind=kind, layer=self.layer)
            return of_mudata(mods, cells, kind, where)
        if self.h5ad:
            return by_feature_type(read_h5ad(first, layer=self.layer, factors=PROTEINS)[0], kind, where)
        return by_feature_type(read_tenx_folder(first) if first.is_dir() else read_tenx(first), kind, where)


def known_mod2(name: str, kind: str | None) -> str | None:
    """``ADT`` or ``ATAC`` for any word of `WORDS` for it; None stays None."""
    if kind is None or modality_of(kind) in MODALITIES[1:]:
        return kind and modality_of(kind)
    raise ValueError(f"{name}: expected dataset.kind to be ADT or ATAC, found {kind!r}")


def two_tables(gex: AnnData, mod2: AnnData, kind: str | None, where: tuple[str, str]) -> Parts:
    """Cells whose modalities are two AnnData, called ``where`` in messages."""
    kind = kind or stated_modality(mod2, where[1], "Say what it holds: dataset.kind=ADT or ATAC")
    if kind == "GEX":
        raise ValueError(f"{where[1]}: expected ADT or ATAC features in dataset.mod2, found gene expression")
    gex, mod2 = with_feature_type(gex, "GEX", where[0]), with_feature_type(mod2, kind, where[1])
    return Parts(gex, mod2, {where[0]: gex.obs, where[1]: mod2.obs})


def of_mudata(mods: Mapping[str, AnnData | None], cells: pd.DataFrame, kind: str | None, where: str) -> Parts:
    """Cells whose modalities are those of a MuData, which has a table of all cells as well."""
    rename = 'name the modalities so: mudata.MuData({"rna": ..., "prot": ...}), or "atac"'
    genes, others, kind = chosen(mods, kind, where, rename)
    if len(genes) + len(others) > 2:
        raise ValueError(
            f"{where}: expected one modality for GEX and one for {kind}, found {genes + others}: "
            "leave out the others"
        )
    gex, mod2 = (mods[names[0]] for names in (genes, others))
    tables = {
        f"mod[{genes[0]!r}].obs": gex.obs,
        "obs of the whole MuData": cells,
        f"mod[{others[0]!r}].obs": mod2.obs,
    }
    gex = with_feature_type(gex, "GEX", genes[0])
    return Parts(gex, with_feature_type(mod2, kind, others[0]), tables)


def by_feature_type(both: AnnData, kind: str | None, where: str) -> Parts:
    """Cells of one AnnData: both modalities are columns, or the proteins are where totalVI keeps them."""
    if PROTEINS in both.obsm and kind != "ATAC" and both.var.filter(["feature_types"]).nunique().lt(2).all():
        return two_tables(both, _proteins(both), "ADT", (where, f'{where}: obsm["{PROTEINS}"]'))
    if "feature_types" not in both.var:
        raise ValueError(
            f'{where} does not say which features are genes (no var["feature_types"]; a features.tsv of one '
            "or two columns, as before Cell Ranger 3, has none): give two h5ad files"
        )
    types = both.var["feature_types"].astype(str)
    genes, others, kind = chosen(types.unique(), kind, where)
    return Parts(_columns(both, types, genes, "GEX"), _columns(both, types, others, kind), {where: both.obs})


def _columns(both: AnnData, types: pd.Series, words: Iterable[str], kind: str) -> AnnData:
    modality = both[:, types.isin(words)].copy()
    modality.var["feature_types"] = kind
    modality.var_names_make_unique()  # a few gene symbols are the names of two genes
    return modality


def _proteins(cells: AnnData) -> AnnData:
    """The proteins that totalVI reads, named by the table's columns, else by ``uns["protein_names"]``."""
    counts = cells.obsm[PROTEINS]
    if isinstance(counts, pd.DataFrame):
        names, counts = counts.columns, counts.to_numpy()
    else:
        names = cells.uns.get("protein_names", [f"protein_{k}" for k in range(counts.shape[1])])
    var = pd.DataFrame({"feature_types": "ADT"}, index=pd.Index(np.asarray(names).astype(str)))
    return AnnData(counts, obs=pd.DataFrame(index=cells.obs_names), var=var)
