"""The page of an audit: the likeliest mislabeled images, each beside its nearest neighbors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from episodes.labeled_image import read_image
from fsl_explain.report import Page
from fsl_explain.report.heatmap import Picture, photograph
from fsl_explain.report.html import render
from retrieval_explain.audit.audit_table import Suspect
from retrieval_explain.audit.label_audit import Audit
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.memory_bank import MemoryBank

TEMPLATES = Path(__file__).parent
THUMBNAIL_WIDTH = 150  # CSS pixels
SHOWN_NEIGHBORS = 5
HOW_TO_READ = (
    "Each row is an image whose label fits its place among the others worst, and the images of the bank that are most "
    "similar to it. A label that its neighbors do not share may be wrong, or the image may be unusual: look at it."
)


@dataclass(frozen=True)
class Thumbnail:
    """An image with its label, or the reason why it cannot be shown."""

    picture: Picture | None
    fault: str
    title: str
    label: str
    file: str


@dataclass(frozen=True)
class SuspectView:
    """One suspect: the image, then its nearest neighbors."""

    title: str
    sentence: str
    images: tuple[Thumbnail, ...]


def audit_page(bank: MemoryBank, found: Audit, doubted: Sequence[Suspect], page: Page) -> str:
    """Return the page of an audit as HTML; an image that cannot be read is said so in its place."""
    names = dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True))
    views = [_view(bank, one, names) for one in doubted]
    return render("audit.html", TEMPLATES, page=page, suspects=views, how_to_read=HOW_TO_READ)


def _view(bank: MemoryBank, one: Suspect, labels: dict[int, int]) -> SuspectView:
    shown = one.neighbors[:SHOWN_NEIGHBORS]
    images = [_thumbnail(bank, one.row, "in doubt", one.label)]
    images += [
        _thumbnail(bank, row, f"neighbor {rank}", class_name(bank, labels[row])) for rank, row in enumerate(shown, 1)
    ]
    flipped = " The label was flipped on purpose." if one.flipped else ""
    return SuspectView(
        title=f"#{one.rank} · labeled {one.label}",
        sentence=f"{100 * one.support:.0f} % of its {len(one.neighbors)} nearest are labeled {one.suggested}, "
        f"{100 * one.agreement:.0f} % as it is; worth {one.worth:+.3f}.{flipped}",
        images=tuple(images),
    )


def _thumbnail(bank: MemoryBank, row: int, title: str, label: str) -> Thumbnail:
    path = bank.paths[row]
    file = path.replace("\\", "/").rsplit("/", 1)[-1]
    if not path:
        return Thumbnail(None, f"the bank knows no file of row {row}", title, label, file)
    try:
        return Thumbnail(photograph(read_image(path), f"{title}: {label}", THUMBNAIL_WIDTH), "", title, label, file)
    except (OSError, ValueError) as error:
        return Thumbnail(None, str(error), title, label, file)
