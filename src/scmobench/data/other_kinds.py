"""Files of other kinds, and what turns them into one that can be read."""

import shlex
from pathlib import Path

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
ZIPPED = {  # how a file of each kind begins, and the command that unpacks it
    b"\x1f\x8b": "gunzip -c",
    b"BZh": "bunzip2 -c",
    b"\xfd7zXZ": "xz -dc",
    b"(\xb5/\xfd": "zstd -dc",
    b"PK\x03\x04": "unzip -p",
}
BEGINS = max(map(len, ZIPPED))
READERS = {  # what reads a file with this ending as an AnnData, in Python
    ".csv": 'anndata.io.read_csv({}, delimiter=",")',
    **dict.fromkeys((".tsv", ".txt"), 'anndata.io.read_csv({}, delimiter="\\t")'),
    ".npy": "anndata.AnnData(numpy.load({}))",
    ".npz": "anndata.AnnData(scipy.sparse.load_npz({}))",
    ".mtx": "anndata.io.read_mtx({})",
    ".loom": "anndata.io.read_loom({})",
    ".zarr": "anndata.io.read_zarr({})",
}


def refuse_other(path: Path, begin: bytes, what: str) -> None:
    """Raise ValueError, with what to do, for R's file, one of `READERS` or a zipped one; ``begin`` begins it.

    ``what`` is the file that was expected, in words.
    """
    kind, file = path.suffix.lower(), f"expected {what} at {path}, found"
    if begin.startswith(b"\x89HDF") and kind != ".loom":
        return
    if kind in (".rds", ".rdata"):
        write = 'zellkonverter::writeH5AD(as.SingleCellExperiment(seurat, assay = "RNA"), "rna.h5ad")'
        raise ValueError(f"{file} R's file; write another in R, e.g. {write}")
    if path.name.startswith("matrix.mtx"):
        raise ValueError(f"{file} Cell Ranger's matrix; name its folder: dataset.tenx={path.parent}")
    if kind in READERS:
        write = f"{READERS[kind].format(repr(str(path)))}.write_h5ad({str(path.with_suffix('.h5ad'))!r})"
        raise ValueError(f"{file} a {kind} file; with one row a cell, in Python: {write}")
    if unpack := next((command for start, command in ZIPPED.items() if begin.startswith(start)), ""):
        plain = path.with_suffix("") if path.suffix in PACKED else path.with_name(f"unpacked_{path.name}")
        command = f"{unpack} {shlex.quote(str(path))} > {shlex.quote(str(plain))}"
        raise ValueError(f"{file} it zipped; unpack it: {command}")
