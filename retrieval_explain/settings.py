"""The settings of an evaluation of retrieval and of its explanations."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.classifiers.knn_vote import DEFAULT_K
from fsl_explain.config.data import DataConfig
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.settings import ExplanationConfig, RunConfig
from fsl_explain.config.strict import LocalPath, Settings
from retrieval_explain.ranking.neighbor_rules import NEIGHBOR_RULES


class NeighborDecisionConfig(Settings):
    """How a query is given a class by its neighbors, by one rule or by several in one run."""

    rules: tuple[str, ...] = Field(
        ("knn-vote", "nearest-neighbor"), min_length=1, description="knn-vote, majority-vote, nearest-neighbor."
    )
    k: int = Field(
        DEFAULT_K, ge=1, le=DEFAULT_K, description="Neighbors that are looked at; all, where there are fewer."
    )
    temperature: float = Field(0.07, gt=0, description="Of the weighted vote: a neighbor has exp(similarity/this).")
    similarity: Literal["cosine", "inner-product", "euclidean"] = "cosine"

    @field_validator("rules")
    @classmethod
    def _are_known_and_different(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            if rule not in NEIGHBOR_RULES:
                raise Mistake(str(unknown_name("rule", rule, NEIGHBOR_RULES)))
        return tuple(dict.fromkeys(rules))


class BankData(Settings):
    """A stored bank, such as one imported from NPID or MoCo: its images need not be there."""

    kind: Literal["bank"]
    directory: LocalPath = Field(description="The folder of the bank.")


class BankEvaluationConfig(Settings):
    """An evaluation: each query's neighbors in a gallery, the decisions over them, and their explanations measured.

    Without a gallery the queries are searched among each other. No query finds its own file.
    """

    data: DataConfig
    gallery: Annotated[DataConfig | BankData, Field(discriminator="kind")] | None = Field(
        None, description="The images searched among, or a bank of them; None: the other queries."
    )
    encoder: EncoderConfig = EncoderConfig()
    decision: NeighborDecisionConfig = NeighborDecisionConfig()
    explanation: ExplanationConfig = ExplanationConfig(methods=("fam", "exact", "contrast", "grad-cam"))
    run: RunConfig = RunConfig()
