"""Tables in text from outside, plain or compressed by gzip."""

import gzip
import re
import zlib
from pathlib import Path
from typing import IO, Any

import pandas as pd

from scmobench.data.declared import gigabytes, one_line
from scmobench.data.foreign import check_file, memory_share

BLOCK = 2**24  # bytes read at a time


def read_table(file: Path, **settings: Any) -> pd.DataFrame:
    """The file read by `pandas.read_csv` with these settings, every value as the text that it is."""
    check_text(file)
    packed = "gzip" if file.suffix == ".gz" else None
    try:
        return pd.read_csv(file, compression=packed, dtype=str, na_filter=False, **settings)
    except Exception as error:
        told = one_line(error)
        if uneven := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", told):
            told = f"{uneven[1]} columns in its first line and {uneven[3]} in line {uneven[2]}"
        elif isinstance(error, pd.errors.EmptyDataError):
            told = "it is empty"
        elif isinstance(error, UnicodeDecodeError):
            told = f"byte {error.start} is no text in UTF-8: save the file in UTF-8"
        raise ValueError(
            f"expected a table in text at {file}, found one that cannot be read: {told}"
        ) from error


def open_text(file: Path) -> IO[bytes]:
    """The file as an uncompressed stream."""
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def check_text(file: Path) -> None:
    """Refuse a file that is damaged or, uncompressed, larger than half of the free memory."""
    check_file(file, "a file of text")
    with file.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if file.suffix == ".gz" and not packed:
        raise ValueError(
            f"expected {file} to be compressed by gzip, as its name says, found that it is not: "
            "compress it, or take .gz off its name"
        )
    memory, size = memory_share(), 0
    try:
        with open_text(file) as stream:
            while size <= memory and (block := stream.read(BLOCK)):
                size += len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"expected text at {file}, found a damaged file: {one_line(error)}") from error
    if size > memory:
        raise ValueError(
            f"expected at most {gigabytes(memory)}, half of the free memory, in {file}; found more"
        )
