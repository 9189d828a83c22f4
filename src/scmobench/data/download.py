"""Downloads that are checked before they are kept, and pins: hashes of files that were read once."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scmobench.data.source import cache_folder
from scmobench.machine.files import whole


def download(address: str, file: Path, check: Callable[[Path], Any], advice: str) -> None:
    """Download a file, and keep it only if ``check`` accepts it.

    Parameters
    ----------
    address : http, https, ftp or DOI.
    check : called with the downloaded file; raises ValueError for a wrong one.
    advice : end of the error message.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would tell how to pin the file in a program
    half = file.parent / "download.partial"  # one process at a time holds the folder
    shutil.rmtree(half, ignore_errors=True)
    try:
        try:
            print(f"downloading {address}", file=sys.stderr)
            getter = pooch.core.choose_downloader(address, progressbar=sys.stderr.isatty())
            got = pooch.retrieve(address, None, fname=file.name, path=half, downloader=getter)
            got = Path(got)
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
    """Pinned hash by name of a file; empty where nothing is pinned."""
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
        if not isinstance(found, dict):
            raise ValueError(repr(found)[:40])
    except ValueError as error:
        raise ValueError(f"expected hashes of files in {path}, found {error}: delete it") from error
    return found


def write_pins(path: Path, found: Mapping[str, str]) -> None:
    """Pin these hashes, in the cache."""
    if read_pins(path) != found:
        cache_folder(path.parent.name)
        with whole(path) as partial:
            partial.write_text(json.dumps(found, indent=1))


def sha256(file: Path) -> str:
    """Hash of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
