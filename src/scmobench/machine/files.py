"""Files: names made of any text, content written whole or not at all, folders held by one process."""

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

ROOM = dict.fromkeys((None, errno.ENOSPC, errno.EDQUOT), "make room there, or ")  # torch gives no number
ROOM[errno.EFBIG] = "raise the limit of a file's size (ulimit -f), or "
LONGEST = 255  # bytes of a file's name on most file systems
TEMPORARY = "scmobench-temporary-"  # begins the names of temporary folders
BLOCK = 4096  # bytes that most file systems give a file at least
READABLE = 80  # characters of a text that a shortened name keeps
PLAIN = re.compile(r"(?![. ])[ -.0-\[\]-~]+(?<![. ])")  # printable ASCII without slash and backslash
SHORTENED = re.compile(r".*~[0-9a-f]{16}")
# files that killed processes leave behind, also those of earlier versions
LEFTOVER = re.compile(r"\..+\.partial|\.record\.json\.\d+|\.\d+\.prediction\.h5ad|tmp\w{8}|.+\.part(ial)?")


def path_of(text: str) -> Path:
    """The path that a text names; a ``~`` at its start that names no user's folder stays."""
    return Path(os.path.expanduser(text))


def checked_name(what: str, text: Any) -> str:
    """The text. Raises ValueError, with ``what`` it is for, if it is no text, empty or invalid Unicode."""
    if isinstance(text, str) and text.strip() and text == text.encode(errors="replace").decode():
        return text
    if isinstance(text, str) and text.strip():
        raise ValueError(f"expected {what} in UTF-8, found {text!r}: set a locale such as LC_ALL=C.UTF-8")
    advice = f"as text: \"{what}='{text}'\"" if isinstance(text, int | float) else f"{what}=NAME"
    raise ValueError(f"expected {what} to be a text that is not empty, found {text!r}; write {advice}")


def file_name(text: str, ending: str = "") -> str:
    """A name for a file or folder, made of any text (see `checked_name`). Two texts never get the same name.

    Printable ASCII stays as it is. A text with other characters or separators, one that starts or ends with a
    dot or a space, and one that is too long are cut to their first characters and 16 digits of their sha256.
    On a file system that ignores case, names that differ in case alone share a file.
    """
    checked_name("name", text)
    plain = PLAIN.fullmatch(text) and not SHORTENED.fullmatch(text)
    if plain and len(text + ending) <= LONGEST:
        return text + ending
    readable = re.sub(r"[^\w+,=\[\]-]", "_", text[:READABLE], flags=re.ASCII)
    return f"{readable}~{hashlib.sha256(text.encode()).hexdigest()[:16]}{ending}"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write, which replaces ``path`` at the end, so that a reader never meets half a file.

    Raises OSError if it cannot be written, e.g. on a full disk. Nothing of it is left.
    """
    partial = path.with_name(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
        found = getattr(error, "strerror", None)  # without our own file's name
        found = found or " ".join(str(error).split())
        advice = ROOM.get(getattr(error, "errno", None), "")
        temporary = path.parent.name.startswith(TEMPORARY)
        advice += "set TMPDIR to another folder" if temporary else "write to another folder"
        raise OSError(f"expected to write {path}, found {found}: {advice}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def claimed(folder: Path, told: str) -> Iterator[None]:
    """Hold a folder: another process that comes for it prints ``told`` and waits.

    The hold ends with its process, even if it is killed. Without flock, a process that was killed on another
    machine leaves its lock. Half-written files of killed processes are removed. Raises OSError if the
    folder cannot be held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")  # `file_name` never begins with a dot
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        with contextlib.suppress(OSError, ValueError):  # a lock of flock is empty
            number, host, *_ = Path(lock.lock_file).read_text().split()
            told += f" (process {number} on {host}; if it has ended, delete {lock.lock_file})"
        print(f"{told}: {folder}", flush=True)
        held = lock.acquire()
    except OSError as error:
        if error.filename:  # its own file cannot be opened
            raise
        raise OSError(
            f"expected a file system with locks at {folder}, found {error.strerror}: use a folder on another "
            "one, for runs by runs=FOLDER"
        ) from error
    with held:
        for path in [*folder.glob("*"), *folder.glob("training/*")]:
            if LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink()
        yield


def writable(folder: str | Path, advice: str) -> Path:
    """The folder, made if it is missing. Raises OSError with the advice if it cannot be written."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(BLOCK))  # an empty file fits a full disk
    except OSError as error:
        raise OSError(
            f"expected a folder that can be written at {folder}, found {error}; {advice}"
        ) from error
    return Path(folder)
