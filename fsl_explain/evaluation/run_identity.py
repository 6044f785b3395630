"""What a measurement depends on, as text: parts of a run with another one are never put together."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from episodes import LabeledImage, LabeledImages
from fsl_explain.backbones.prepared import pattern
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.identity import identity

READERS = 4  # threads
OF_THE_RESULTS = ("fsl-explain", "torch", "torchvision")


def run_hash(encoder: Encoder, dataset: LabeledImages, settings: Mapping[str, Any], *, contents: str) -> str:
    """Return what a run is made of, a hash of each: images, labels, encoder, settings and versions.

    ``contents`` is a hash of the images with their boxes and masks, as ``contents_hash`` or a store of them gives it.
    Of the encoder its weights, its own code, its pooling and its preprocessing count. A setting that is no plain value
    is told apart by ``identity``.
    """
    labels = json.dumps([list(dataset.classes), dataset.labels.tolist()])
    versions = json.dumps([version(name) for name in OF_THE_RESULTS])
    made_of = {
        "images": contents,
        "labels": _sha256(labels.encode()),
        "encoder": _of_the_encoder(encoder),
        "settings": _sha256(identity(dict(sorted(settings.items()))).encode()),
        "versions": _sha256(versions.encode()),
    }
    return " ".join(f"{name}={value}" for name, value in made_of.items())


def contents_hash(dataset: LabeledImages, positions: Sequence[int] | None = None) -> str:
    """Return a hash of images as they are read, pixels, boxes and masks; of all of them without ``positions``.

    It is the same wherever the files lie, and another one where a photograph, a box or a mask was edited.
    """
    chosen = range(len(dataset)) if positions is None else positions
    with ThreadPoolExecutor(max_workers=READERS) as readers:
        return _sha256("\n".join(readers.map(lambda position: _of_image(dataset[position]), chosen)).encode())


def arrays_hash(*arrays: Tensor | np.ndarray) -> str:
    """Return a hash of the values, shapes and types of arrays."""
    return _sha256(identity(arrays).encode())


def text_hash(*texts: str) -> str:
    """Return one hash of texts in their order."""
    return _sha256("\n".join(texts).encode())


def indices_hash(*arrays: Any) -> str:
    """Return a hash of arrays of data set indices."""
    return _sha256(json.dumps([array.tolist() for array in arrays]).encode())


def _of_image(labeled: LabeledImage) -> str:
    annotation = [None if one is None else torch.as_tensor(one) for one in (labeled.boxes, labeled.mask)]
    return identity([labeled.label, np.array(labeled.image), *annotation])


def _of_the_encoder(encoder: Encoder) -> str:
    scales = encoder.scales
    seen: list[Any] = [] if scales is None else [scales.sides, scales.weights]
    seen += [] if scales is None or scales.support_sides is None else [scales.support_sides]
    seen += [] if encoder.detail is None else [identity(encoder.detail.wanted)]
    digest = hashlib.sha256(json.dumps([_without_place(encoder), _pooling(encoder.pooling), *seen]).encode())
    layers = [name for name, module in encoder.network.named_modules() if module is encoder.layer]
    digest.update(json.dumps([layers, encoder.inference, _picture(encoder)]).encode())
    for module in (encoder.network, encoder.head):
        digest.update("\n".join(_of_code(module)).encode())
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(_bytes(value))
    return digest.hexdigest()


def _without_place(encoder: Encoder) -> str:
    """Return the description, of which a path keeps its last name."""
    return " ".join(Path(word).name if "/" in word else word for word in encoder.description.split())


def _pooling(pooling: object) -> str:
    return (
        identity({"": repr(pooling), **pooling.state_dict()}) if isinstance(pooling, nn.Module) else identity(pooling)
    )


def _picture(encoder: Encoder) -> str:
    """Return a hash of what the preprocessing makes of one picture."""
    return identity(encoder.preprocess([pattern()]))


def _of_code(module: nn.Module) -> Iterator[str]:
    """Name the parts of a module, with the code of those that are not PyTorch's."""
    for name, part in module.named_modules():
        own = type(part)
        theirs = own.__module__.startswith(("torch.", "torchvision."))
        code = "" if theirs or not hasattr(own.forward, "__code__") else identity(own.forward)
        yield f"{name} {own.__qualname__} {'' if list(part.children()) else part} {code}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _bytes(value: Any) -> bytes:
    if not isinstance(value, Tensor):
        return repr(value).encode()
    flat = value.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
