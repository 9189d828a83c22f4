"""Tables and lists in text, plain or zipped by gzip, of anybody's."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, Any

import pandas as pd

from scmobench.data.declared import one_line
from scmobench.data.foreign import check_file, memory_share

BLOCK = 2**24  # bytes


def read_table(file: Path, **settings: Any) -> pd.DataFrame:
    """What `pandas.read_csv` makes of a file with ``settings``.

    Raises
    ------
    FileNotFoundError : there is none.
    ValueError : it is a pipe or a device, larger than half of the free memory, or no table.
    """
    check_text(file)
    try:
        return pd.read_csv(file, compression="gzip" if file.suffix == ".gz" else None, **settings)
    except Exception as error:
        raise ValueError(
            f"expected a table in text at {file}, found one that cannot be read: {one_line(error)}"
        ) from error


def open_text(file: Path) -> IO[bytes]:
    """Its bytes, unzipped."""
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def check_text(file: Path) -> None:
    """Unzip a file once without keeping it: a small one may hold more than the memory does.

    Raises
    ------
    FileNotFoundError, ValueError : as of `read_table`.
    """
    check_file(file, "a file of text")
    memory, size = memory_share(), 0
    try:
        with open_text(file) as stream:
            while size <= memory and (block := stream.read(BLOCK)):
                size += len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"expected text at {file}, found a damaged file: {one_line(error)}") from error
    if size > memory:
        raise ValueError(
            f"expected at most {memory / 2**30:.1f} GB, half of the free memory, in {file}; found more"
        )
