"""How a training image is changed at random, ending in the pixels that the encoder's network sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import PIL.Image
from torch import Tensor, nn
from torchvision.transforms import v2

from fsl_explain.config.training import AugmentationConfig

CROP_PADDING = 8
ERASED_AREA = (0.02, 0.4)  # share of the image
ERASED_ASPECT = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Augmentation:
    """Two halves: ``settled`` depends on the image alone and can be kept, ``drawn`` on chance too."""

    settled: nn.Module
    drawn: nn.Module

    def __call__(self, image: PIL.Image.Image) -> Tensor:
        """Return the pixels, drawn from PyTorch's random numbers."""
        pixels: Tensor = self.drawn(self.settled(image))
        return pixels.as_subclass(Tensor)


def augmentation_of(config: AugmentationConfig, size: int, transform: Callable[..., Any]) -> Augmentation:
    """Return the augmentation to images of ``size`` that ends as ``transform``, the encoder's own, does.

    A padded crop is that of few-shot training (resize to size × size, crop with black padding of 8 pixels); a resized
    crop is that of instance discrimination. Erased rectangles are of Cross Attention Network's areas and aspects.
    DEVIATION: their aspect is log-uniform between 0.3 and 1 / 0.3, and they have the mean color; the official code
    draws it uniformly, and fills them, after normalization, with 0.49, 0.48 and 0.45.
    """
    square = v2.Resize((size, size), antialias=True)
    if config.crop == "padded":
        settled, crop = v2.Compose([v2.ToImage(), square]), v2.RandomCrop(size, padding=CROP_PADDING)
    else:
        settled = v2.ToImage()
        crop = v2.RandomResizedCrop(size, scale=config.scale, antialias=True)
    flip, last = v2.RandomHorizontalFlip(config.flip), _from_pixels(transform)
    return Augmentation(settled, v2.Compose([crop, *_color(config), flip, *last, *_erasing(config)]))


def _from_pixels(transform: Callable[..., Any]) -> list[Any]:
    """Return the steps that change pixels where they are: order of the channels, precision, normalization."""
    if isinstance(transform, v2.Compose):
        return [step for part in transform.transforms for step in _from_pixels(part)]
    return [] if isinstance(transform, v2.ToImage | v2.Resize | v2.CenterCrop) else [transform]


def _color(config: AugmentationConfig) -> list[Any]:
    steps = []
    if any(config.jitter):
        steps.append(v2.RandomApply([v2.ColorJitter(*config.jitter)], p=config.jitter_probability))
    if config.grayscale:
        steps.append(v2.RandomGrayscale(config.grayscale))
    if config.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(kernel_size=13, sigma=(0.1, 2.0))], p=config.blur))
    return steps


def _erasing(config: AugmentationConfig) -> list[Any]:
    if not config.erasing:
        return []
    return [v2.ToPureTensor(), v2.RandomErasing(config.erasing, ERASED_AREA, ERASED_ASPECT)]
