"""Overrides as people type them: a path or a name is text, whatever characters it holds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

# settings of a dataset that are text, of all sources
DATASET = (
    "name source licence organism empty_features empty_cells batch cell_type layer gex mod2 h5ad h5mu tenx "
    "kind labels folder path env dataset task url protocol wheel_sha256 file_sha256"
)
TEXT = ("runs", *(f"dataset.{key}" for key in DATASET.split()))


def as_text(overrides: Sequence[str]) -> list[str]:
    """The overrides, with quotes around values that Hydra would not read as the text that they are.

    Hydra's grammar refuses brackets, quotes, ``=``, ``~`` and letters with accents in an unquoted value, and
    reads ``1_2`` as the number 12. Values that it reads as text, as null or as a list of a sweep stay as they
    are, unless there is a file of that whole name. A ``~`` at the start is the home folder.
    """
    parser = OverridesParser.create()
    return [_quoted(parser, override) for override in overrides]


def _quoted(parser: OverridesParser, override: str) -> str:
    key, given, value = override.partition("=")
    place = key.lstrip("+")
    if not given or not (place in TEXT or (place.startswith("model.") and place.endswith(".pathway"))):
        return override
    try:
        read = parser.parse_override(override)
    except HydraException:
        pass  # it is no value of the grammar: the text is what was typed
    else:
        said = read.value()
        if said is None or said == value:
            return override
        if (isinstance(said, str) or read.is_sweep_override()) and not os.path.exists(value):
            return override
    return f"{key}={QuotedString(os.path.expanduser(value), Quote.single).with_quotes()}"
