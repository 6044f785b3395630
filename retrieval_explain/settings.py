"""The settings of an evaluation of retrieval and of its explanations."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    WrapValidator,
    field_validator,
    model_validator,
)

from episodes.errors import Mistake
from episodes.naming import unknown_name
from episodes.registry import Registry
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.config.center import CENTER, CenterConfig
from fsl_explain.config.data import DATA_SETS, DataConfig, DataOptions
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.names import SimilarityName, of_its_kind
from fsl_explain.config.settings import ExplanationConfig, RunConfig
from fsl_explain.config.strict import LocalPath, Settings
from fsl_explain.registries import NEIGHBOR_RULES, SIMILARITIES, rules_among
from retrieval_explain.bank_address import as_address, is_address

INDEX_KINDS = ("flat", "hnsw", "ivf", "ivf-pq")
DTYPES = ("float32", "float16")
LAYOUTS = ("auto", "rows", "columns")
"""How a file's matrix of embeddings lies: an embedding is a row or a column."""


class NeighborDecisionConfig(Settings):
    """How a query is given a class by its neighbors, by one rule or by several in one run."""

    rules: tuple[str, ...] = Field(
        ("knn-vote", "nearest-neighbor"), min_length=1, description=f"Of {', '.join(NEIGHBOR_RULES)}."
    )
    k: int = Field(
        DEFAULT_K, ge=1, le=DEFAULT_K, description="Neighbors that are looked at; all, where there are fewer."
    )
    temperature: float = Field(0.07, gt=0, description="Of the weighted vote: a neighbor has exp(similarity/this).")
    similarity: SimilarityName = Field("cosine", description=f"{SIMILARITIES.listed()}.")

    @field_validator("rules")
    @classmethod
    def _are_known_and_different(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            if rule not in rules_among(NEIGHBOR_RULES):
                raise Mistake(str(unknown_name("rule", rule, rules_among(NEIGHBOR_RULES))))
        return tuple(dict.fromkeys(rules))


def _checked_address(place: object) -> object:
    """Refuse an address that is none, which would else be taken for a folder."""
    return as_address(place).with_timeout if isinstance(place, str) and is_address(place) else place


def _on_server(text: str) -> str:
    if not is_address(text):
        raise ValueError("a folder")  # which the other kind of place takes
    return text


BankPlace = Annotated[Annotated[str, AfterValidator(_on_server)] | LocalPath, BeforeValidator(_checked_address)]
"""The address of a bank on a server, or a folder relative to the configuration file that names it."""


class BankData(Settings):
    """A stored bank, such as one imported from NPID or MoCo: its images need not be there."""

    kind: Literal["bank"]
    directory: BankPlace = Field(description="The folder of the bank, or milvus://host:port/collection.")


def _galleries() -> Registry[type[Settings]]:
    return Registry("kind of gallery", {**DATA_SETS, "bank": BankData})


GalleryConfig = Annotated[
    SerializeAsAny[DataOptions | BankData],
    WrapValidator(lambda values, read, info: read(of_its_kind(values, _galleries(), info.context))),
]


class BankEvaluationConfig(Settings):
    """An evaluation: each query's neighbors in a gallery, the decisions over them, and their explanations measured.

    Without a gallery the queries are searched among each other. No query finds its own file.
    """

    data: DataConfig
    gallery: GalleryConfig | None = Field(
        None, description="The images searched among, or a bank of them; None: the other queries."
    )
    encoder: EncoderConfig = EncoderConfig()
    center: CenterConfig | None = CENTER
    decision: NeighborDecisionConfig = NeighborDecisionConfig()
    explanation: ExplanationConfig = ExplanationConfig(methods=("fam", "exact", "contrast", "grad-cam"))
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _compares_alike(self) -> "BankEvaluationConfig":
        if self.center is not None and isinstance(self.gallery, BankData):
            raise Mistake(
                "a stored bank keeps its embeddings as they are, which centered queries cannot be compared with; give "
                "the images of the bank as [gallery], or drop [center]"
            )
        return self
