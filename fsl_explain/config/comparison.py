"""The settings of a comparison of explainers on annotated images."""

from typing import Literal

from pydantic import Field, field_validator

from fsl_explain.config.center import CENTER, CenterConfig
from fsl_explain.config.data import DataConfig
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.mosaics import MosaicSizesConfig
from fsl_explain.config.names import ComparedMethodName, MaskingName, RemovalName, ScoringRuleName, SimilarityName
from fsl_explain.config.numbers import LARGEST_SEED, MOST, MOST_AT_ONCE
from fsl_explain.config.settings import RunConfig
from fsl_explain.config.strict import Settings
from fsl_explain.registries import MASKINGS, REMOVALS, RULES, SIMILARITIES


class MapsConfig(Settings):
    """The decision that is explained, the explainers, and the sample for what is slow."""

    methods: tuple[ComparedMethodName, ...] = Field(
        ("grad-cam", "relax", "fam", "exact", "contrast"),
        description="Explainers beside the baselines; grad-cam-logit is that of a classifier's own logit.",
    )
    rule: ScoringRuleName = Field("prototype", description=f"{RULES.listed()}.")
    similarity: SimilarityName = Field("cosine", description=f"{SIMILARITIES.listed()}.")
    shots: int = Field(
        5,
        ge=0,
        le=MOST_AT_ONCE,
        description="Support images of each class, never judged; 0: no decision, as in LaFAM's tables.",
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the supports, the sample and RELAX's masks.")
    sample: int = Field(
        100, ge=1, le=MOST, description="Images for explainers that ask the network again, and for the curves."
    )
    relax_masks: int = Field(2048, ge=1, le=MOST_AT_ONCE, description="Masks an image in RELAX.")
    relax_variant: Literal["official", "lafam"] = Field(
        "official", description="lafam: LaFAM's simplified masks; with 2,048 as many as a ResNet-50 has channels."
    )
    steps: int = Field(4, ge=1, le=MOST_AT_ONCE, description="Steps of the insertion and deletion curves.")
    removal_draws: int = Field(
        60,
        ge=0,
        le=MOST_AT_ONCE,
        description="Random sets of regions removed from each image of the sample, one pass each; 0: none.",
    )
    removal_grid: int = Field(7, ge=2, le=MOST_AT_ONCE, description="Regions a side: 7 makes 49 of them.")
    removal: RemovalName = Field("blur", description=f"What removed regions become: {REMOVALS.listed()}.")
    removed: MaskingName = Field("blur", description=f"What removed pixels become in the curves: {MASKINGS.listed()}.")
    figures: tuple[str, ...] = Field(
        (), description="Figures by name, such as auc; none: removed regions, curves, and LaFAM's six."
    )


class ComparisonConfig(Settings):
    """Explainers compared on the same decisions of the same images, as ``fsl-explain compare`` runs it.

    Raises: ``ValueError`` for a name or value that is not there.
    """

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    center: CenterConfig | None = CENTER
    maps: MapsConfig = MapsConfig()
    mosaics: MosaicSizesConfig | None = Field(None, description="Mosaics shown first; none are made for false.")
    run: RunConfig = RunConfig()

    @field_validator("mosaics", mode="before")
    @classmethod
    def _none_of_false(cls, given: object) -> object:
        return None if given is False else given
