"""A folder for numba's compiled code, if the install and the user's cache folder are both read-only."""

import atexit
import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path


def ensure_folder() -> None:
    """Give numba a folder of this process and its children, if it would find none to write to.

    numba keeps compiled code beside the source, else in the user's cache folder. If it can write to neither,
    ``import scanpy`` fails. This folder is removed with the process, because another user could put code into
    a lasting folder with a known name.
    """
    given = os.environ.get("NUMBA_CACHE_DIR", "")
    if (given and _writable(Path(given))) or _writable(_users_folder()) or all(map(_writable, _sources())):
        return
    with contextlib.suppress(OSError):  # without room for temporary files little else works
        folder = tempfile.mkdtemp(prefix="scmobench-numba-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = folder


def _users_folder() -> Path:
    """The second folder that numba tries, after that of the source."""
    if sys.platform == "darwin":
        return Path(os.path.expanduser("~/Library/Caches/numba"))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _sources() -> list[Path]:
    """Folders of the code that numba compiles: ours and scanpy's."""
    scanpy = importlib.util.find_spec("scanpy")
    return [Path(origin).parent for origin in (__file__, scanpy and scanpy.origin) if origin]


def _writable(folder: Path) -> bool:
    """Whether files can be written there, once the folder is made."""
    with contextlib.suppress(OSError):
        present = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        return present.is_dir() and os.access(present, os.W_OK | os.X_OK)
    return False
