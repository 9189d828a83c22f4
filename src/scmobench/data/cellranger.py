"""The folder that Cell Ranger (or STARsolo) writes: a matrix in text, and the names of cells and features."""

import csv
import re
from pathlib import Path

import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.declared import one_line
from scmobench.data.foreign import memory_share
from scmobench.data.matrix import checked_matrix
from scmobench.data.table import BLOCK, check_text, open_text, read_table

FILES = ("matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz")
OLD = ("features", "genes")  # before version 3, Cell Ranger did not compress its files
FIELDS = ("integer", "unsigned-integer", "real", "pattern")
TEXT = 2**16  # bytes of a line at most
ENTRY = 32  # bytes of memory that a value takes while the matrix is read


def read_tenx_folder(folder: Path) -> AnnData:
    """The matrix, cells x features, with ``var["feature_types"]`` where the files state them."""
    matrix, barcodes, features = (_found(folder, name) for name in FILES)
    check_text(matrix)
    cells, table = map(_names, (barcodes, features))
    try:
        X = checked_matrix(_values(matrix), matrix.name)
        for file, names, n in ((barcodes, cells, X.shape[0]), (features, table, X.shape[1])):
            if len(names) != n:
                raise ValueError(
                    f"{len(names)} lines with a name in {file.name}, and {n} declared in {matrix.name}: "
                    "take all three files from one folder of Cell Ranger"
                )
        names = table[min(1, table.shape[1] - 1)]  # symbols follow identifiers, if there are any
        var = pd.DataFrame(index=names.to_numpy())
        if table.shape[1] > 2:
            var["feature_types"] = table[2].to_numpy()
        return AnnData(X, pd.DataFrame(index=cells[0].to_numpy()), var)
    except Exception as error:
        raise ValueError(
            f"expected Cell Ranger's matrix folder at {folder}, found: {one_line(error)}"
        ) from error


def _names(file: Path) -> pd.DataFrame:
    """A table of names; quotes around every one, as R's write.table sets them, are not part of them."""
    table = read_table(file, sep="\t", header=None, quoting=csv.QUOTE_NONE)
    return table.apply(lambda names: names.str[1:-1] if names.str.fullmatch('".*"').all() else names)


def _values(matrix: Path) -> sp.csr_matrix:
    """The matrix of a Matrix Market file, transposed. Raises ValueError if its head declares another."""
    from scipy.io import mmread

    rows, columns, stored = _declared(matrix)
    try:
        X = mmread(matrix).T.tocsr()
    except ValueError as error:
        lack = re.search(r"another (\d+) lines", str(error))
        line = re.match(r"Line (\d+): (?!Too many)", str(error))
        found = f"{stored - int(lack[1])} of the {stored}" if lack else f"more than the {stored}"
        found = f"{found} values that {matrix.name} declares"
        if line:
            found = (
                f"line {line[1]} of {matrix.name} without a row to {rows}, a column to {columns} and a value"
            )
        raise ValueError(f"{found}: copy the file again from where it was made") from error
    if X.nnz != stored:
        raise ValueError(f"two values for one cell and feature in {matrix.name}")
    return X


def _found(folder: Path, name: str) -> Path:
    plain = name.removesuffix(".gz")
    for other in (name, plain, plain.replace(*OLD)):
        if (folder / other).is_file():
            return folder / other
    raise FileNotFoundError(f"expected {', '.join(FILES)} in {folder}, found no {name}")


def _declared(matrix: Path) -> tuple[int, int, int]:
    """Rows, columns and values that a Matrix Market file declares; refuses a file of another kind."""
    with open_text(matrix) as stream:
        head = stream.readline(TEXT).decode(errors="replace").split()
        line = b"%"
        while line.startswith(b"%"):
            line = stream.readline(TEXT)
        if head[:1] != ["%%MatrixMarket"] or head[2:3] != ["coordinate"] or head[4:] != ["general"]:
            raise ValueError(f"the first line {' '.join(head)[:80]!r} in {matrix.name}")
        if head[3] not in FIELDS:
            raise ValueError(f"{head[3]} values in {matrix.name}; expected {', '.join(FIELDS)}")
        if not re.fullmatch(rb"\s*\d+\s+\d+\s+\d+\s*", line):
            raise ValueError(
                f"{line[:80]!r} in {matrix.name} in place of numbers of rows, columns and values"
            )
        rows, columns, values = map(int, line.split())
        if max(values, rows, columns) * ENTRY > memory_share() or values > rows * columns:
            raise ValueError(f"{values} values in a matrix of {rows} x {columns} declared in {matrix.name}")
        # SciPy would read only the digits before the point.
        while head[3] != "real" and (block := stream.read(BLOCK)):
            if re.search(rb"[.eE]", block):
                raise ValueError(f"fractions among {head[3]} values in {matrix.name}; declare them real")
    return rows, columns, values
