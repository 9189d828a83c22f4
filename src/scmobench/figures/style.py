"""One look for all pictures, and files whose bytes depend on what they show alone.

A picture is `WIDTH` inches across: 400 pixels of a page, at which its smallest text is 9 pixels high. It lies
on a light card of its own, so that the colours keep their contrast on light and dark pages.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

WIDTH = 4.0  # inches
DPI = 240
CARD, INK, FAINT, GRID = "#fafaf8", "#24292f", "#667079", "#dfe2e5"
METHODS = ("#0072b2", "#d55e00", "#009e73", "#aa4499")  # of Okabe and Ito 2008, and one of Tol's
MARKERS = ("o", "s", "D", "^")
CONTROL = "#8a929a"
# Paul Tol's muted scheme, which people with any colour vision can tell apart
TYPES = ("#332288", "#cc6677", "#117733", "#ddb94d", "#66b8e8", "#882255", "#44aa99", "#999933", "#aa4499")
OTHER = "#c4c8cc"
STYLE = {
    "font.family": ["DejaVu Sans"],
    **dict.fromkeys(("font.size", "axes.labelsize"), 7),
    "axes.titlesize": 7.5,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 6.5),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), FAINT),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width", "grid.linewidth"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    "axes.facecolor": "none",
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.axisbelow": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "figure.constrained_layout.use": True,
    **dict.fromkeys(("figure.constrained_layout.h_pad", "figure.constrained_layout.w_pad"), 0.05),
}


def styled() -> AbstractContextManager[None]:
    """The style, whatever the user's own settings of matplotlib are."""
    return matplotlib.style.context(STYLE, after_reset=True)


def canvas(height: float) -> Figure:
    """An empty picture of ``height`` inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="none")
    corner = 0.06
    card = FancyBboxPatch(
        (corner, corner),
        WIDTH - 2 * corner,
        height - 2 * corner,
        boxstyle=f"round,pad={corner},rounding_size={corner}",
        facecolor=CARD,
        edgecolor="none",
        transform=figure.dpi_scale_trans,
        zorder=-1,
    )
    card.set_in_layout(False)
    figure.add_artist(card)
    return figure


def webp(figure: Figure) -> bytes:
    """The picture as lossless WebP, without metadata: nothing but its pixels decides the bytes."""
    from PIL import Image

    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    pixels, file = Image.fromarray(np.asarray(drawn.buffer_rgba())), io.BytesIO()
    pixels.save(file, "WEBP", lossless=True, quality=100, method=6)
    return file.getvalue()


def legend(figure: Figure, handles: Sequence, columns: int) -> None:
    """One legend for all panels, below them."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def headed(axes: Axes, title: str, note: str) -> None:
    """A title, and a fainter line below it."""
    axes.set_title(f"{title}\n", pad=1)
    axes.text(0.5, 1.01, note, transform=axes.transAxes, ha="center", va="bottom", size=6.5, color=FAINT)


def rows(axes: Axes, names: Sequence[str]) -> np.ndarray:
    """Heights of named rows, the first on top, each on a faint line."""
    heights = np.arange(len(names), 0, -1)
    axes.set(yticks=heights, yticklabels=names, ylim=(0.4, len(names) + 0.6))
    axes.yaxis.grid(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return heights
