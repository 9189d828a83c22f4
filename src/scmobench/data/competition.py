"""The NeurIPS 2021 competition's files, with training and test cells already cut apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from anndata import AnnData

from scmobench.data.download import download, read_pins, sha256, write_pins
from scmobench.data.foreign import read_h5ad
from scmobench.data.labels import LABELS
from scmobench.data.pairing import pairing
from scmobench.data.source import Source, cache_dir, cache_folder
from scmobench.machine.files import claimed, file_name
from scmobench.types import MODALITIES, TASKS, Paired, feature_type

PARTS = {
    "predict_modality": ("train_mod1", "train_mod2", "test_mod1", "test_mod2"),
    "match_modality": ("train_mod1", "train_mod2", "train_sol", "test_mod1", "test_mod2", "test_sol"),
    "joint_embedding": ("mod1", "mod2", "solution"),
}
NORMALIZATION = {"GEX": "scran_log1p", "ADT": "clr_kit", "ATAC": "binary"}


@dataclass(kw_only=True)
class Competition(Source):
    """Official files of one task, put back together into paired cells.

    Files are named ``<dataset>.censor_dataset.output_<part>.h5ad`` or, as in the starter kit,
    ``<dataset>.<part>.h5ad``; X is normalised by the competition, ``layers["counts"]`` raw. Where mod1
    is not gene expression (ADT2GEX, ATAC2GEX) the two are exchanged: `Paired.mod1` is always GEX.

    The official test sets were drawn with a secret seed and have no published hash: the hashes of
    the first files that were read well are kept (`pins`), and other files under the same name are refused.

    Attributes
    ----------
    task : whose files they are; each task has its own.
    dataset : file prefix, e.g. ``openproblems_bmmc_cite_phase2_rna``.
    path : folder with the files, or with ``<task>/<dataset>/`` in it; None takes the cache.
    url : where `fetch` downloads ``<task>/<dataset>/<file>`` from; empty for files at hand.
    normalization : modality -> what X holds; None means `NORMALIZATION`.
    protocol : ``neurips2021-phase2`` for the official test set, see `Paired`.
    """

    dataset: str
    task: str = "predict_modality"
    path: str | None = None
    url: str = ""
    normalization: Mapping[str, str] | None = None
    protocol: str = ""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"{self.name}: expected a task of {TASKS}, found {self.task!r}")
        ending = ".censor_dataset.output_train_mod1.h5ad"
        if file_name(self.dataset, ending) != f"{self.dataset}{ending}":
            raise ValueError(
                f"{self.name}: expected dataset.dataset to be what the files' names begin with, found "
                f"{self.dataset!r}; dataset.path names their folder"
            )

    @property
    def pins(self) -> Path:
        """JSON file with the sha256 of every file of this task and dataset that was first read well."""
        return cache_dir() / "competition" / file_name(f"{self.task}.{self.dataset}", ".sha256.json")

    def fetch(self) -> Path:
        """The folder with the files; downloads what is missing or damaged where `url` is given.

        A download is opened before it is kept, and all files are read together before they are pinned.

        Raises
        ------
        FileNotFoundError : files are missing and there is no `url`.
        OSError : a file could not be downloaded.
        ValueError : what was downloaded is not what was expected; says which file and what to do.
        """
        first = PARTS[self.task][0]
        if not self.url:
            return self._files()[first].parent
        try:
            files = self._files()
        except FileNotFoundError:
            root = Path(self.path).expanduser() if self.path else cache_folder("competition")
            name = f"{self.dataset}.censor_dataset.output_"
            files = {p: root / self.task / self.dataset / f"{name}{p}.h5ad" for p in PARTS[self.task]}
        folder = files[first].parent
        with claimed(folder, "another process downloads, waiting for it"):
            for part, file in files.items():
                if not self._serves(part, file):
                    self._download(part, file)
            try:
                self.read()
            except ValueError as error:
                raise ValueError(
                    f"{error}; one of the files may be another than its name says: delete it from {folder}, "
                    f"and `scmobench data fetch {self.name}` gets it again"
                ) from error
        return folder

    def _serves(self, part: str, file: Path) -> bool:
        """Whether a file can be read and is the one that was pinned, if one was."""
        if not file.is_file():
            return False
        seen, found = read_pins(self.pins), sha256(file)
        try:
            check_part(part, file, *read_h5ad(file))
        except ValueError:
            if seen.get(part) == found:  # an earlier version pinned what it could not open
                write_pins(self.pins, {known: sha for known, sha in seen.items() if known != part})
            return False
        return seen.get(part, found) == found

    def _download(self, part: str, file: Path) -> None:
        def check(got: Path) -> None:
            check_part(part, got, *read_h5ad(got))
            seen, found = read_pins(self.pins), sha256(got)
            if seen.get(part, found) != found:
                raise ValueError(
                    f"{self.name}: {got} is not the file first seen: sha256 {found}, {seen[part]} then; "
                    f"delete {self.pins} to accept it"
                )

        address = f"{self.url.rstrip('/')}/{self.task}/{self.dataset}/"
        address += f"{self.dataset}.censor_dataset.output_{part}.h5ad"
        advice = (
            f"try `scmobench data fetch {self.name}` again, check dataset.url, or save the right file as "
        )
        download(address, file, check, advice + str(file))

    def read(self) -> Paired:
        """Read all parts, undo the cut and the shuffle, exchange the modalities where needed.

        Raises
        ------
        FileNotFoundError : a part is missing.
        ValueError : a file has changed since it was first seen, or the parts do not fit together.
        """
        files = self._files()
        found = {part: sha256(file) for part, file in files.items()}
        self._refuse_changed(files, found)
        parts = dict(zip(files, read_h5ad(*files.values()), strict=True))
        for part, file in files.items():
            check_part(part, file, parts[part])
        paired = self._put_together(parts)
        write_pins(self.pins, found)
        return paired

    def _put_together(self, parts: Mapping[str, AnnData]) -> Paired:
        if self.task == "joint_embedding":
            mod1, mod2 = parts["mod1"], parts["mod2"]
            obs = parts["solution"].obs.reindex(mod1.obs_names)
            obs["batch"] = mod1.obs["batch"]
            if self.test_batches is None and "is_train" in mod1.obs:
                obs["is_train"] = mod1.obs["is_train"]
        else:
            sides = [self._side(parts, side) for side in ("train", "test")]
            mod1, mod2 = (_stack([side[i] for side in sides]) for i in (0, 1))
            obs = mod1.obs.copy()
        kinds = [feature_type(mod1), feature_type(mod2)]
        source = f"NeurIPS 2021 competition, {self.dataset}, whose mod1 is {kinds[0]}"
        if kinds[0] != "GEX":
            mod1, mod2 = mod2, mod1
            kinds.reverse()
        names = {**NORMALIZATION, **(self.normalization or {})}
        paired = self.pair(mod1, mod2, obs, {kind: names[kind] for kind in kinds}, source)
        organism = self.organism or str(mod1.uns.get("organism", ""))
        return replace(paired, organism=organism, protocol=self.protocol)

    def _files(self) -> dict[str, Path]:
        root = Path(self.path).expanduser() if self.path else cache_dir() / "competition"
        folders = (root, root / self.task / self.dataset, root / self.dataset, root / self.task)
        names = (f"{self.dataset}.censor_dataset.output_", f"{self.dataset}.")
        for folder in folders:
            for name in names:
                files = {part: folder / f"{name}{part}.h5ad" for part in PARTS[self.task]}
                if all(file.is_file() for file in files.values()):
                    return files
        fetch = f", or get them by `scmobench data fetch {self.name}`" if self.url else ""
        raise FileNotFoundError(
            f"{self.name}: expected {names[0]}{{{','.join(PARTS[self.task])}}}.h5ad in {root} or in "
            f"{self.task}/{self.dataset} below it; set dataset.path to the folder of the files, "
            f"or $SCMOBENCH_COMPETITION to that of all{fetch}"
        )

    def _refuse_changed(self, files: Mapping[str, Path], found: Mapping[str, str]) -> None:
        seen = read_pins(self.pins)
        for part, sha in found.items():
            if seen.get(part, sha) != sha:
                again = f" (by `scmobench data fetch {self.name}`)" if self.url else ""
                raise ValueError(
                    f"{self.name}: {files[part]} has changed: sha256 {seen[part]} when first seen, "
                    f"{sha} now. Results on it cannot be compared with earlier ones; restore it{again}, "
                    f"or delete {self.pins} to accept it"
                )

    def _side(self, parts: Mapping[str, AnnData], side: str) -> tuple[AnnData, AnnData]:
        mod1, mod2 = parts[f"{side}_mod1"], parts[f"{side}_mod2"]
        if self.task == "match_modality":
            labels = parts[f"{side}_sol"].obs
            if set(labels.index) == set(mod1.obs_names) and list(labels.index) != list(mod1.obs_names):
                raise ValueError(
                    f"{self.name}: expected the cells of {side}_sol in {side}_mod1's order, found another "
                    "one: which partner is whose cannot be told; restore the competition's files"
                )
            mod2 = mod2[np.argsort(pairing(parts[f"{side}_sol"]), kind="stable")].copy()
            mod2.obs_names = mod1.obs_names
            for column in [c for c in LABELS if c in labels and c not in mod1.obs]:
                mod1.obs[column] = labels[column].to_numpy()
        mod1.obs["is_train"] = side == "train"
        return mod1, mod2


def check_part(part: str, file: Path, content: AnnData) -> None:
    """Check one file of the competition.

    Raises
    ------
    ValueError : it has no cells, or one twice; a modality has no known feature type, a matching's solution no
        pairing; says which file.
    """
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


def _stack(sides: list[AnnData]) -> AnnData:
    import anndata as ad

    train, test = sides
    if not train.var_names.equals(test.var_names):
        raise ValueError(
            f"training and test files have different features: {train.n_vars} and {test.n_vars}, "
            f"{len(train.var_names.difference(test.var_names))} of them only in training"
        )
    both = ad.concat(sides, merge="first", uns_merge="first")
    both.var = train.var.copy()
    return both
