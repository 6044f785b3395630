"""Figures that a notebook shows by themselves, though pyplot does not know them."""

from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fsl_explain.turns import DRAWING, alone


class ShownFigure(Figure):
    """A figure of matplotlib that is the last value of a notebook's cell as a picture, not as text.

    IPython learns how to draw figures when pyplot first draws one, which nothing here does.
    """

    def _repr_png_(self) -> bytes:
        return as_png(self)


def empty_figure(width: float, height: float) -> ShownFigure:
    """Return a figure of that many inches, with nothing on it."""
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@alone([DRAWING])
def as_png(figure: Figure, dpi: float = 100.0) -> bytes:
    """Return the bytes of a figure as a PNG file of ``dpi`` dots an inch; figures that are made alike give the same."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
