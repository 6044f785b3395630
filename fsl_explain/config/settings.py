"""The settings of an evaluation."""

from pydantic import Field, field_validator, model_validator

from episodes.errors import Mistake
from fsl_explain.config.center import CENTER, CenterConfig
from fsl_explain.config.data import DataConfig
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.names import RELATION, LearnedSimilarityName, MaskingName, MethodName, ScoringRuleName
from fsl_explain.config.numbers import LARGEST_SEED, MOST, MOST_AT_ONCE
from fsl_explain.config.relation import has_its_weights
from fsl_explain.config.strict import LocalPath, Settings
from fsl_explain.engine import ENGINES, LOCAL, EngineOptions
from fsl_explain.registries import MASKINGS, METHODS, OWN, RULES, SIMILARITIES


class EpisodesConfig(Settings):
    """The few-shot tasks."""

    count: int = Field(200, ge=1, le=MOST, description="Number of episodes.")
    n_way: int = Field(5, ge=2, le=MOST_AT_ONCE, description="Classes in an episode.")
    n_shot: int = Field(1, ge=1, le=MOST_AT_ONCE, description="Support images per class.")
    n_query: int = Field(15, ge=1, le=MOST_AT_ONCE, description="Query images per class.")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed; episode i depends on it and i alone.")


class DecisionConfig(Settings):
    """How a query is given a class."""

    rule: ScoringRuleName = Field("mean-similarity", description=f"{RULES.listed()}.")
    similarity: LearnedSimilarityName = Field("cosine", description=f"{SIMILARITIES.listed(RELATION)}.")
    relation_checkpoint: LocalPath | None = Field(
        None, description="The weights of the relation module, for the similarity relation; pooling is flatten."
    )

    _has_its_weights = model_validator(mode="after")(has_its_weights)


class ExplanationConfig(Settings):
    """What is explained, and how the maps are judged."""

    methods: tuple[MethodName, ...] = Field(
        ("fam", "exact", "contrast"), description=f"Explainers beside the baselines, of {METHODS.listed()}."
    )
    metrics: tuple[str, ...] = Field(
        (), description=f"Metrics beside AD, IC, Proportion, IoU and pointing: auc, for example, or {OWN} of your own."
    )
    masking: MaskingName = Field("mean", description=f"What removed pixels become: {MASKINGS.listed()}.")
    iou_threshold: float = Field(0.2, gt=0, lt=1, description="Share of the maximum above which a pixel counts.")


class RunConfig(Settings):
    """How the machine is used; changes no figure beyond rounding."""

    batch_size: int = Field(
        16, ge=1, le=MOST_AT_ONCE, description="Images per forward pass: 8 or 16 on a CPU, 64 or more on a GPU."
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=MOST_AT_ONCE,
        description="CPU threads, of each worker too; None: PyTorch's default, and for workers a share of the cores.",
    )
    device: str = Field("cpu", description="The device of the encoder: cpu, cuda or cuda:0.")
    engine: str = Field(
        LOCAL, description=f"What runs the parts of long work: {ENGINES.listed()}. Local is this process alone."
    )
    workers: int | None = Field(
        None, ge=1, le=MOST_AT_ONCE, description="Processes that process or ray has; None: one for each processor."
    )

    @field_validator("engine")
    @classmethod
    def _is_known(cls, engine: str) -> str:
        return ENGINES.checked(engine)

    @model_validator(mode="after")
    def _has_workers(self) -> "RunConfig":
        _ = self.chosen_engine
        return self

    @property
    def chosen_engine(self) -> EngineOptions:
        """The engine with its workers, each with these threads, and with a GPU where the encoder is on one."""
        return EngineOptions(self.engine, self.workers, self.threads, int(self.device.startswith("cuda")))


class EvaluationConfig(Settings):
    """An evaluation: episodes of a data set, decided, explained and measured, as ``fsl-explain evaluate`` runs it.

    Raises: ``ValueError`` for a name or value that is not there.
    """

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    center: CenterConfig | None = CENTER
    episodes: EpisodesConfig = EpisodesConfig()
    decision: DecisionConfig = DecisionConfig()
    explanation: ExplanationConfig = ExplanationConfig()
    run: RunConfig = RunConfig()

    def limited(self, episodes: int | None) -> "EvaluationConfig":
        """Return the same evaluation of the first ``episodes`` alone, or of all that there are where these are fewer.

        None: of all. Raises: ``ValueError`` for fewer than 1.
        """
        if episodes is None:
            return self
        if episodes < 1:
            raise Mistake(f"expected a --limit of at least 1 episode, but got {episodes}.")
        fewer = self.episodes.model_copy(update={"count": min(episodes, self.episodes.count)})
        return self.model_copy(update={"episodes": fewer})
