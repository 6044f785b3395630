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

    Raises: ``ValueError`` or ``LookupError`` for parts that do not belong together; ``TypeError`` for what is no
    explanation.
    """

    title: str  # its heading
    explanations: Mapping[str, Explanation]
    truth: str | None = None  # class name, which need not be among the supports' classes
    box: Float[Tensor, "4"] | None = None  # annotated x1 y1 x2 y2 in pixels of the preprocessed image
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # explanation → metric → value or NaN
    query_name: str = ""  # of the query's file
    support_names: Mapping[str, Sequence[str]] = field(default_factory=dict)  # class → file name of each support
    main: str | None = None  # the explanation drawn on the supports; None: the first
    counterfactuals: Sequence[Counterfactual] = ()  # of the same decision
    prompts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # class → prompts, where they are the supports

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

    Raises: ``ValueError`` for a map of another size than the image.
    """

    title: str  # its heading
    image: Float[Tensor, "3 height width"]  # in [0, 1]
    maps: Mapping[str, Float[Tensor, "_height _width"]]  # saliency by method, in [0, 1] but for signed ones
    signed: Collection[str] = ()  # the methods whose maps have a sign: negative pixels speak against
    box: Float[Tensor, "4"] | None = None  # annotated x1 y1 x2 y2 in pixels of the image

    def __post_init__(self) -> None:
        for name, saliency in self.maps.items():
            if saliency.shape != self.image.shape[-2:]:
                raise Mistake(
                    f"expected the map of {name!r} to be of the size of its image, {tuple(self.image.shape[-2:])}, "
                    f"but got {tuple(saliency.shape)}; enlarge it."
                )


@dataclass(frozen=True)
class Page:
    """A page: what it is about, how it was made, rows of maps, its tables and its cases."""

    title: str  # its heading
    lead: str = ""  # the sentence below the title
    facts: Mapping[str, str] = field(default_factory=dict)  # how it was made: encoder, data, seed, versions
    tables: Sequence[Table] = ()
    cases: Sequence[Case] = ()
    rows: Sequence[MapRow] = ()  # maps side by side, before everything else
    notes: Sequence[str] = ()  # what may mislead, which a page says first: a random network, a query in its own bank
