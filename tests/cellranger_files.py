"""What Cell Ranger writes of cells with two modalities: an h5 file, or a folder of three texts."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp
from anndata import AnnData

TYPES = {"GEX": "Gene Expression", "ADT": "Antibody Capture", "ATAC": "Peaks"}


def stacked(cells: Sequence[AnnData]) -> sp.csr_matrix:
    """Both modalities side by side, in numbers that SciPy has."""
    dense = [m.X.toarray() if sp.issparse(m.X) else m.X for m in cells]
    return sp.csr_matrix(np.hstack(dense).astype(np.float64))


def features(cells: Sequence[AnnData]) -> list[tuple[str, str, str]]:
    """Identifier, name and type of each feature."""
    named = [(name, TYPES.get(kind, kind)) for m in cells for name, kind in m.var["feature_types"].items()]
    return [(f"ENSG{k}", *each) for k, each in enumerate(named)]


def write_h5(path: Path, cells: Sequence[AnnData]) -> None:
    """Cell Ranger's ``filtered_feature_bc_matrix.h5``."""
    X = stacked(cells)
    with h5py.File(path, "w") as file:
        for array in ("data", "indices", "indptr"):
            file[f"matrix/{array}"] = getattr(X, array)
        file["matrix/shape"] = X.shape[::-1]
        texts = dict(zip(("id", "name", "feature_type"), zip(*features(cells), strict=True), strict=True))
        texts = {f"features/{key}": values for key, values in texts.items()}
        for key, values in (texts | {"barcodes": cells[0].obs_names}).items():
            file[f"matrix/{key}"] = np.array([value.encode() for value in values])


def folder_texts(cells: Sequence[AnnData]) -> dict[str, str]:
    """The texts of Cell Ranger's folder by their files."""
    T = stacked(cells).T.tocoo()
    head = f"%%MatrixMarket matrix coordinate integer general\n%made up\n{T.shape[0]} {T.shape[1]} {T.nnz}\n"
    entries = "".join(f"{r + 1} {c + 1} {v:.17g}\n" for r, c, v in zip(T.row, T.col, T.data, strict=True))
    return {
        "matrix.mtx": head + entries,
        "features.tsv": "".join("\t".join(feature) + "\n" for feature in features(cells)),
        "barcodes.tsv": "".join(f"{name}\n" for name in cells[0].obs_names),
    }


def write_folder(folder: Path, texts: dict[str, str]) -> None:
    """Each text in its file, compressed."""
    for name, text in texts.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
