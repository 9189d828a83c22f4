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
TABLES = {".csv": ",", ".tsv": "\\t", ".txt": "\\t"}  # what stands between two values


def refuse_other(path: Path, begin: bytes, what: str) -> None:
    """Raise ValueError, with what to do, for R's file, a table, or a zipped file; ``begin`` is its begin.

    ``what`` is the file that was expected, in words.
    """
    kind, file = path.suffix.lower(), f"expected {what} at {path}, found"
    if begin.startswith(b"\x89HDF"):
        return
    if kind in (".rds", ".rdata"):
        write = 'zellkonverter::writeH5AD(as.SingleCellExperiment(seurat, assay = "RNA"), "rna.h5ad")'
        raise ValueError(f"{file} R's file; write another in R, e.g. {write}")
    if kind in TABLES:
        read = f'anndata.io.read_csv({str(path)!r}, delimiter="{TABLES[kind]}")'
        write = f"{read}.write_h5ad({str(path.with_suffix('.h5ad'))!r})"
        raise ValueError(f"{file} a table; with one row a cell, in Python: {write}")
    if unpack := next((command for start, command in ZIPPED.items() if begin.startswith(start)), ""):
        plain = path.with_suffix("") if path.suffix in PACKED else path.with_name(f"unpacked_{path.name}")
        command = f"{unpack} {shlex.quote(str(path))} > {shlex.quote(str(plain))}"
        raise ValueError(f"{file} it zipped; unpack it: {command}")
