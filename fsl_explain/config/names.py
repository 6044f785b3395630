"""Settings that name what a registry holds: an unknown name is an error with the nearest one, and nothing is loaded."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from episodes.errors import Mistake
from episodes.registry import Registry
from fsl_explain.registries import (
    MASKINGS,
    METHODS,
    MOSAIC_HEADS,
    POOLINGS,
    REMOVALS,
    RULES,
    SIMILARITIES,
    checked_encoder,
)

CLASS_LOGIT = "grad-cam-logit"
"""Of a comparison alone: Grad-CAM of a classifier's own logit, which no decision by similarity has."""
RELATION = "relation"
"""The similarity of a relation module, whose weights are a file of their own."""
COUNTED = "majority-vote"
"""The rule whose decision is a count of votes, and not the largest of the scores that are explained."""


def named(table: Registry[Any], *also: str) -> AfterValidator:
    """Return the check that a setting names a member of a table, or one of those ``also`` taken."""
    return AfterValidator(lambda name: table.checked(name, *also))


def _decides_by_its_scores(name: str) -> str:
    if name == COUNTED:
        raise Mistake(f"expected a rule that decides by its scores, but {COUNTED} counts votes; use knn-vote.")
    return name


Readout = Literal["class", "class-direct", "class-last", "mean", "class+mean", "attention-pool", "integrated"]
"""How the embedding of a network of tokens comes about."""
SimilarityName = Annotated[str, named(SIMILARITIES)]
LearnedSimilarityName = Annotated[str, named(SIMILARITIES, RELATION)]
RuleName = Annotated[str, named(RULES)]
ScoringRuleName = Annotated[str, named(RULES), AfterValidator(_decides_by_its_scores)]
PoolingName = Annotated[str, named(POOLINGS)]
MethodName = Annotated[str, named(METHODS)]
ComparedMethodName = Annotated[str, named(METHODS, CLASS_LOGIT)]
MaskingName = Annotated[str, named(MASKINGS)]
RemovalName = Annotated[str, named(REMOVALS)]
MosaicHeadName = Annotated[str, named(MOSAIC_HEADS)]
EncoderName = Annotated[str, AfterValidator(checked_encoder)]


def of_its_kind(values: object, kinds: Registry[type[Any]], context: Any) -> object:
    """Read settings by the model of their kind.

    Raises: ``ValueError`` without a kind, ``LookupError`` for an unknown one.
    """
    if not isinstance(values, Mapping):
        return values
    if "kind" not in values:
        raise Mistake(f"expected a {kinds.kind}, but got none; give kind = {next(iter(kinds))!r}, for example")
    return kinds[str(values["kind"])].model_validate(values, context=context)
