"""Encoders: from images to activation maps, pooled values and embeddings, with the network left untouched."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from episodes import BlueGreenRed, direct_resize
from episodes.errors import Mistake, WrongType
from episodes.geometry import Geometry, geometry_of, steps_of
from fsl_explain.backbones.capture import activation_maps_of, evaluating, find_layer
from fsl_explain.backbones.inference_modes import for_inference
from fsl_explain.backbones.named import IMAGENET_MEAN, IMAGENET_STD, NamedNetwork, build_named
from fsl_explain.backbones.weights.checkpoint import check_usable
from fsl_explain.config import EncoderConfig, HeadConfig
from fsl_explain.heads import POOLINGS, Pooling
from fsl_explain.image_batch import image_batch

Preprocess = Callable[[Image.Image], Tensor]
Found = TypeVar("Found")
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Features:
    """What an encoder makes of images, with any leading dimensions."""

    maps: Float[Tensor, "*batch channel h w"]  # activation maps A
    pooled: Float[Tensor, "*batch channel"]  # Z
    embedding: Float[Tensor, "*batch embedding"]  # Z' = head(Z), which the similarity compares

    def __getitem__(self, index: Any) -> "Features":
        """Index the leading dimensions of all three alike."""
        return Features(self.maps[index], self.pooled[index], self.embedding[index])

    def in_float64(self) -> "Features":
        """Return pooled values and embeddings in float64; the maps, much larger, stay as they are."""
        return Features(self.maps, self.pooled.double(), self.embedding.double())

    def unflatten(self, *leading: int) -> "Features":
        """Give the one leading dimension the shape ``leading``."""
        return Features(
            self.maps.unflatten(0, leading), self.pooled.unflatten(0, leading), self.embedding.unflatten(0, leading)
        )


class Encoder:
    """A network seen as images → activation maps → pooled → embedding.

    Calling it runs in eval mode without gradients, on the network's own device and in its own dtype, and gives the
    network back as it was. What a network in half precision computes is pooled and embedded in float32,
    by a copy of its head where that is in half precision too. ``mean`` and ``std`` are those of the normalized
    pixels, or None where a preprocessing of the user's own hides them.

    ``inference`` is ``eager``, the network itself; ``folded``, a copy of it as it is now, channels last and with
    batch normalization folded into the convolutions before it, which is faster and equal up to rounding; or
    ``bf16``, that copy in bfloat16.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        layer: nn.Module | None = None,
        pooling: str | Pooling = "gap",
        head: nn.Module | None = None,
        preprocess: Preprocess | None = None,
        description: str = "",
        inference: str = "eager",
    ) -> None:
        self.inference = inference
        self.pooling = _pooling(pooling)
        self.head = nn.Identity() if head is None else _head_in_full_precision(head)
        self.transform: Preprocess = preprocess or direct_resize(224, IMAGENET_MEAN, IMAGENET_STD)
        self.description = description or type(network).__name__
        check_usable(network, self.description)
        self.network, self.layer = for_inference(network, layer, inference)
        self._channels_last = True

    @classmethod
    def named(
        cls,
        name: str,
        *,
        checkpoint: str | Path | None = None,
        pooling: str | Pooling | None = None,
        head: nn.Module | HeadConfig | None = None,
        inference: str = "eager",
        **architecture: Any,
    ) -> "Encoder":
        """Build an encoder by name, with the pooling and the head of its paper unless others are given.

        Few-shot, for images of 84×84 and with LeakyReLU 0.1: ``conv4net``, ``conv64f``, ``resnet12``, ``resnet18``
        and ``wrn-28-10``; with ReLU: ``can-resnet12``. Metric learning, with max pooling, a linear head and BGR images
        of 227×227: ``bn-inception``. Self-supervised, with heads of 128 channels: ``npid-resnet18``,
        ``npid-resnet50``, ``moco-resnet50`` and ``moco-v2-resnet50``; without a head: ``simclr-resnet50`` and
        ``swav-resnet50``. Classifiers: ``supervised-resnet50``, ``efficientnet-lite0`` and ``torchvision:<name>``.

        Without a checkpoint ``efficientnet-lite0`` has its published ImageNet weights; the others have
        random ones drawn from ``seed`` (default 0), unless ``weights`` names torchvision's. ``size`` is
        the side of the square images, ``mean`` and ``std`` are those of their pixels; further keywords go to the
        network. ``head`` is a module ready for use, or a description: ``HeadConfig(kind="none")`` for none.

        A checkpoint may be an official one: its release is recognized by its names, or named with ``release``, and
        the activation, the pooling and the images that it was trained with are taken unless others are given.

        Raises: ``LookupError`` for an unknown name, with the nearest ones; ``ValueError`` for a checkpoint
        that does not fit.
        """
        path = None if checkpoint is None else Path(checkpoint)
        config = HeadConfig(kind="none") if isinstance(head, nn.Module) else head
        built: NamedNetwork = build_named(name, path, head=config, **architecture)
        layer = None if built.layer is None else find_layer(built.network, built.layer)
        weights = built.weights if inference == "eager" else f"{built.weights}, {inference}"
        return cls(
            built.network,
            layer=layer,
            pooling=built.pooling if pooling is None else pooling,
            head=head if isinstance(head, nn.Module) else built.head,
            preprocess=built.preprocessing.transform,
            description=f"{name} ({weights})",
            inference=inference,
        )

    @classmethod
    def from_config(cls, config: EncoderConfig, *, device: str = "cpu") -> "Encoder":
        """Build the encoder a configuration describes, its network and its head on a device.

        Raises: ``ValueError`` for a device that is not there; otherwise as ``named``.
        """
        config.check_there()
        encoder = cls.named(
            config.name,
            checkpoint=config.checkpoint,
            pooling=config.pooling,
            head=config.head,
            inference=config.inference,
            **config.architecture,
        )
        try:
            encoder.network.to(device)
            encoder.head.to(device)
        except (RuntimeError, AssertionError) as error:
            raise Mistake(f"expected a device this machine has, but got {device!r}; use cpu.") from error
        return encoder

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        layer: str | nn.Module,
        *,
        head: nn.Module | None = None,
        pooling: str | Pooling = "gap",
        preprocess: Preprocess | None = None,
        inference: str = "eager",
    ) -> "Encoder":
        """Wrap any network; ``layer`` is the name or the module whose output is explained.

        Images are resized to 224×224 and normalized with ImageNet's statistics unless ``preprocess``,
        from a PIL image to a (3, H, W) tensor, says otherwise.

        Raises: ``LookupError`` for an unknown layer, with the nearest names.
        """
        return cls(
            module,
            layer=find_layer(module, layer),
            pooling=pooling,
            head=head,
            preprocess=preprocess,
            inference=inference,
        )

    def __call__(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Return activation maps, pooled values and embeddings of a batch of preprocessed images."""
        with evaluating(self.network, self.head):
            maps = self.run(self._maps, images)
            with torch.autocast(maps.device.type, enabled=False):
                maps = in_full_precision(maps)
                pooled = self.pooling(maps)
                # a copy, because a head may begin with a layer that overwrites its input
                return Features(maps.detach(), pooled, self.head(pooled.clone()))

    def run(self, forward: Callable[[Tensor], Found], images: Float[Tensor, "batch 3 height width"]) -> Found:
        """Call a forward pass with images on the network's device, in its dtype, channels last if it bears that.

        Convolutions are faster so, but a network that flattens its maps with ``view`` fails; it is called again with
        the images as they are, and from then on only so.
        """
        parameter = next(self.network.parameters(), images)
        placed = images.to(parameter.device, parameter.dtype)
        if self._channels_last and images.dim() == 4:
            try:
                return forward(placed.contiguous(memory_format=torch.channels_last))
            except RuntimeError as error:
                if "view" not in str(error):
                    raise
                self._channels_last = False
        return forward(placed)

    def _maps(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        layer = self.layer
        maps: Tensor = self.network(images) if layer is None else activation_maps_of(self.network, layer, images)
        return maps

    def preprocess(self, images: Any) -> Float[Tensor, "batch 3 height width"]:
        """Turn a list of images into one batch, on the CPU, the same pixels from a file as from its PIL image.

        An image is a PIL image of any mode, a path, an array (height, width, 3) or (height, width) of uint8 or of
        floats from 0 to 1, or an integer tensor (3, height, width). Each becomes upright RGB, transparency on white.

        Raises: ``TypeError`` for anything else, or a single image; ``ValueError`` for none, or for different sizes.
        """
        return image_batch(self.transform, images)

    @property
    def carries_boxes(self) -> bool:
        """Whether the preprocessing moves boxes and masks with their image."""
        return isinstance(self.transform, v2.Transform)

    @property
    def image_size(self) -> int | None:
        """The side of the square images its preprocessing makes, or None when it does not show it."""
        kinds = v2.Resize | v2.CenterCrop
        sizes = [list(step.size) for step in steps_of(self.transform) if isinstance(step, kinds)]
        return int(sizes[-1][0]) if sizes and len(sizes[-1]) == 2 and sizes[-1][0] == sizes[-1][1] else None

    @property
    def geometry(self) -> Geometry | None:
        """How the preprocessing resizes and cuts a photograph, or None when it does not show it."""
        return geometry_of(self.transform)

    @property
    def normalization(self) -> tuple[list[float], list[float]] | None:
        """The mean and standard deviation of the preprocessing, or None when it does not show them.

        They are in the order of the channels that the network sees, which ``bgr`` tells.
        """
        found = [step for step in steps_of(self.transform) if isinstance(step, v2.Normalize)]
        return (list(found[-1].mean), list(found[-1].std)) if found else None

    @property
    def bgr(self) -> bool:
        """Whether the preprocessing makes images whose channels are blue, green and red."""
        return sum(isinstance(step, BlueGreenRed) for step in steps_of(self.transform)) % 2 == 1

    @property
    def black(self) -> Float[Tensor, "3 1 1"] | None:
        """What a black pixel becomes, or None when the preprocessing does not show it."""
        if self.normalization is None:
            return None
        mean, std = (torch.tensor(values)[:, None, None] for values in self.normalization)
        return -mean / std


def expect_encoder(encoder: object, order: str) -> None:
    """Refuse anything but an encoder as the first argument. Raises: ``TypeError`` that says the order."""
    if not isinstance(encoder, Encoder):
        raise WrongType(f"expected an Encoder first, but got {type(encoder).__name__}; the order is {order}.")


def in_full_precision(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return values of half precision in float32, others as they are."""
    return values.float() if values.dtype in HALF else values


def _head_in_full_precision(head: nn.Module) -> nn.Module:
    return copy.deepcopy(head).float() if any(value.dtype in HALF for value in head.parameters()) else head


def _pooling(pooling: str | Pooling) -> Pooling:
    return POOLINGS.find(pooling)
