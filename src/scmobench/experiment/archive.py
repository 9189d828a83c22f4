"""Archives of predictions: a zip of one card and one h5ad file a seed, and nothing else.

The card says what the method is, by whom, and which cells its predictions are of. Archives come from
strangers. Names, kinds and declared sizes are checked before anything is unpacked; no more than the declared
bytes are ever written; no file in it is run or unpickled.
"""

import json
import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from scmobench.data.foreign import check_file
from scmobench.experiment.config import names
from scmobench.experiment.schema import whole_number
from scmobench.machine.files import whole
from scmobench.tasks.base import DIRECTIONS
from scmobench.types import TASKS

CARD = "card.json"
PREDICTION = re.compile(r"seed-(0|[1-9]\d{0,8})\.h5ad")
LARGEST = 1 << 32  # bytes of an archive, and of what is in it
LARGEST_CARD = 1 << 16  # bytes
MOST = 100  # files
DIRECTORY = 1 << 16  # bytes of the list of files at the end of a zip
END, END_BYTES, LOCATOR, LOCATOR_BYTES = b"PK\x05\x06", 22, b"PK\x06\x07", 20  # see PKWARE's APPNOTE 4.3
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _.()-]{0,58}[A-Za-z0-9)])?")
LONGEST = 2000  # characters of a text
LINK = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True)
class Card:
    """A method as its authors describe it."""

    name: str  # in the tables; names of the suite's own methods are taken
    task: str
    dataset: str
    direction: str
    authors: str  # for readers, as the three below
    description: str
    licence: str
    link: str = ""  # may be empty
    data_hash: str = ""  # that of `Paired`
    transductive: bool = False  # whether the fit saw the test cells' inputs
    label_supervised: bool = False  # whether it saw training cells' labels

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), field.type
            if type(value) is not kind:
                expected = "true or false" if kind is bool else "a text"
                raise ValueError(f"expected {field.name} of the card to be {expected}, found {value!r:.80}")
            if kind is str and (odd := next((sign for sign in value if not sign.isprintable()), "")):
                raise ValueError(
                    f"expected one line of visible characters as {field.name} of the card, found {odd!r} in "
                    f"{value!r:.80}: remove the invisible character"
                )
            if kind is str and len(value) > LONGEST:
                raise ValueError(
                    f"expected one line of at most {LONGEST} characters as {field.name} of the card, found "
                    f"{value!r:.40}: shorten it"
                )
            if kind is str and field.default is MISSING and not value.strip():
                raise ValueError(f"expected {field.name} on the card, found none: give --{field.name}")
        self._check_choices()

    def _check_choices(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(
                "expected a name of at most 60 letters, digits, spaces and _ . ( ) -, found "
                f"{self.name!r:.80}: choose another"
            )
        if self.name.casefold() in map(str.casefold, names("model")):
            raise ValueError(f"expected a name of its own, found {self.name!r}, a method of the suite")
        choices = {"task": TASKS, "dataset": sorted({*names("dataset")} - {"own"}), "direction": DIRECTIONS}
        for field, known in choices.items():
            if (value := getattr(self, field)) not in known:
                raise ValueError(f"expected {field} to be one of {', '.join(known)}, found {value!r:.80}")
        if self.link and not LINK.fullmatch(self.link):
            raise ValueError(f"expected a link https://…, found {self.link!r:.80}")


def _read_card(content: bytes) -> Card:
    """The card from its JSON. Raises ValueError for anything else."""
    try:
        found: Any = json.loads(content.decode(), parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a card in JSON, found {content[:40]!r} ({error})") from error
    known = {field.name for field in fields(Card)}
    if not isinstance(found, dict) or (odd := sorted(set(found) - known)):
        told = f"the fields {', '.join(odd)[:80]}" if isinstance(found, dict) else repr(found)[:80]
        raise ValueError(f"expected a card with {', '.join(sorted(known))}, found {told}")
    needed = {field.name for field in fields(Card) if field.default is MISSING}
    if lacking := sorted(needed - set(found)):
        raise ValueError(f"expected {', '.join(lacking)} on the card, found none: use `scmobench submit`")
    return Card(**found)


def pack(path: Path, card: Card, predictions: Mapping[int, Path]) -> Path:
    """Write an archive of a card and of the predictions by seed. The same input gives the same bytes."""
    text = json.dumps(asdict(card), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    members = {CARD: text.encode()} | {f"seed-{seed}.h5ad": predictions[seed] for seed in sorted(predictions)}
    with whole(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in members.items():
            about = zipfile.ZipInfo(name, BEGINNING)
            about.external_attr = (stat.S_IFREG | 0o644) << 16
            about.compress_type = zipfile.ZIP_DEFLATED if name == CARD else zipfile.ZIP_STORED
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(about, data)
    return path


def unpack(path: Path, folder: Path) -> tuple[Card, dict[int, Path]]:
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
    return _read_card((folder / CARD).read_bytes()), predictions


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
