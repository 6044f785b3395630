"""The embedded data set: real handwritten digits on real photographs, with exact masks and boxes.

The digits are the 1,797 of ``sklearn.datasets.load_digits``, the photographs the two of
``sklearn.datasets.load_sample_images``; both come with scikit-learn, so nothing is downloaded.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float32, Int64
from sklearn.datasets import load_digits, load_sample_images
from torchvision import tv_tensors

from episodes.annotation import checked_boxes, mask_box
from episodes.errors import Mistake
from episodes.labeled_image import LabeledImage
from episodes.naming import unknown_name

TURNS: dict[str, dict[int, tuple[int, ...]]] = {
    "base": {2: (0, 1), 3: (0, 1, 2, 3), 4: (0, 1, 2, 3), 5: (0, 1), 7: (0, 1, 2, 3)},
    "novel": {0: (0,), 1: (0,), 6: (0,), 8: (0,), 9: (0,)},
}
"""Quarter turns of each digit. A half turn maps 2 and 5 to themselves, and 6 to 9."""

LEAST_SIZE = 32
DIGIT_SHARES = (0.5, 0.75)
DIMMED = 0.5
PALEST_TO_BRIGHTEST = (112, 255)
FALLBACK_SHARES = (0.31, 0.25, 0.2)
LEAST_CONTRAST = 0.35
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
SCENE, DISTRACTOR, SOURCE = 1, 2, 3
"""Kinds of chance, so that a distractor changes nothing else in its scene."""


@dataclass(frozen=True)
class _DigitClass:
    digit: int
    turn: int

    @property
    def name(self) -> str:
        return f"{self.digit} turned {90 * self.turn}°" if self.turn else f"{self.digit}"


class DigitScenes:
    """Square scenes with one annotated digit each; scene i depends on (part, seed, size, i) alone.

    A digit is enlarged to between 50 % and 75 % of the scene with the margin it was scanned with, inked in a
    random light color, and pasted anywhere on a random crop of a photograph dimmed to half its
    brightness. The mask is where the ink covers more than half; the box is the tight box of the mask.
    Labels take turns: scene i has label i modulo the number of classes. No handwritten image comes
    twice in a class before all of them came once.

    Args:
        part: ``"base"`` (2, 3, 4, 5, 7 and their quarter turns: 16 classes) or ``"novel"`` (0, 1,
            6, 8, 9).
        per_class: scenes of each class.
        seed: which scenes, ≥ 0.
        size: height and width in pixels.
        distractor: whether a second digit, of another class of the part, stands beside the first;
            it is not annotated, and the first stays where it is.

    Raises:
        LookupError: unknown part.
        ValueError: per_class is below 1, the seed below 0, or the size below 32.
    """

    def __init__(
        self, part: str = "base", *, per_class: int = 60, seed: int = 0, size: int = 84, distractor: bool = False
    ) -> None:
        if part not in TURNS:
            raise unknown_name("part of digit-scenes", part, TURNS)
        for option, value, least in (("per_class", per_class, 1), ("seed", seed, 0), ("size", size, LEAST_SIZE)):
            if value < least:
                raise Mistake(f"{option} should be at least {least}, got {value}.")
        self.name: str = f"digit-scenes {part}"
        self.seed: int = seed
        self.size: int = size
        self.distractor: bool = distractor
        self._part_number = list(TURNS).index(part)
        self._classes = [_DigitClass(digit, turn) for digit, turns in TURNS[part].items() for turn in turns]
        self.classes: tuple[str, ...] = tuple(digit_class.name for digit_class in self._classes)
        count = per_class * len(self.classes)
        self.labels: Int64[np.ndarray, "image"] = np.arange(count, dtype=np.int64) % len(self.classes)
        self.paths: tuple[Path | None, ...] = (None,) * count

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        index = range(len(self))[position]
        label = int(self.labels[index])
        chance = self._chance(SCENE, index)
        pixels = _background(chance, self.size)
        ink = _ink(self._source(label, index // len(self.classes)), self._classes[label].turn, self._side(chance))
        top, left = (int(chance.integers(self.size - extent + 1)) for extent in ink.shape)
        _paint(pixels, ink, top, left, chance)
        if self.distractor:
            self._distract(pixels, label, index, (left, top, left + ink.shape[1], top + ink.shape[0]))
        mask = torch.zeros(self.size, self.size, dtype=torch.bool)
        mask[top : top + ink.shape[0], left : left + ink.shape[1]] = torch.from_numpy(ink > 0.5)
        boxes = checked_boxes(mask_box(mask[None]), (self.size, self.size), f"{self.name} {index}")
        image = PIL.Image.fromarray(pixels.round().astype(np.uint8))
        return LabeledImage(image, label, self.classes[label], boxes, tv_tensors.Mask(mask))

    def _chance(self, kind: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng((kind, self.seed, self._part_number, *numbers))

    def _side(self, chance: np.random.Generator) -> int:
        return round(self.size * chance.uniform(*DIGIT_SHARES))

    def _source(self, label: int, number: int) -> Float32[np.ndarray, "8 8"]:
        """Return the handwritten image of a class's scene with that number."""
        sources = _handwriting()[self._classes[label].digit]
        lap, place = divmod(number, len(sources))
        order = self._chance(SOURCE, label, lap).permutation(len(sources))
        source: np.ndarray = sources[order[place]]
        return source

    def _distract(
        self, pixels: Float32[np.ndarray, "size size 3"], label: int, index: int, taken: tuple[int, int, int, int]
    ) -> None:
        """Paint a digit of another class outside the taken box."""
        chance = self._chance(DISTRACTOR, index)
        other = int((label + chance.integers(1, len(self.classes))) % len(self.classes))
        sources = _handwriting()[self._classes[other].digit]
        source = sources[int(chance.integers(len(sources)))]
        for side in (self._side(chance), *(round(self.size * share) for share in FALLBACK_SHARES)):
            ink = _ink(source, self._classes[other].turn, side)
            places = np.argwhere(_free_places(ink.shape, self.size, taken))
            if len(places):
                break
        top, left = places[int(chance.integers(len(places)))]
        _paint(pixels, ink, int(top), int(left), chance)


@cache
def _handwriting() -> dict[int, Float32[np.ndarray, "image 8 8"]]:
    """Return the handwritten images of each digit, ink in [0, 1]."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    return {digit: images[digits.target == digit] for digit in range(10)}


@cache
def _photographs() -> tuple[PIL.Image.Image, ...]:
    return tuple(PIL.Image.fromarray(photograph) for photograph in load_sample_images().images)


def _background(chance: np.random.Generator, size: int) -> Float32[np.ndarray, "size size 3"]:
    """Return a random square of a dimmed photograph, perhaps mirrored, at a random scale; values in [0, 255]."""
    photographs = _photographs()
    photograph = photographs[int(chance.integers(len(photographs)))]
    side = int(chance.integers(96, min(photograph.size) + 1))
    left, top = (int(chance.integers(extent - side + 1)) for extent in photograph.size)
    square = photograph.resize((size, size), PIL.Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    pixels = DIMMED * np.asarray(square, dtype=np.float32)
    return np.array(pixels[:, ::-1] if chance.random() < 0.5 else pixels)


def _ink(source: Float32[np.ndarray, "8 8"], turn: int, side: int) -> Float32[np.ndarray, "rows columns"]:
    """Return the ink of a digit, turned and enlarged, in [0, 1], cut to where there is any."""
    framed = PIL.Image.fromarray(np.pad(source, 1))
    enlarged = np.asarray(framed.resize((side, side), PIL.Image.Resampling.BICUBIC))
    ink = np.rot90(np.clip((enlarged - 0.3) / 0.3, 0, 1), turn)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return np.ascontiguousarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _paint(
    pixels: Float32[np.ndarray, "size size 3"],
    ink: Float32[np.ndarray, "rows columns"],
    top: int,
    left: int,
    chance: np.random.Generator,
) -> None:
    """Lay ink on the scene, in a random color that stands out from what lies below."""
    below = pixels[top : top + ink.shape[0], left : left + ink.shape[1]]
    colors = chance.uniform(*PALEST_TO_BRIGHTEST, size=(16, 3)).astype(np.float32)
    differences = np.abs((colors @ LUMINANCE)[:, None, None] - below @ LUMINANCE) / 255
    contrasts = (differences * ink).sum(axis=(1, 2)) / ink.sum()
    enough = contrasts >= LEAST_CONTRAST
    color = colors[int(enough.argmax() if enough.any() else contrasts.argmax())]
    below += ink[:, :, None] * (color - below)


def _free_places(
    shape: tuple[int, ...], size: int, taken: tuple[int, int, int, int]
) -> Bool[np.ndarray, "rows columns"]:
    """Return the top-left corners at which a patch lies in the scene and clear of the taken box."""
    height, width = shape
    left, top, right, bottom = taken
    rows, columns = np.arange(size - height + 1), np.arange(size - width + 1)
    clear_rows = (rows + height <= top) | (rows >= bottom)
    clear_columns = (columns + width <= left) | (columns >= right)
    return clear_rows[:, None] | clear_columns[None, :]
