"""The settings of the reference-mosaics benchmark."""

from typing import Literal

from pydantic import Field, model_validator

from fsl_explain.config.data import DataConfig
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.names import RELATION, LearnedSimilarityName, MethodName, MosaicHeadName, ScoringRuleName
from fsl_explain.config.numbers import LARGEST_SEED, MOST, WIDEST
from fsl_explain.config.relation import has_its_weights
from fsl_explain.config.settings import RunConfig
from fsl_explain.config.strict import LocalPath, Settings
from fsl_explain.registries import MOSAIC_HEADS, RULES, SIMILARITIES


class MosaicSizesConfig(Settings):
    """The mosaics, and what is compared on them."""

    count: int = Field(500, ge=1, le=MOST, description="Number of mosaics.")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed; mosaic i depends on it and i alone.")
    crop: Literal["box", "image"] = Field(
        "box", description="A tile is the annotated box grown to a square, or the whole image."
    )
    side: int | None = Field(
        None,
        ge=2,
        le=WIDEST,
        description="Side of a mosaic in pixels; None: of the encoder's images, so that tiles have half.",
    )
    fit_share: float = Field(0.5, gt=0, lt=1, description="Share of each class's images kept for fitting heads.")
    rule: ScoringRuleName = Field("mean-similarity", description=f"{RULES.listed()}.")
    similarity: LearnedSimilarityName = Field("cosine", description=f"{SIMILARITIES.listed(RELATION)}.")
    relation_checkpoint: LocalPath | None = Field(
        None, description="The weights of the relation module, for the similarity relation; pooling is flatten."
    )
    heads: tuple[MosaicHeadName, ...] = Field(
        ("none", "center", "pca-128", "linear", "lda", "class-pca"),
        min_length=1,
        description=f"Heads on the pooled features, of {MOSAIC_HEADS.listed()}; the examples on the page use the last.",
    )
    methods: tuple[MethodName, ...] = Field(
        ("fam", "grad-cam", "exact", "contrast"), description="Explainers beside the baselines."
    )

    _has_its_weights = model_validator(mode="after")(has_its_weights)


class MosaicsConfig(Settings):
    """A benchmark with a known right answer: which of four tiles is the reference's class?

    ``fsl-explain mosaics`` runs it. Raises: ``ValueError`` for a name or value that is not there.
    """

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    mosaics: MosaicSizesConfig = MosaicSizesConfig()
    run: RunConfig = RunConfig()
