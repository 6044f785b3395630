"""The figures of "When metrics mislead", as small PNG files; drawn by misleading_metrics.py."""

from io import BytesIO
from pathlib import Path
from typing import Any

import PIL.Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.pictures.picture import overlay
from fsl_explain.pictures.shown_figure import as_png

SHOWN = 13
SIGNED = ("exact", "contrast", "exact, moved")
CURVES = {"exact": "#b2182b", "grad-cam": "#2166ac", "Gaussian": "#4d9221", "all ones": "#777777"}
STEPS = 8
COLORS = 256


def draw_maps(file: Path, scenes: Any, judged: dict[str, Tensor]) -> None:
    """Draw one scene under every map that the page judges, with three of its figures."""
    figure, panels = _figure(2, 5, (10, 4.9))
    names = [name for name in judged if name not in {"grad-cam", "all but one pixel"}]
    picture, mask = scenes.pictures[SHOWN], scenes.masks[SHOWN : SHOWN + 1]
    for axes, name in zip(panels, ["the scene", *names], strict=True):
        if name == "the scene":
            _show(axes, picture.movedim(0, -1), f"{name}: a {scenes.classes[int(scenes.labels[SHOWN])]}")
            continue
        saliency = judged[name][SHOWN]
        shown = saliency if name in SIGNED else saliency / saliency.max()
        found = metrics.map_figures(saliency[None], mask, k=500)
        _show(axes, overlay(picture, shown, name in SIGNED), name)
        numbers = (found.relevance_mass_accuracy, found.auc, found.sparseness)
        written = "  ".join(
            f"{word} {100 * float(v):.0f}" for word, v in zip(("mass", "AUC", "sparse"), numbers, strict=True)
        )
        axes.text(0.5, -0.05, written, transform=axes.transAxes, ha="center", va="top", fontsize=9)
    _save(figure, file)


def draw_references(file: Path, scenes: Any, exchanged: dict[str, tuple[Tensor, Tensor, float]]) -> None:
    """Draw the maps of one query for two references, one above the other, for every method."""
    figure, panels = _figure(2, 1 + len(exchanged), (10, 4.6))
    own = int(scenes.labels[SHOWN])
    other = (own + 1) % len(scenes.classes)
    columns = 1 + len(exchanged)
    picture = scenes.pictures[SHOWN]
    for row, label in enumerate((own, other)):
        support = scenes.support_pictures[label]
        _show(panels[row * columns], support.movedim(0, -1), f"reference: a {scenes.classes[label]}")
        for column, (method, maps) in enumerate(exchanged.items(), start=1):
            shown = maps[row][SHOWN]
            title = f"{method}, correlation {maps[2]:+.2f}" if row == 0 else ""
            _show(panels[row * columns + column], overlay(picture, shown, method in SIGNED), title)
    _save(figure, file)


def draw_curves(file: Path, scenes: Any, judged: dict[str, Tensor]) -> None:
    """Draw the mean deletion curves of some maps, once for each way of removing pixels."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    images = scenes.queries.flatten(0, 1)
    ways = {
        "removed pixels become the mean color": 0.0,
        "removed pixels are blurred": metrics.removed_pixels(images, "blur"),
    }
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, removed) in zip(panels, ways.items(), strict=True):
        for name, color in CURVES.items():
            curve = metrics.deletion(scenes.score, metrics.Side(images, judged[name].float(), removed), steps=STEPS)
            axes.plot(100 * curve.shares, curve.scores.nanmean(dim=0), color=color, label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("pixels removed, largest values first, %")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("similarity to the reference")
    panels[1].legend(frameon=False, fontsize=9)
    _save(figure, file)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns).flat)


def _show(axes: Axes, colors: Tensor, title: str) -> None:
    axes.imshow(colors.clamp(0, 1).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def _save(figure: Figure, file: Path) -> None:
    image = PIL.Image.open(BytesIO(as_png(figure, dpi=90))).convert("RGB")
    image.quantize(COLORS, dither=PIL.Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
