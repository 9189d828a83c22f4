"""A folder with one h5ad file a modality: ``gex.h5ad`` and ``adt.h5ad`` or ``atac.h5ad``."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scmobench.data.annotated import Annotated, Parts
from scmobench.data.annotation import column
from scmobench.data.feature_types import with_feature_type
from scmobench.data.foreign import read_h5ad
from scmobench.data.labels import is_one_of, tidy_labels
from scmobench.data.source import Source
from scmobench.machine.files import path_of


@dataclass(kw_only=True)
class Folder(Annotated):
    """Cells of two h5ad files, the same cells in the same rows of both."""

    folder: str = ""  # name of the data set's folder; empty takes `name`
    path: str | None = None  # the folder itself, if it is elsewhere
    env: str = "SCMOBENCH_DATA"  # environment variable with the folder that holds the data sets' folders
    mod2: Literal["adt", "atac"] = "adt"  # name of the second file
    batch: str = "batch"
    # column -> values; cells with one of them are left out
    drop: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # column -> value; only these cells' labels score an embedding
    scored: Mapping[str, Any] = field(default_factory=dict)

    load = Source.load  # the organism is a fact about the files here, so it does not enter the hash

    def fetch(self) -> Path:
        """The folder: `path` where it is named, else ``$SCMOBENCH_DATA/<folder>`` or ``data/<folder>``."""
        name = self.folder or self.name
        places = [Path("data") / name]
        if os.environ.get(self.env):
            places.insert(0, path_of(os.environ[self.env]) / name)
        if self.path:
            places = [path_of(self.path)]
        for place in places:
            if all(os.path.isfile(place / f"{stem}.h5ad") for stem in ("gex", self.mod2)):  # any name is safe
                return place
        raise FileNotFoundError(
            f"{self.name}: expected gex.h5ad and {self.mod2}.h5ad in one of {[str(p) for p in places]}; "
            f"set the environment variable {self.env} to the folder that holds {name}/, or dataset.path "
            f"to {name} itself"
        )

    def at_hand(self) -> str:
        """Whether its folder is found."""
        try:
            self.fetch()
        except FileNotFoundError:
            return f"no: set {self.env}"
        return "yes"

    def parts(self) -> Parts:
        """Both files without the cells of `drop`; ``is_scored`` follows `scored`."""
        place = self.fetch()
        files = [place / "gex.h5ad", place / f"{self.mod2}.h5ad"]
        gex, mod2 = read_h5ad(*files, layer=self.layer)
        gex = with_feature_type(gex, "GEX", f"{self.name} gex.h5ad")
        mod2 = with_feature_type(mod2, self.mod2.upper(), f"{self.name} {self.mod2}.h5ad")
        keep = np.ones(gex.n_obs, bool)
        for label, values in self.drop.items():
            keep &= ~is_one_of(column(self.name, gex.obs, label), values)
        if not keep.all():
            mod2 = mod2[mod2.obs_names.isin(gex.obs_names[keep])].copy()
            gex = gex[keep].copy()
        scored = tidy_labels(self.name, gex.obs.filter(["is_scored"])).get("is_scored", True)
        for label, value in self.scored.items():
            scored = scored & is_one_of(column(self.name, gex.obs, label), [value])
            gex.obs["is_scored"] = scored
        return Parts(gex, mod2, {"gex.h5ad": gex.obs, f"{self.mod2}.h5ad": mod2.obs})
