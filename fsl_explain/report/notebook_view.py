"""The two-sided view of an explanation in a notebook: point at a cell and see what it met. Needs ``anywidget``."""

from typing import Any

from episodes.errors import MissingPackage, Mistake
from fsl_explain.explainers import Explanation
from fsl_explain.explainers.explanation import expect_explanation
from fsl_explain.report.standing_pair import module, standing_pair, strongest, style

RENDER = """
function render({ model, el }) {
  const draw = () => standing(el, model.get("said"));
  draw();
  model.on("change:said", draw);
}
export default { render };
"""


def widget(explanation: Explanation, *, query: str = "the query") -> Any:
    """Return a notebook's widget: the query beside its strongest support and, for a contrast, that of its best rival.

    Pointing at a cell, or moving over the cells with the arrow keys, lights what it met on the other side, with its
    share of the score; a click holds it. The numbers are those of ``correspondence``. ``query`` is what the query is
    called.

    Raises: ``ImportError`` without ``anywidget``; ``ValueError`` for the explanation of a batch, of supports whose
    photographs were not given, or of a method whose pairs of cells do not add up; ``TypeError`` for no explanation.
    """
    expect_explanation(explanation)
    try:
        import anywidget  # noqa: PLC0415 - an optional dependency
        import traitlets  # noqa: PLC0415
    except ImportError:
        raise MissingPackage.of_extra("notebook", "anywidget", "a widget") from None
    if explanation.score.dim() != 0:
        raise Mistake("expected the explanation of one query, but got that of a batch; index it.")
    names = explanation.decision.classes
    shown = [(label, shot, f"{names[label]}, support {shot + 1}") for label, shot in strongest(explanation)]
    said = standing_pair(explanation, shown, query)
    if said is None:
        raise Mistake(
            "expected an explanation whose pairs of cells add up, with the photographs of its supports; use exact or "
            "contrast, and give images as supports."
        )

    class PairWidget(anywidget.AnyWidget):
        """An explanation to be pointed at."""

        _esm = f"{module()}{RENDER}"
        _css = style()
        said = traitlets.Dict().tag(sync=True)

    return PairWidget(said=said)
