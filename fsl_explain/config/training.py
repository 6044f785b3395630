"""The settings of a training: what is learned, from which images, by which steps."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from episodes.errors import Mistake
from fsl_explain.config.data import DataConfig
from fsl_explain.config.encoder import EncoderConfig
from fsl_explain.config.numbers import LARGEST_SEED, MOST, MOST_AT_ONCE
from fsl_explain.config.settings import EvaluationConfig
from fsl_explain.config.strict import LocalPath, Settings


class EpisodicObjective(Settings):
    """Few-shot tasks and, beside them, all base classes at once: the recipe of Cross Attention Network."""

    uses_labels: ClassVar[bool] = True

    kind: Literal["episodic"] = "episodic"
    n_way: int = Field(5, ge=2, le=MOST_AT_ONCE, description="Classes in an episode.")
    n_shot: int = Field(1, ge=1, le=MOST_AT_ONCE, description="Support images per class.")
    n_query: int = Field(6, ge=1, le=MOST_AT_ONCE, description="Query images per class.")
    episodes_per_batch: int = Field(4, ge=1, le=MOST_AT_ONCE, description="Episodes in a batch.")
    temperature: float = Field(7.0, gt=0, description="Scale of the cosine in the few-shot loss.")


class _ClassBatches(Settings):
    uses_labels: ClassVar[bool] = True

    classes_per_batch: int = Field(16, ge=2, le=MOST_AT_ONCE, description="Classes in a batch.")
    images_per_class: int = Field(
        5, ge=2, le=MOST_AT_ONCE, description="Images of each of them; a small class repeats its own."
    )


class MultiSimilarityObjective(_ClassBatches):
    """Multi-Similarity loss with its mining (Wang et al., 2019); defaults of the official code."""

    kind: Literal["multi-similarity"]
    alpha: float = Field(2.0, gt=0, description="Scale of the positive pairs.")
    beta: float = Field(40.0, gt=0, description="Scale of the negative pairs; the paper says 50, its code 40.")
    base: float = Field(0.5, description="Similarity from which pairs are pulled or pushed.")
    epsilon: float = Field(0.1, ge=0, description="Slack of the mining.")


class MarginObjective(_ClassBatches):
    """Margin loss with distance-weighted sampling (Wu et al., 2017); defaults of research-ms-loss."""

    kind: Literal["margin"]
    classes_per_batch: int = Field(24, ge=2, le=MOST_AT_ONCE, description="Classes in a batch.")
    margin: float = Field(0.2, gt=0, description="Half the gap between positive and negative distances.")
    boundary: float = Field(1.2, gt=0, description="β, the distance between positive and negative pairs.")
    learn_boundary: bool = Field(
        False, description="Learn a β for each class; research-ms-loss declares that but never trains it."
    )
    cutoff: float = Field(0.5, gt=0, description="Distances below it are sampled as if they were it.")


class InstanceObjective(Settings):
    """NPID's discrimination of instances with a memory bank (Wu et al., 2018)."""

    uses_labels: ClassVar[bool] = False

    kind: Literal["instance-discrimination"]
    batch_size: int = Field(256, ge=2, le=MOST_AT_ONCE, description="Images in a batch.")
    temperature: float = Field(0.07, gt=0, description="τ.")
    negatives: int = Field(
        4096, ge=0, le=MOST_AT_ONCE, description="Noise samples an image; 0: the softmax over all images."
    )
    momentum: float = Field(0.5, ge=0, lt=1, description="Share of the old memory in the new one.")


class MomentumContrastObjective(Settings):
    """Momentum contrast with a queue of keys; defaults of MoCo v2 (Chen et al., 2020)."""

    uses_labels: ClassVar[bool] = False

    kind: Literal["momentum-contrast"]
    batch_size: int = Field(256, ge=2, le=MOST_AT_ONCE, description="Images in a batch.")
    temperature: float = Field(0.2, gt=0, description="τ; MoCo v1 has 0.07.")
    queue: int = Field(65536, ge=2, le=MOST_AT_ONCE, description="Keys in the queue, a multiple of the batch.")
    momentum: float = Field(0.999, ge=0, lt=1, description="Share of the old key encoder in the new one.")


ObjectiveConfig = Annotated[
    EpisodicObjective | MultiSimilarityObjective | MarginObjective | InstanceObjective | MomentumContrastObjective,
    Field(discriminator="kind"),
]


class AugmentationConfig(Settings):
    """How an image is changed at random before each use."""

    crop: Literal["padded", "resized"] = Field(
        "padded", description="padded: resize, then crop with padding 8; resized: a random part, resized."
    )
    scale: tuple[float, float] = Field((0.2, 1.0), description="Share of the image that a resized part covers.")
    flip: float = Field(0.5, ge=0, le=1, description="Probability of a horizontal flip.")
    erasing: float = Field(0.0, ge=0, le=1, description="Probability that a rectangle is erased.")
    jitter: tuple[float, float, float, float] = Field(
        (0.0, 0.0, 0.0, 0.0), description="Strength of changes of brightness, contrast, saturation and hue."
    )
    jitter_probability: float = Field(1.0, ge=0, le=1, description="Probability of these changes.")
    grayscale: float = Field(0.0, ge=0, le=1, description="Probability of a gray image.")
    blur: float = Field(0.0, ge=0, le=1, description="Probability of a Gaussian blur of 0.1 to 2 pixels.")

    @model_validator(mode="after")
    def _cover_a_share(self) -> "AugmentationConfig":
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise Mistake(f"expected a scale of two rising shares above 0 and up to 1, but got {low}, {high}.")
        return self


class OptimizerConfig(Settings):
    """Steps down the gradient, and how their size changes."""

    kind: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(0.1, gt=0, description="The rate at the start.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    nesterov: bool = Field(True, description="Nesterov's form of the momentum.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    network_factor: float = Field(1.0, gt=0, description="Rate of the network : rate of everything behind it.")
    schedule: Literal["cosine", "steps"] = Field("cosine", description="cosine: to 0 at the end; steps: see rates.")
    rates: tuple[tuple[int, float], ...] = Field((), description="Of steps: pairs of an epoch and its new rate.")
    freeze_normalization: bool = Field(False, description="Batch normalization keeps its statistics.")
    epochs: int = Field(20, ge=1, le=MOST, description="Passes of batches_per_epoch batches.")
    batches_per_epoch: int | None = Field(
        None, ge=1, le=MOST, description="Batches in an epoch; None: as many as the images make."
    )

    @model_validator(mode="after")
    def _rates_belong_to_steps(self) -> "OptimizerConfig":
        if self.rates and self.schedule != "steps":
            raise Mistake(f"rates belong to schedule 'steps', but it is {self.schedule!r}; drop one of the two.")
        epochs = [epoch for epoch, _ in self.rates]
        if epochs != sorted(set(epochs)) or any(not 0 < epoch < self.epochs for epoch in epochs):
            raise Mistake(f"expected rates at rising epochs between 1 and {self.epochs - 1}, but got {epochs}.")
        if any(rate <= 0 for _, rate in self.rates):
            raise Mistake("expected rates above 0.")
        return self


class TrainingRunConfig(Settings):
    """How the machine is used; but for the precision it changes no weight beyond rounding."""

    device: str = Field("cpu", description="The device: cpu, cuda or cuda:0.")
    threads: int | None = Field(None, ge=1, le=MOST_AT_ONCE, description="CPU threads; None: PyTorch's default.")
    workers: int = Field(0, ge=0, le=MOST, description="Processes that prepare batches; 0: none beside the training.")
    precision: Literal["float32", "fp16", "bf16"] = Field(
        "float32", description="Precision of network and head; the loss is in float32."
    )
    keep_every: int = Field(
        200, ge=1, le=MOST, description="Batches between two saved states of an unfinished training."
    )


class TrainingConfig(Settings):
    """A training of an encoder, as ``fsl_explain.training.train`` and ``fsl-explain train`` run it.

    Raises: ``ValueError`` for a name or value that is not there, or an encoder that is not the network itself.
    """

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig().as_written
    objective: ObjectiveConfig = EpisodicObjective()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: TrainingRunConfig = TrainingRunConfig()
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of weights, batches and augmentation.")
    output: LocalPath = Field(description="Where the weights go, as safetensors.")
    test: EvaluationConfig | None = Field(None, description="An evaluation of the trained encoder's accuracy.")

    @field_validator("encoder")
    @classmethod
    def _as_it_is_written(cls, encoder: EncoderConfig) -> EncoderConfig:
        return encoder.as_written

    @model_validator(mode="after")
    def _train_the_network_itself(self) -> "TrainingConfig":
        if self.encoder.inference != "eager":
            raise Mistake(f"training needs encoder.inference 'eager', but got {self.encoder.inference!r}; drop it.")
        if self.test is not None and self.test.encoder != EncoderConfig():
            raise Mistake("the test is of the encoder that is trained, but [test.encoder] names one; drop it.")
        if self.output.suffix != ".safetensors":
            raise Mistake(f"expected an output that ends in .safetensors, but got {self.output}.")
        return self
