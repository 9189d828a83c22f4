"""Files: names for them made of any text, content written whole or not at all, folders held by a process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

LONGEST = 255  # bytes of a file's name on most file systems
READABLE = 80  # characters of a text that its shortened name keeps
PLAIN = re.compile(r"(?![. ])[ -.0-\[\]-~]+(?<![. ])")  # printable ASCII without slash and backslash
SHORTENED = re.compile(r".*~[0-9a-f]{16}")
# what processes that were killed leave behind, those of earlier versions too
LEFTOVER = re.compile(r"\..+\.partial|\.record\.json\.\d+|\.\d+\.prediction\.h5ad|tmp\w{8}|.+\.part(ial)?")


def checked_name(what: str, text: Any) -> str:
    """The text, if it can name a data set, a method or a task.

    Raises
    ------
    ValueError : it is no text, empty, or no valid Unicode; says which name it is.
    """
    if isinstance(text, str) and text.strip():
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    advice = f"as text: \"{what}='{text}'\"" if isinstance(text, int | float) else f"{what}=NAME"
    raise ValueError(f"expected {what} to be a text that is not empty, found {text!r}; write {advice}")


def file_name(text: str, ending: str = "") -> str:
    """A name for a file or folder, made of any text; two texts never get the same one.

    Printable ASCII stays as it is. A text with other characters or separators, one that starts or ends
    with a dot or a space, and one that is too long keeps its first characters and gets 16 digits of its
    sha256. On a file system that ignores case, names that differ in case alone share a file.

    Raises
    ------
    ValueError : see `checked_name`.
    """
    checked_name("name", text)
    plain = PLAIN.fullmatch(text) and not SHORTENED.fullmatch(text)
    if plain and len(text + ending) <= LONGEST:
        return text + ending
    readable = re.sub(r"[^\w+,=\[\]-]", "_", text[:READABLE], flags=re.ASCII)
    return f"{readable}~{hashlib.sha256(text.encode()).hexdigest()[:16]}{ending}"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of ``path`` at the end: a reader never meets half a file.

    Raises
    ------
    OSError : it cannot be written, e.g. on a full disk; nothing is left of it.
    """
    partial = path.with_name(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError where a disk is full
        found = " ".join(str(error).split())
        raise OSError(
            f"expected to write {path}, found {found}: make room there, or write to another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def claimed(folder: Path, told: str) -> Iterator[None]:
    """Hold a folder: another process that comes for it says ``told`` and waits.

    The hold ends with its process, be it killed. What killed processes left half written is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")  # no name of a text begins with a dot
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        print(f"{told}: {folder}", flush=True)
        held = lock.acquire()
    with held:
        for path in [*folder.glob("*"), *folder.glob("training/*")]:
            if LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink()
        yield


def writable(folder: str | Path, advice: str) -> Path:
    """The folder, made where it is missing, if it can be written.

    Raises
    ------
    OSError : it cannot; ends in the advice.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"expected a folder that can be written at {folder}, found {error}; {advice}"
        ) from error
    return Path(folder)
