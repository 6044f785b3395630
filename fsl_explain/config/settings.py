"""The settings of an evaluation and of a training."""

from typing import Any, Literal

from pydantic import Field, model_validator

from fsl_explain.config.data import DataConfig
from fsl_explain.config.strict import LocalPath, Settings


class EncoderConfig(Settings):
    """From images to embeddings."""

    name: str = Field("conv4net", description="conv4net, efficientnet-lite0 or torchvision:<name>.")
    checkpoint: LocalPath | None = Field(None, description="Weights; None: published or random ones.")
    pooling: Literal["gap", "gmp", "lse", "gem"] = Field("gap", description="How maps become one value per channel.")
    inference: Literal["eager", "folded", "bf16"] = Field(
        "eager", description="eager; folded: batch normalization inside the convolutions; bf16: that in bfloat16."
    )
    architecture: dict[str, Any] = Field(default_factory=dict, description="Further options of the network.")


class EpisodesConfig(Settings):
    """The few-shot tasks."""

    count: int = Field(200, ge=1, description="Number of episodes.")
    n_way: int = Field(5, ge=2, description="Classes in an episode.")
    n_shot: int = Field(1, ge=1, description="Support images per class.")
    n_query: int = Field(15, ge=1, description="Query images per class.")
    seed: int = Field(0, ge=0, description="Seed; episode i depends on it and i alone.")


class DecisionConfig(Settings):
    """How a query is given a class."""

    rule: Literal[
        "mean-similarity", "prototype", "nearest-neighbor", "knn-vote", "logistic-regression", "cosine-classifier"
    ] = "mean-similarity"
    similarity: Literal["cosine", "inner-product", "euclidean"] = "cosine"


class ExplanationConfig(Settings):
    """What is explained, and how the maps are judged."""

    methods: tuple[str, ...] = Field(("fam", "exact", "contrast"), description="Explainers beside the baselines.")
    masking: Literal["mean", "black", "blur"] = Field("mean", description="What removed pixels become.")
    iou_threshold: float = Field(0.2, gt=0, lt=1, description="Share of the maximum above which a pixel counts.")


class RunConfig(Settings):
    """How the machine is used; changes no figure beyond rounding."""

    batch_size: int = Field(16, ge=1, description="Images per forward pass: 8 or 16 on a CPU, 64 or more on a GPU.")
    threads: int | None = Field(None, ge=1, description="CPU threads; None: PyTorch's default.")
    device: str = Field("cpu", description="The device of the encoder: cpu, cuda or cuda:0.")


class EvaluationConfig(Settings):
    """An evaluation: episodes of a data set, decided, explained and measured."""

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    episodes: EpisodesConfig = EpisodesConfig()
    decision: DecisionConfig = DecisionConfig()
    explanation: ExplanationConfig = ExplanationConfig()
    run: RunConfig = RunConfig()


class OptimizerConfig(Settings):
    """Stochastic gradient descent with Nesterov momentum and a cosine schedule."""

    learning_rate: float = Field(0.1, gt=0, description="The rate at the start.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    epochs: int = Field(20, ge=1, description="Passes of batches_per_epoch batches.")
    batches_per_epoch: int = Field(50, ge=1, description="Batches of episodes in an epoch.")
    episodes_per_batch: int = Field(4, ge=1, description="Episodes in a batch.")


class TrainingEpisodesConfig(Settings):
    """The few-shot tasks of training."""

    n_way: int = Field(5, ge=2, description="Classes in an episode.")
    n_shot: int = Field(1, ge=1, description="Support images per class.")
    n_query: int = Field(6, ge=1, description="Query images per class.")


class TrainingConfig(Settings):
    """An episodic training with a global and a few-shot loss."""

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    episodes: TrainingEpisodesConfig = TrainingEpisodesConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    temperature: float = Field(7.0, gt=0, description="Scale of the cosine in the few-shot loss.")
    flip: float = Field(0.5, ge=0, le=1, description="Probability of a horizontal flip.")
    seed: int = Field(0, ge=0, description="Seed of weights, episodes and augmentation.")
    threads: int | None = Field(None, ge=1, description="CPU threads; None: PyTorch's default.")
    output: LocalPath = Field(description="Where the weights go, as safetensors.")
    test: EvaluationConfig | None = Field(None, description="An evaluation of the trained encoder's accuracy.")

    @model_validator(mode="after")
    def _train_the_network_itself(self) -> "TrainingConfig":
        if self.encoder.inference != "eager":
            raise ValueError(f"training needs encoder.inference 'eager', but got {self.encoder.inference!r}; drop it.")
        return self
