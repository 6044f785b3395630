"""The settings of a figure: the same images under several models, as FAM's Figs. 2 to 5 show them."""

from typing import Literal

from pydantic import Field

from fsl_explain.config.data import DataConfig
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.names import MethodName, RuleName, SimilarityName
from fsl_explain.config.numbers import LARGEST_SEED, MOST_AT_ONCE
from fsl_explain.config.settings import EpisodesConfig, RunConfig
from fsl_explain.config.strict import Settings
from fsl_explain.registries import METHODS, RULES, SIMILARITIES


class ModelConfig(Settings):
    """A row of the figure."""

    title: str = Field(description="What the row is called.")
    encoder: EncoderConfig


class FigureDecisionConfig(Settings):
    """How an image is given a class."""

    supports: Literal["episode", "gallery"] = Field(
        "episode", description="episode: the supports of a few-shot task; gallery: the nearest of all other images."
    )
    rule: RuleName = Field("mean-similarity", description=f"{RULES.listed()}.")
    similarity: SimilarityName = Field("cosine", description=f"{SIMILARITIES.listed()}.")
    k: int = Field(200, ge=1, le=MOST_AT_ONCE, description="Neighbors in the gallery that vote.")
    temperature: float = Field(0.07, gt=0, description="Temperature of knn-vote.")


class ShownConfig(Settings):
    """Which images are shown, and by which maps."""

    decisions: Literal["correct", "wrong"] = Field(
        "correct", description="correct: right under every model; wrong: wrong under every model, with two maps each."
    )
    method: MethodName = Field("fam", description=f"The explainer: {METHODS.listed()}.")
    images: int = Field(6, ge=1, le=MOST_AT_ONCE, description="Images in the figure.")
    among: int = Field(
        200, ge=1, le=MOST_AT_ONCE, description="Decisions that they are chosen from, the first of each class first."
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Order of the images of a gallery.")


class FigureConfig(Settings):
    """A grid of maps, a column for each image and a row for each model, as ``fsl-explain figure`` draws it.

    Raises: ``ValueError`` for a name or value that is not there, or no model.
    """

    data: DataConfig
    gallery: DataConfig | None = Field(None, description="The images searched; None: the other images of data.")
    models: tuple[ModelConfig, ...] = Field(min_length=1, description="The rows.")
    episodes: EpisodesConfig = EpisodesConfig()
    decision: FigureDecisionConfig = FigureDecisionConfig()
    shown: ShownConfig = ShownConfig()
    run: RunConfig = RunConfig()
