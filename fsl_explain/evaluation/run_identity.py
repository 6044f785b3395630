"""What a measurement depends on, as one hash: parts of a run with another one are never put together."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from episodes import LabeledImages
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.identity import identity


def run_hash(encoder: Encoder, dataset: LabeledImages, settings: Mapping[str, Any]) -> str:
    """Return a hash of the encoder with its weights, the labels of the data set, and plain or other settings.

    A setting that is no plain value is told apart by ``identity``.
    """
    digest = hashlib.sha256(identity(dict(sorted(settings.items()))).encode())
    digest.update(json.dumps([encoder.description, identity(encoder.pooling)]).encode())
    for module in (encoder.network, encoder.head):
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(_bytes(value))
    digest.update(json.dumps([dataset.name, list(dataset.classes), dataset.labels.tolist()]).encode())
    return digest.hexdigest()


def indices_hash(*arrays: Any) -> str:
    """Return a hash of arrays of data set indices."""
    return hashlib.sha256(json.dumps([array.tolist() for array in arrays]).encode()).hexdigest()


def _bytes(value: Any) -> bytes:
    if not isinstance(value, Tensor):
        return repr(value).encode()
    flat = value.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
