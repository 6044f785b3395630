"""What a page is made of, as its author hands it over."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.evaluation import Table
from fsl_explain.explainers import Counterfactual, Explanation
from fsl_explain.explainers.explanation import expect_explanation
from fsl_explain.pictures.picture import shots


@dataclass(frozen=True)
class Case:
    """One query with its explanations, by the name each is shown under; all must be of the same image and decision.

    ``title`` is its heading. ``truth`` is its class, which need not be among the supports' classes, ``box`` the
    annotated (left, top, right, bottom) in pixels of the preprocessed image; None where they are not known.
    ``figures`` are values by explanation and metric, NaN where one is not defined. ``query_name`` is that of the
    query's file, ``support_names`` are by class those of the supports' files. ``main`` names the explanation that is
    drawn on the supports, None for the first. ``counterfactuals`` are of the same decision. ``prompts`` are by class,
    where prompts are the supports.

    Raises: ``ValueError`` or ``LookupError`` for parts that do not belong together; ``TypeError`` for what is no
    explanation.
    """

    title: str
    explanations: Mapping[str, Explanation]
    truth: str | None = None
    box: Float[Tensor, "4"] | None = None
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    query_name: str = ""
    support_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    main: str | None = None
    counterfactuals: Sequence[Counterfactual] = ()
    prompts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.explanations:
            raise Mistake(f"expected at least one explanation for the case {self.title!r}, but got none; add one.")
        for name in [*self.figures, *([] if self.main is None else [self.main])]:
            if name not in self.explanations:
                raise unknown_name("explanation", name, self.explanations)
        for name, explanation in self.explanations.items():
            self._check(name, explanation)
        first = self.main_explanation
        for name, files in self.support_names.items():
            self._check_files(name, files)
        for name in self.prompts:
            if name not in first.decision.classes:
                raise unknown_name("class", name, first.decision.classes)

    @property
    def main_name(self) -> str:
        """The name of the explanation that is drawn on the supports."""
        return next(iter(self.explanations)) if self.main is None else self.main

    @property
    def main_explanation(self) -> Explanation:
        """The explanation that is drawn on the supports."""
        return self.explanations[self.main_name]

    def _check_files(self, name: str, files: Sequence[str]) -> None:
        classes = self.main_explanation.decision.classes
        if name not in classes:
            raise unknown_name("class", name, classes)
        given = len(shots(self.main_explanation, classes.index(name)))
        if files and len(files) != given:
            raise Mistake(
                f"expected one file name for each of the {given} supports of {name}, but got {len(files)}; "
                "name them all, or none."
            )

    def _check(self, name: str, explanation: Explanation) -> None:
        expect_explanation(explanation)
        if explanation.score.dim() != 0:
            raise Mistake(
                f"expected the explanation of one query for {name!r}, but got that of a batch of "
                f"{len(explanation.score)}; index it."
            )
        first = next(iter(self.explanations.values()))
        if explanation.decision.classes != first.decision.classes or not torch.equal(explanation.image, first.image):
            raise Mistake(
                f"the explanations of a case are of one query and one set of classes, but {name!r} differs from "
                f"{next(iter(self.explanations))!r}; make a case for each."
            )


@dataclass(frozen=True)
class MapRow:
    """One image with the maps of several methods, to be shown side by side.

    ``title`` is its heading, ``image`` in [0, 1]. ``maps`` are saliencies by method, in [0, 1] but for ``signed``
    methods, whose negative pixels speak against the score. ``box`` is the annotated (left, top, right, bottom) in
    pixels of the image, None where there is none.

    Raises: ``ValueError`` for a map of another size than the image.
    """

    title: str
    image: Float[Tensor, "3 height width"]
    maps: Mapping[str, Float[Tensor, "_height _width"]]
    signed: Collection[str] = ()
    box: Float[Tensor, "4"] | None = None

    def __post_init__(self) -> None:
        for name, saliency in self.maps.items():
            if saliency.shape != self.image.shape[-2:]:
                raise Mistake(
                    f"expected the map of {name!r} to be of the size of its image, {tuple(self.image.shape[-2:])}, "
                    f"but got {tuple(saliency.shape)}; enlarge it."
                )


@dataclass(frozen=True)
class Page:
    """A page: what it is about, how it was made, rows of maps, its tables and its cases.

    ``title`` is its heading, ``lead`` the sentence below. ``notes`` come next and say what may mislead: a random
    network, a query in its own bank. ``facts`` are how it was made: encoder, data, seed, versions. ``rows`` are shown
    before ``tables`` and ``cases``.
    """

    title: str
    lead: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    cases: Sequence[Case] = ()
    rows: Sequence[MapRow] = ()
    notes: Sequence[str] = ()
