"""The settings of an encoder: its network, its pooling and its head."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from episodes.errors import MissingFile, Mistake
from fsl_explain.config.names import EncoderName, PoolingName, Readout
from fsl_explain.config.numbers import WIDEST, check_range
from fsl_explain.config.strict import LocalPath, Settings
from fsl_explain.registries import ENCODERS, OWN, POOLINGS, family_names

Side = Annotated[int, Field(ge=1, le=WIDEST)]


class HeadConfig(Settings):
    """The head of an encoder, from the pooled values to the embedding.

    ``linear`` and ``mlp`` need a ``width``, and have random weights unless a checkpoint brings them.

    Raises: ``ValueError`` for options of another kind of head, or a width that is missing.
    """

    kind: Literal["own", "none", "linear", "mlp"] = Field(
        "own", description="own: that of the named network, if it has one; linear; mlp: two layers with ReLU between."
    )
    width: int | None = Field(None, ge=1, le=WIDEST, description="Channels of the embedding, of linear and mlp.")
    hidden: int | None = Field(
        None, ge=1, le=WIDEST, description="Channels inside an mlp; None: as many as there are maps."
    )
    normalize: bool = Field(False, description="Whether linear or mlp end in embeddings of norm 1.")
    fresh: bool = Field(False, description="Random weights even with a checkpoint, to train a head on its network.")

    @model_validator(mode="after")
    def _have_the_sizes_of_their_kind(self) -> "HeadConfig":
        made = self.kind in ("linear", "mlp")
        if made and self.width is None:
            raise Mistake(f"a head of kind {self.kind!r} needs its width; give width = 128, for example")
        if not made and (self.width is not None or self.normalize):
            raise Mistake(f"width and normalize are of the kinds linear and mlp, but kind is {self.kind!r}")
        if self.hidden is not None and self.kind != "mlp":
            raise Mistake(f"hidden is of the kind mlp alone, but kind is {self.kind!r}")
        if self.fresh and self.kind == "none":
            raise Mistake("there is no head to draw fresh weights for, because kind is 'none'")
        return self


class EncoderConfig(Settings):
    """An encoder, from images to embeddings, as ``Encoder.from_config`` builds it.

    Raises: ``ValueError`` for a name or value that is not there, or options that do not go together.
    """

    name: EncoderName = Field("conv4net", description=f"{ENCODERS.listed(*family_names('NAME'), OWN)}.")
    checkpoint: LocalPath | None = Field(None, description="Weights; None: published or random ones.")
    source: str | None = Field(None, description="Where the checkpoint comes from, to be said when it is missing.")
    pooling: PoolingName | None = Field(
        None,
        description=f"How maps become pooled values, {POOLINGS.listed()}; None: as the network was trained.",
    )
    head: HeadConfig = Field(HeadConfig(), description="How pooled values become the embedding.")
    layer: str | None = Field(
        None,
        description="The layer whose maps are explained, of families of networks; None: the last of maps.",
    )
    layout: Literal["channels-first", "channels-last", "tokens"] | None = Field(
        None, description="How the maps of that layer lie; None: recognized."
    )
    tail: Literal["ignore", "network"] | None = Field(
        None,
        description="ignore: the pooled maps are compared, whatever is made of them; network: what that returns.",
    )
    readout: Readout | None = Field(
        None, description="How the embedding of a network of tokens comes about; None: as the network itself makes it."
    )
    inference: Literal["auto", "eager", "folded", "bf16", "fp16", "compiled"] = Field(
        "auto",
        description="auto: folded where a run only measures and that gives the same, else eager; eager: the network as "
        "it is written; folded: batch normalization inside the convolutions; bf16, fp16: that in half precision; "
        "compiled: folded and through torch.compile, which takes up to minutes with the first images.",
    )
    scales: tuple[Side, ...] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="Sides at which each image is seen, such as [224, 448]; None: as it is prepared.",
    )
    scale_weights: tuple[float, ...] | None = Field(None, description="The weight of each scale; None: equal ones.")
    support_scales: tuple[Side, ...] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="Sides at which supports are seen, one for each scale or one for all; None: as the query.",
    )
    detail: int = Field(
        0, ge=0, le=8, description="How often the grid of the last maps is doubled for maps that can be; 0: as it is."
    )
    biases: Literal["drawn", "apart"] = Field(
        "drawn", description="What the network's own biases carry is drawn with a detail, or stays apart."
    )
    seen_classes: Literal["refuse", "allow"] = Field(
        "refuse", description="What an evaluation does where it meets classes that the weights were trained on."
    )
    architecture: dict[str, Any] = Field(
        default_factory=dict, description="Further options of the network, and size, mean and std of its images."
    )

    @field_validator("architecture")
    @classmethod
    def _in_range(cls, architecture: dict[str, Any]) -> dict[str, Any]:
        check_range(architecture)
        side = architecture.get("size")
        if isinstance(side, int | float) and not 1 <= side <= WIDEST:
            raise Mistake(f"expected a size of 1 to {WIDEST:,} pixels, but got {side}")
        return architecture

    @model_validator(mode="after")
    def _fit_scales_and_detail(self) -> "EncoderConfig":
        if self.biases == "apart" and not self.detail:
            raise Mistake("biases = 'apart' is of finer maps, but detail is 0; give detail = 1, or leave biases out")
        if self.scale_weights is not None and len(self.scale_weights) != len(self.scales or ()):
            raise Mistake(
                f"expected a weight for each of {len(self.scales or ())} scales, but got {len(self.scale_weights)}; "
                "give as many scale_weights as scales, or none"
            )
        if self.support_scales is not None and len(self.support_scales) not in (1, len(self.scales or ())):
            raise Mistake(
                f"expected one side of supports or one for each of {len(self.scales or ())} scales, but got "
                f"{len(self.support_scales)}; give support_scales = [224], for example"
            )
        if self.support_scales is not None and self.scales is None:
            raise Mistake("support_scales are of images at several scales, but there are no scales; give both or none")
        return self

    @property
    def read(self) -> dict[str, Any]:
        """What is read of a network of a family, as options of it; empty where nothing is said."""
        said = {"layer": self.layer, "layout": self.layout}
        return {option: value for option, value in said.items() if value is not None}

    @property
    def as_written(self) -> "EncoderConfig":
        """The encoder for what needs the network as it is written, such as training: auto becomes eager."""
        return self.model_copy(update={"inference": "eager"}) if self.inference == "auto" else self

    def check_there(self) -> None:
        """Refuse a checkpoint that is not there. Raises: ``FileNotFoundError``, with where it comes from."""
        if self.checkpoint is not None and not self.checkpoint.exists():
            where = "check the path" if self.source is None else f"it comes from {self.source}"
            raise MissingFile(f"the checkpoint {self.checkpoint} does not exist; {where}.")
