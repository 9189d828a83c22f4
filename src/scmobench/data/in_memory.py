"""Paired cells that are already in memory: a MuData, two AnnData, or one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from anndata import AnnData
from mudata import MuData

from scmobench.data.annotated import Annotated, Parts
from scmobench.data.declared import UNS
from scmobench.data.feature_types import modality_of, stated_modality
from scmobench.data.own import PROTEINS, by_feature_type, known_mod2, of_mudata, two_tables


@dataclass(kw_only=True)
class Memory(Annotated):
    """Paired cells of a MuData, of two AnnData or of one, after the same checks as files.

    Raw counts are ``layers["counts"]`` or, without that layer, X. Features without counts are left
    out. The objects themselves are not changed. `Annotated` and `Source` have the other settings.
    """

    borrowed: ClassVar[bool] = True
    name: str = "memory"
    # a MuData whose modalities have usual names (``rna``, ``gex``; ``prot``, ``adt``; ``atac``, ``peaks``);
    # or one AnnData of genes with totalVI's ``obsm["protein_expression"]``, or with the features of both
    # modalities, told apart by ``var["feature_types"]``
    mdata: MuData | AnnData | None = None
    gex: AnnData | None = None  # with `mod2`: two AnnData with the same cells
    mod2: AnnData | None = None
    # the MuData's names of both modalities, e.g. ``{"gex": "my_rna", "adt": "my_prot"}``
    modalities: Mapping[str, str] | None = None
    kind: str | None = None  # see `Own`
    empty_features: Literal["keep", "drop", "error"] = "drop"

    def parts(self) -> Parts:
        """Copies of the parts that are used, whichever way they are given."""
        kind = known_mod2(self.name, self.kind)
        if self.mod2 is not None and self.gex is not None and self.mdata is None:
            where = (f"{self.name}: gex", f"{self.name}: mod2")
            return two_tables(self._used(self.gex), self._used(self.mod2), kind, where)
        cells = self.gex if self.mdata is None else self.mdata
        if self.mod2 is not None or cells is None or (self.gex is not None and self.mdata is not None):
            raise ValueError(
                f"{self.name}: give the cells in one way: a MuData, an AnnData with the features of both "
                "modalities, or gex=AnnData and mod2=AnnData"
            )
        if isinstance(cells, MuData):
            return self._mudata(cells, kind)
        return by_feature_type(self._used(cells), kind, self.name)

    def _mudata(self, cells: MuData, kind: str | None) -> Parts:
        mods = {name: self._used(modality) for name, modality in cells.mod.items()}
        if self.modalities:
            mods = {self._meaning(word, mods, kind): mods[name] for word, name in self.modalities.items()}
        return of_mudata(mods, cells.obs.copy(), kind, self.name)

    def _meaning(self, word: str, mods: Mapping[str, AnnData], kind: str | None) -> str:
        """GEX, ADT or ATAC for a key of `modalities`."""
        name = self.modalities[word]
        if name not in mods or not (modality_of(word) or word == "mod2"):
            raise ValueError(
                f"{self.name}: expected modalities={{'gex': NAME, 'adt': NAME}} with names of {list(mods)}, "
                f"found {dict(self.modalities)}"
            )
        where = f"{self.name}: {name}"
        advice = "Say what it holds: modalities={'adt': NAME}"
        return modality_of(word) or kind or stated_modality(mods[name], where, advice)

    def _used(self, cells: AnnData) -> AnnData:
        """A new AnnData of what is used; `check` copies the matrices."""
        if not isinstance(cells, AnnData):
            raise TypeError(f"{self.name}: expected an AnnData or a MuData, found {type(cells).__name__}")
        if self.layer and self.layer not in cells.layers:
            raise ValueError(
                f"{self.name}: no layer {self.layer!r} of {cells.n_vars} features, they have "
                f"{list(cells.layers)}; both modalities need it: where X holds it already, "
                f"adata.layers[{self.layer!r}] = adata.X"
            )
        cells = cells.to_memory() if cells.isbacked else cells
        layers = {key: cells.layers[key] for key in ("counts", self.layer) if key in cells.layers}
        more = {"obsm": {key: cells.obsm[key] for key in (PROTEINS,) if key in cells.obsm}}
        more["uns"] = {key: cells.uns[key] for key in UNS if key in cells.uns}
        return AnnData(cells.X, obs=cells.obs.copy(), var=cells.var.copy(), layers=layers, **more)
