"""What a network itself makes of its last activation maps: found by running it once, and checked against its feature.

The reading of a network is a layer, the mean of its maps over the cells, and a head made of the layers that run behind
it. It is taken only where it gives the network's own feature: its output, or what its last linear layer reads where
that is a classifier.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf, isqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import activation_of, evaluating, find_layer
from fsl_explain.backbones.families.family import Outcome, the_tensor
from fsl_explain.backbones.layouts import FIRST, TOKENS
from fsl_explain.backbones.reading import Reading
from fsl_explain.backbones.tail import Tail
from fsl_explain.devices import at_hand, module_at_hand
from fsl_explain.heads.flatten import FLATTEN
from fsl_explain.heads.on_vectors import vector_head, vector_layers

CLOSE = 1e-4  # of the norm of the network's own feature
OF_NO_MAPS_OF_THEIR_OWN = (nn.AdaptiveAvgPool2d, nn.Dropout, nn.Identity)  # which may also be given attention


@dataclass(frozen=True)
class OwnReading:
    """The layer whose maps a network pools last, and the head that leads from there to its own feature.

    ``layer`` is None where no layer gives maps. ``unknown`` is the kind of a layer behind the maps that is no layer of
    vectors; then there is no head. ``classifier`` is the name of the last linear layer, of a network that classifies.
    ``flattened``: the head reads all cells of all maps, and not their means.
    """

    layer: str | None
    head: nn.Module | None = None
    layout: str | None = None
    unknown: str | None = None
    classifier: str | None = None
    flattened: bool = False


@dataclass(frozen=True)
class Agreement:
    """Both sides of the check of a reading: its embedding, the network's own feature, and how far they are apart.

    ``gap`` is a share of the norm of the feature; infinite where the shapes differ or one is missing.
    """

    embedding: tuple[int, ...] | None
    feature: tuple[int, ...] | None
    gap: float

    @property
    def holds(self) -> bool:
        """Whether the reading is the network's own."""
        return self.gap <= CLOSE


@dataclass
class _Run:
    """What ran, in the order in which it ended: name, module and the shape of a single tensor, else None."""

    ended: list[tuple[str, nn.Module, tuple[int, ...] | None]] = field(default_factory=list)

    def candidates(self) -> list[tuple[int, str | None]]:
        """Return where layers ended that may give maps, the last first: one of maps, and one of tokens of a square.

        Each runs once and gives several cells.
        """
        times = Counter(id(module) for _, module, _ in self.ended)
        found: dict[int, tuple[int, str | None]] = {}
        for at in range(len(self.ended) - 1, -1, -1):
            name, module, shape = self.ended[at]
            known = bool(name) and times[id(module)] == 1 and not isinstance(module, OF_NO_MAPS_OF_THEIR_OWN)
            if known and shape is not None and _several_cells(shape):
                found.setdefault(len(shape), (at, TOKENS if len(shape) == 3 else None))
        return list(found.values())

    def flattened(self) -> tuple[int, tuple[int, int]] | None:
        """Return where the last layer of maps of several cells ended, channels first, and their height and width."""
        for at in range(len(self.ended) - 1, -1, -1):
            name, _, shape = self.ended[at]
            if name and shape is not None and len(shape) == 4 and _several_cells(shape):
                return at, (shape[2], shape[3])
        return None


def probe_image(side: int, network: nn.Module) -> Float[Tensor, "1 3 side side"]:
    """Return one random image, always the same, where the network is and in its type."""
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    first = next(network.parameters(), pixels)
    return pixels.to(first.device, first.dtype)


def own_reading(
    network: nn.Module,
    image: Float[Tensor, "1 3 height width"],
    *,
    classifies: bool,
    outcome: Outcome = the_tensor,
    flattens: bool = True,
) -> tuple[OwnReading, Agreement]:
    """Run a network on an image and return how it goes from its last maps to its own feature, and whether that holds.

    ``outcome`` takes the feature out of what a network returns that does not classify. The head reads the means of the
    maps, or where it ``flattens``, and that alone holds, all their cells. Where nothing holds it is the last layer
    that may give maps, without a head.
    """
    run = _Run()
    with evaluating(network), _watched(network, run):
        network(image)
    tried = []
    for at, layout in run.candidates():
        reading = _reading(run, at, layout, classifies)
        tried.append((reading, agreement(network, reading, image, outcome)))
        if tried[-1][1].holds:
            return tried[-1]
    all_cells = run.flattened() if flattens else None
    if all_cells is not None:
        reading = _reading(run, all_cells[0], FIRST, classifies, all_cells[1])
        found = agreement(network, reading, image, outcome)
        if found.holds:
            return reading, found
    return tried[0] if tried else (OwnReading(None), agreement(network, OwnReading(None), image, outcome))


def agreement(
    network: nn.Module, reading: OwnReading, image: Float[Tensor, "1 3 height width"], outcome: Outcome = the_tensor
) -> Agreement:
    """Return how near a reading comes to the network's own feature of an image."""
    with evaluating(network, *([] if reading.head is None else [reading.head])):
        feature = _feature(network, reading, image, outcome)
        try:
            found = _embedding(network, reading, image)
        except (RuntimeError, Mistake):  # layers that do not follow one another, or what is no maps
            found = None
    gap = inf
    if feature is not None and found is not None and found.shape == feature.shape and reading.unknown is None:
        if feature.is_meta:  # without numbers, shapes are all there is to compare
            return Agreement(tuple(found.shape), tuple(feature.shape), gap=0.0)
        gap = float((found - feature).norm() / feature.norm().clamp(min=torch.finfo(feature.dtype).tiny))
    return Agreement(
        None if found is None else tuple(found.shape), None if feature is None else tuple(feature.shape), gap
    )


def found_layout_of(network: nn.Module, layer: str, image: Float[Tensor, "1 3 height width"]) -> str | None:
    """Return the layout of a layer's maps, recognized with an image. Raises: as ``Reading``."""
    with evaluating(network):
        read = _read(network, layer, None)
        read.maps(image)
    return read.layout


def is_one_cell(network: nn.Module, layer: str, image: Float[Tensor, "1 3 height width"]) -> bool:
    """Whether a layer gives one cell alone: four axes, of which but one is longer than 1."""
    with evaluating(network):
        values, _ = activation_of(network, find_layer(network, layer), image)
    return isinstance(values, Tensor) and values.dim() == 4 and sum(side > 1 for side in values.shape[1:]) <= 1


def _reading(
    run: _Run, at: int, layout: str | None, classifies: bool, cells: tuple[int, int] | None = None
) -> OwnReading:
    """Return the reading of the maps that ended at a place, with all that ran behind them; of all ``cells``, or of
    their means.
    """
    behind = [(name, module) for name, module, _ in run.ended[at + 1 :]]
    inside = {id(part) for _, module in behind if _is_whole(module) for part in module.modules() if part is not module}
    layers = [(name, module) for name, module in behind if _is_whole(module) and id(module) not in inside]
    name, classifier = run.ended[at][0], None
    if classifies:
        linear = [place for place, (_, module) in enumerate(layers) if isinstance(module, nn.Linear)]
        if not linear:
            return OwnReading(name, layout=layout, unknown="no linear layer")
        classifier = layers[linear[-1]][0]
        layers = layers[: linear[-1]]
    head, unknown = vector_head((module for _, module in layers), cells or (1, 1))
    kind = None if unknown is None else type(unknown).__name__
    return OwnReading(name, head, layout, kind, classifier, flattened=cells is not None)


def _embedding(network: nn.Module, reading: OwnReading, image: Tensor) -> Tensor | None:
    if reading.layer is None:
        return None
    maps = at_hand(_read(network, reading.layer, reading.layout).maps(image))
    pooled = FLATTEN(maps) if reading.flattened else maps.mean(dim=(-2, -1))
    if reading.head is None:
        return pooled
    embedding: Tensor = module_at_hand(reading.head)(pooled.clone())  # a copy: a layer may overwrite its input
    return embedding


def _read(network: nn.Module, layer: str, layout: str | None) -> Reading:
    return Reading(network, find_layer(network, layer), layout, Tail("", None, silent=True))


def _feature(network: nn.Module, reading: OwnReading, image: Tensor, outcome: Outcome) -> Tensor | None:
    read: list[Tensor] = []
    with ExitStack() as hooks:
        if reading.classifier is not None:
            layer = find_layer(network, reading.classifier)
            hooks.callback(layer.register_forward_pre_hook(lambda _, given: read.append(given[0].clone())).remove)
        output = network(image)
    found = read[-1] if read else outcome(output)
    return None if found is None else at_hand(found.flatten(1))


def _several_cells(shape: tuple[int, ...]) -> bool:
    if len(shape) == 3:
        return shape[1] > 1 and isqrt(shape[1]) ** 2 == shape[1]
    return len(shape) == 4 and min(shape[1:]) > 1


def _is_whole(module: nn.Module) -> bool:
    """Whether a module is one layer: without parts, or known as a whole."""
    return vector_layers(module) is not None or not list(module.children())


@contextmanager
def _watched(network: nn.Module, run: _Run) -> Iterator[None]:
    def note(name: str) -> Any:
        def keep(module: nn.Module, _args: Any, output: Any) -> None:
            run.ended.append((name, module, tuple(output.shape) if isinstance(output, Tensor) else None))

        return keep

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            hooks.callback(module.register_forward_hook(note(name)).remove)
        yield
