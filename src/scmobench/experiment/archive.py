"""Archives of predictions: a zip of one card and one h5ad file a seed, and nothing else.

Archives come from strangers. Names, kinds and declared sizes are checked before anything is unpacked; no more
than the declared bytes are ever written; no file in it is run or unpickled.
"""

import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from scmobench.data.foreign import check_file
from scmobench.machine.files import whole

CARD = "card.json"
PREDICTION = re.compile(r"seed-(0|[1-9]\d{0,8})\.h5ad")
LARGEST = 1 << 32  # bytes of an archive, and of what is in it
LARGEST_CARD = 1 << 16  # bytes
MOST = 100  # files
DIRECTORY = 1 << 16  # bytes of the list of files at the end of a zip
END, END_BYTES, LOCATOR, LOCATOR_BYTES = b"PK\x05\x06", 22, b"PK\x06\x07", 20  # see PKWARE's APPNOTE 4.3
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def pack(path: Path, card: bytes, predictions: Mapping[int, Path]) -> Path:
    """Write an archive of a card and of the predictions by seed. The same input gives the same bytes."""
    members = {CARD: card} | {f"seed-{seed}.h5ad": predictions[seed] for seed in sorted(predictions)}
    with whole(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in members.items():
            about = zipfile.ZipInfo(name, BEGINNING)
            about.external_attr = (stat.S_IFREG | 0o644) << 16
            about.compress_type = zipfile.ZIP_DEFLATED if name == CARD else zipfile.ZIP_STORED
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(about, data)
    return path


def unpack(path: Path, folder: Path) -> tuple[bytes, dict[int, Path]]:
    """The card of an archive, and its predictions by seed, unpacked into an empty folder.

    Raises FileNotFoundError if there is no such file, and ValueError for what is no zip, for a file in it
    that is no card or prediction, and for sizes or content that cannot be.
    """
    check_file(path, "an archive of `scmobench submit`")
    _check_end(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
            _check_members(found, folder)
            for member in found:
                with archive.open(member) as source, (folder / member.filename).open("xb") as target:
                    shutil.copyfileobj(source, target)  # zipfile reads no more than is declared
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"expected a whole archive, found a damaged one ({error}): send it again") from error
    names = [member.filename for member in found]
    predictions = {int(PREDICTION.fullmatch(name)[1]): folder / name for name in names if name != CARD}
    return (folder / CARD).read_bytes(), predictions


def _check_end(path: Path) -> None:
    """Refuse what is no plain zip, or one whose list of files alone would fill the memory."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"expected an archive of at most {LARGEST} bytes, found {size}")
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES - LOCATOR_BYTES))
        last = file.read()
    end = last[-END_BYTES:]
    if not end.startswith(END) or last[:-END_BYTES].startswith(LOCATOR):
        raise ValueError("expected a zip archive as `scmobench submit` makes it, found another file")
    if (listed := int.from_bytes(end[12:16], "little")) > DIRECTORY:
        raise ValueError(f"expected a list of at most {MOST} files, found one of {listed} bytes")


def _check_members(found: list[zipfile.ZipInfo], folder: Path) -> None:
    for member in found:
        if reason := _unfit(member):
            raise ValueError(f"{member.orig_filename[:80]!r} in it {reason}")
    twice = [name for name, times in Counter(member.filename for member in found).items() if times > 1]
    if twice:
        raise ValueError(f"expected every file once, found {twice[0]!r} twice: pack it again")
    names = {member.filename for member in found}
    if CARD not in names or len(names) < 2 or len(names) > MOST:
        raise ValueError(
            f"expected {CARD} and 1 to {MOST - 1} predictions, found {len(names)} files: pack it by "
            "`scmobench submit`"
        )
    declared = sum(member.file_size for member in found)
    if declared > LARGEST:
        raise ValueError(f"expected at most {LARGEST} bytes in it, found {declared} declared")
    if declared > (free := shutil.disk_usage(folder).free):
        raise ValueError(f"expected {declared} bytes of free disk to unpack it, found {free}: make room")


def _unfit(member: zipfile.ZipInfo) -> str:
    """Why a file has no place in an archive; empty where it has."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        return "leads out of the archive: give files names without folders"
    if kind == stat.S_IFLNK:
        return "is a link: pack the file itself"
    if kind not in (0, stat.S_IFREG) or member.is_dir():
        return "is a folder, a device or a pipe: pack files alone"
    if member.flag_bits & 1:
        return "is encrypted: pack it without a password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed by another method than deflate: pack it again"
    if name != CARD and not PREDICTION.fullmatch(name):
        return f"is neither {CARD} nor a prediction, seed-0.h5ad: leave it out"
    if name == CARD and member.file_size > LARGEST_CARD:
        return f"has {member.file_size} bytes, more than {LARGEST_CARD}: shorten it"
    return ""
