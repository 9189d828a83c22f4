"""Downloads that are checked before they are kept, and pins: hashes of files that were first read well."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scmobench.data.source import cache_folder
from scmobench.machine.files import whole


def download(address: str, file: Path, check: Callable[[Path], Any], advice: str) -> None:
    """Get a file, and keep it only if ``check`` takes it; of anything else nothing is left.

    Parameters
    ----------
    address : http, https, ftp or DOI.
    check : called with the downloaded file; raises ValueError where it is not what was asked for.
    advice : what the user can do, the end of a message.

    Raises
    ------
    OSError : it could not be downloaded.
    ValueError : ``check`` refuses it.
    """
    import pooch

    half = file.parent / "download.partial"  # the folder is held by one process
    shutil.rmtree(half, ignore_errors=True)
    try:
        try:
            got = Path(pooch.retrieve(address, known_hash=None, fname=file.name, path=half))
        except (OSError, ValueError) as error:
            raise OSError(f"expected a file at {address}, could not get it ({error}); {advice}") from error
        try:
            check(got)
        except ValueError as error:
            told = str(error).replace(str(got), address)
            raise ValueError(f"{told}; it was not kept: {advice}") from error
        got.replace(file)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def read_pins(path: Path) -> dict[str, str]:
    """Hash by name of a file's part; empty where nothing was pinned.

    Raises
    ------
    ValueError : the file of hashes is damaged.
    """
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
        if not isinstance(found, dict):
            raise ValueError(repr(found)[:40])
    except ValueError as error:
        raise ValueError(f"expected hashes of files in {path}, found {error}: delete it") from error
    return found


def write_pins(path: Path, found: Mapping[str, str]) -> None:
    """Write hashes into the cache, unless they stand there."""
    if read_pins(path) != found:
        cache_folder(path.parent.name)
        with whole(path) as partial:
            partial.write_text(json.dumps(found, indent=1))


def sha256(file: Path) -> str:
    """Of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
