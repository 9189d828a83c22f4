"""The card of a submitted method: what it is, by whom, and which cells its predictions are of."""

import json
import re
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from scmobench.experiment.config import names
from scmobench.experiment.schema import whole
from scmobench.tasks.base import DIRECTIONS
from scmobench.types import TASKS

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _.()-]{0,58}[A-Za-z0-9)])?")
LONGEST = 2000  # characters of a text
LINK = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True)
class Card:
    """A method as its authors describe it.

    Attributes
    ----------
    name : in the tables. Names of the suite's own methods are taken.
    task, dataset, direction, data_hash : the cells; the hash is that of `Paired`.
    authors, description, licence, link : for readers; the link may be empty.
    transductive : whether the fit saw the test cells' inputs.
    label_supervised : whether it saw training cells' labels.
    """

    name: str
    task: str
    dataset: str
    direction: str
    authors: str
    description: str
    licence: str
    link: str = ""
    data_hash: str = ""
    transductive: bool = False
    label_supervised: bool = False

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

    def content(self) -> bytes:
        """The card as JSON."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_card(content: bytes) -> Card:
    """The card from its JSON. Raises ValueError for anything else."""
    try:
        found: Any = json.loads(content.decode(), parse_int=whole)
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
