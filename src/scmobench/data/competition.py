"""The NeurIPS 2021 competition's files, with training and test cells already cut apart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import anndata as ad
import numpy as np
from anndata import AnnData

from scmobench.data.download import download, read_pins, sha256, write_pins
from scmobench.data.foreign import read_h5ad
from scmobench.data.labels import LABELS
from scmobench.data.pairing import pairing
from scmobench.data.source import Source, cache_dir, cache_folder
from scmobench.machine.files import claimed, file_name, path_of
from scmobench.types import MODALITIES, Paired, feature_type

PARTS = {
    "predict_modality": ("train_mod1", "train_mod2", "test_mod1", "test_mod2"),
    "match_modality": ("train_mod1", "train_mod2", "train_sol", "test_mod1", "test_mod2", "test_sol"),
    "joint_embedding": ("mod1", "mod2", "solution"),
}
OUTPUT = ".censor_dataset.output_"
NORMALIZATION = {"GEX": "scran_log1p", "ADT": "clr_kit", "ATAC": "binary"}


@dataclass(kw_only=True)
class Competition(Source):
    """Official files of one task, put back together into paired cells.

    Files are named ``<dataset>.censor_dataset.output_<part>.h5ad`` or, in the starter kit,
    ``<dataset>.<part>.h5ad``; X is normalised by the competition, ``layers["counts"]`` raw. Where mod1
    is not gene expression (ADT2GEX, ATAC2GEX) the modalities are exchanged: `Paired.mod1` is always GEX.

    The official test sets were drawn with a secret seed and have no published hash. The hashes of the
    first files that were read without error are kept (`pins`), and other files under their names are refused.
    """

    dataset: str  # start of the files' names, e.g. ``openproblems_bmmc_cite_phase2_rna``
    # each task has its own files
    task: Literal["predict_modality", "match_modality", "joint_embedding"] = "predict_modality"
    path: str | None = None  # folder with the files, or with ``<task>/<dataset>/`` in it; None: the cache
    url: str = ""  # where `fetch` downloads ``<task>/<dataset>/<file>`` from; empty: no download
    # modality -> name of the values in X; None: `NORMALIZATION`
    normalization: Mapping[str, str] | None = None
    protocol: str = ""  # ``neurips2021-phase2`` for the official test set, see `Paired`

    def __post_init__(self) -> None:
        ending = f"{OUTPUT}train_mod1.h5ad"
        if file_name(self.dataset, ending) != f"{self.dataset}{ending}":
            raise ValueError(
                f"{self.name}: expected dataset.dataset to be what the files' names begin with, found "
                f"{self.dataset!r}; dataset.path names their folder"
            )

    @property
    def pins(self) -> Path:
        """JSON file with the pinned sha256 of every file of this task and data set."""
        return cache_dir() / "competition" / file_name(f"{self.task}.{self.dataset}", ".sha256.json")

    def fetch(self) -> Path:
        """The folder with the files; with a `url`, missing and damaged ones are downloaded.

        A download is opened before it is kept, and all files are read together before they are pinned. Raises
        FileNotFoundError if files are missing and there is no `url`, OSError if a file could not be
        downloaded, and ValueError if a download is not the expected file; the message says which one and what
        to do.
        """
        if not self.url:
            return next(iter(self._files().values())).parent
        try:
            files = self._files()
        except FileNotFoundError:
            root = path_of(self.path) if self.path else cache_folder("competition")
            files = self._named(root / self.task / self.dataset, OUTPUT)
        folder = next(iter(files.values())).parent
        with claimed(folder, "another process downloads, waiting for it"):
            for part, file in files.items():
                if not self._is_sound(part, file):
                    self._download(part, file)
            try:
                self.read()
            except ValueError as error:
                raise ValueError(
                    f"{error}; one of the files may be another than its name says: delete it from {folder}, "
                    f"and `scmobench data fetch {self.name}` gets it again"
                ) from error
        return folder

    def at_hand(self) -> str:
        """Whether its files are found; nothing is read."""
        try:
            self._files()
        except FileNotFoundError:
            return "no: data fetch" if self.url else "no: set dataset.path"
        return "yes"

    def read(self) -> Paired:
        """Read all parts, undo the cut and the shuffle, exchange the modalities where needed."""
        files = self._files()
        again = f" (by `scmobench data fetch {self.name}`)" if self.url else ""
        advice = f"results on it cannot be compared with earlier ones: restore it{again}, or "
        found = {part: self._pinned(part, file, advice) for part, file in files.items()}
        parts = dict(zip(files, read_h5ad(*files.values()), strict=True))
        for part, file in files.items():
            check_part(part, file, parts[part])
        paired = self._put_together(parts)
        write_pins(self.pins, found)
        return paired

    def _named(self, folder: Path, middle: str) -> dict[str, Path]:
        return {part: folder / f"{self.dataset}{middle}{part}.h5ad" for part in PARTS[self.task]}

    def _files(self) -> dict[str, Path]:
        root = path_of(self.path) if self.path else cache_dir() / "competition"
        for folder in (root, root / self.task / self.dataset, root / self.dataset, root / self.task):
            for middle in (OUTPUT, "."):
                files = self._named(folder, middle)
                if all(file.is_file() for file in files.values()):
                    return files
        fetch = f", or get them by `scmobench data fetch {self.name}`" if self.url else ""
        raise FileNotFoundError(
            f"{self.name}: expected {self.dataset}{OUTPUT}{{{','.join(PARTS[self.task])}}}.h5ad in {root} or "
            f"in {self.task}/{self.dataset} below it; set dataset.path to the folder of the files, "
            f"or $SCMOBENCH_COMPETITION to that of all{fetch}"
        )

    def _pinned(self, part: str, file: Path, advice: str = "") -> str:
        """The hash of a file, which is refused where another hash is pinned."""
        found = sha256(file)
        if (seen := read_pins(self.pins).get(part, found)) != found:
            raise ValueError(
                f"{self.name}: {file} is not the file first seen: sha256 {seen} then, {found} now; "
                f"{advice}delete {self.pins} to accept it"
            )
        return found

    def _is_sound(self, part: str, file: Path) -> bool:
        """Whether a file is readable and not other than the pinned one."""
        if not file.is_file():
            return False
        seen, found = read_pins(self.pins), sha256(file)
        try:
            check_part(part, file, *read_h5ad(file))
        except ValueError:
            if seen.get(part) == found:  # an earlier version pinned files that it could not open
                write_pins(self.pins, {known: sha for known, sha in seen.items() if known != part})
            return False
        return seen.get(part, found) == found

    def _download(self, part: str, file: Path) -> None:
        def check(got: Path) -> None:
            check_part(part, got, *read_h5ad(got))
            self._pinned(part, got)

        name = self._named(Path(), OUTPUT)[part].name
        address = f"{self.url.rstrip('/')}/{self.task}/{self.dataset}/{name}"
        advice = f"try `scmobench data fetch {self.name}` again, check dataset.url, or save the right file as"
        download(address, file, check, f"{advice} {file}")

    def _put_together(self, parts: Mapping[str, AnnData]) -> Paired:
        if self.task == "joint_embedding":
            mod1, mod2 = parts["mod1"], parts["mod2"]
            obs = parts["solution"].obs.reindex(mod1.obs_names)
            obs["batch"] = mod1.obs["batch"]
            if self.test_batches is None and "is_train" in mod1.obs:
                obs["is_train"] = mod1.obs["is_train"]
        else:
            train, test = (self._side(parts, side) for side in ("train", "test"))
            mod1, mod2 = _stacked(train[0], test[0]), _stacked(train[1], test[1])
            obs = mod1.obs.copy()
        source = f"NeurIPS 2021 competition, {self.dataset}, whose mod1 is {feature_type(mod1)}"
        if feature_type(mod1) != "GEX":
            mod1, mod2 = mod2, mod1
        names = {**NORMALIZATION, **(self.normalization or {})}
        kinds = [feature_type(modality) for modality in (mod1, mod2)]
        paired = self.pair(mod1, mod2, obs, {kind: names[kind] for kind in kinds}, source)
        organism = self.organism or str(mod1.uns.get("organism", ""))
        return replace(paired, organism=organism, protocol=self.protocol)

    def _side(self, parts: Mapping[str, AnnData], side: str) -> tuple[AnnData, AnnData]:
        """Training or test cells, those of a matching in mod1's order."""
        mod1, mod2 = parts[f"{side}_mod1"], parts[f"{side}_mod2"]
        if self.task == "match_modality":
            labels = parts[f"{side}_sol"].obs
            if set(labels.index) == set(mod1.obs_names) and list(labels.index) != list(mod1.obs_names):
                raise ValueError(
                    f"{self.name}: expected the cells of {side}_sol in {side}_mod1's order, found another "
                    "order, which leaves the partners unknown; restore the competition's files"
                )
            mod2 = mod2[np.argsort(pairing(parts[f"{side}_sol"]), kind="stable")].copy()
            mod2.obs_names = mod1.obs_names
            for column in [c for c in LABELS if c in labels and c not in mod1.obs]:
                mod1.obs[column] = labels[column].to_numpy()
        mod1.obs["is_train"] = side == "train"
        return mod1, mod2


def check_part(part: str, file: Path, content: AnnData) -> None:
    """Check one file of the competition by itself."""
    kinds = content.var["feature_types"].astype(str).unique() if "feature_types" in content.var else []
    try:
        if "mod" in part and (len(kinds) != 1 or kinds[0] not in MODALITIES):
            raise ValueError(
                f"{', '.join(kinds) or 'none'} and not one of {MODALITIES} in var['feature_types']"
            )
        if part.endswith("_sol"):
            pairing(content)
        if not content.n_obs:
            raise ValueError("one without cells")
        if not (cells := content.obs_names).is_unique:
            raise ValueError(f"one with the cell {cells[cells.duplicated()][0]} twice")
    except ValueError as error:
        raise ValueError(f"expected the competition's {part} at {file}, found {error}") from error


def _stacked(train: AnnData, test: AnnData) -> AnnData:
    if not train.var_names.equals(test.var_names):
        raise ValueError(
            f"training and test files have different features: {train.n_vars} and {test.n_vars}, "
            f"{len(train.var_names.difference(test.var_names))} of them only in training"
        )
    both = ad.concat([train, test], merge="first", uns_merge="first")
    both.var = train.var.copy()
    return both
