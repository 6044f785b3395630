"""What an encoder is, as one text that a bank can keep and compare.

Two encoders of one fingerprint make the same embeddings of the same pixels: it is of the weights, the explained
layer, the pooling and the head. The preprocessing is a text of its own.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import torch
from PIL import Image
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.placement import channels_read
from fsl_explain.encoder import Encoder
from fsl_explain.heads.named import POOLINGS, pooling_name
from fsl_explain.scales import expect_all_alike

MARK = re.compile(r" #[0-9a-f]{12}\Z")
PROBE_SIZE = 256
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(encoder: Encoder) -> str:
    """Return twelve hex digits of the SHA-256 of an encoder's weights, layer, pooling, head and scales.

    It is the same on every device. Weights in another precision are other weights.

    Raises: ``ValueError`` for an encoder that sees supports at sides of their own.
    """
    expect_all_alike(encoder, "a memory bank")
    digest = hashlib.sha256()
    for name, module in (("network", encoder.network), ("head", encoder.head)):
        kinds = [f"{part} {type(child).__qualname__}" for part, child in module.named_modules()]
        digest.update("\n".join([name, *kinds, ""]).encode())
        for line in _tensors(module.state_dict()):
            digest.update(line)
    layer = [name for name, module in encoder.network.named_modules() if module is encoder.layer]
    pooling = encoder.pooling
    if isinstance(pooling, nn.Module):
        for line in _tensors(pooling.state_dict()):
            digest.update(line)
    digest.update(f"layer {layer} pooling {_stable(pooling)}".encode())
    if encoder.scales is not None:
        digest.update(f"scales {encoder.scales.sides} weights {encoder.scales.weights}".encode())
    return digest.hexdigest()[:12]


def named_with_pooling(encoder: Encoder) -> str:
    """Return an encoder's description, and how the maps or a token make its embedding where that is no plain mean."""
    pooling = encoder.pooling if encoder.single is None else encoder.single.pooling
    if pooling is POOLINGS["gap"]:
        return encoder.description
    words = type(pooling).__name__ if isinstance(pooling, nn.Module) else pooling_name(pooling)
    return f"{encoder.description}, pooling {ADDRESS.sub('', words)}"


def described(encoder: Encoder) -> str:
    """Return an encoder's description with its pooling and its fingerprint, as a bank keeps it."""
    return f"{named_with_pooling(encoder)} #{fingerprint(encoder)}"


def is_same_encoder(one: str, other: str) -> bool:
    """Say whether two texts of ``described`` are of one encoder, whatever name it had; texts without marks as texts."""
    marks = [MARK.search(text) for text in (one, other)]
    if marks[0] is None or marks[1] is None:
        return one == other
    return marks[0][0] == marks[1][0]


def preprocessing_text(encoder: Encoder) -> str:
    """Return an encoder's preprocessing as text, step by step, the same in every process."""
    return ", ".join(_stable(step) for step in _steps(encoder.transform))


def expect_encoder(
    encoder: Encoder,
    made_by: str,
    preprocessing: str,
    channels: int,
    what: str = "the bank was built",
    otherwise: str = "build the bank again",
) -> None:
    """Refuse an encoder other than the one whose description and preprocessing a bank has kept.

    Weights are compared by their fingerprint; where the bank has none, the dimensions are. ``what`` begins the sentence
    and ``otherwise`` ends it. Raises: ``ValueError`` with both values.
    """

    def another(kind: str, kept: str, given: str, why: str = "") -> Mistake:
        return Mistake(f"{what} with {kind} {kept!r}, but {given!r} is given{why}; use the former or {otherwise}.")

    mark = MARK.search(made_by)
    mine = described(encoder)
    if mark is not None and not mine.endswith(mark[0]):
        alike = MARK.sub("", made_by) == MARK.sub("", mine)
        raise another("encoder", made_by, mine, ", whose weights, layer or head are others" if alike else "")
    if preprocessing and preprocessing_text(encoder) != preprocessing:
        raise another("preprocessing", preprocessing, preprocessing_text(encoder))
    if mark is None:
        found = encoder(_probe(encoder)).embedding.shape[-1]
        if found != channels:
            raise another("embeddings of channels", str(channels), str(found))


def _probe(encoder: Encoder) -> Tensor:
    """Return a black image, of as many channels as the network reads."""
    black = encoder.preprocess([Image.new("RGB", (PROBE_SIZE, PROBE_SIZE))])
    reads = list(channels_read(encoder.network))
    return black if not reads or black.shape[1] in reads else black.new_zeros(1, reads[0], *black.shape[2:])


def _steps(transform: object) -> Iterable[object]:
    parts = getattr(transform, "transforms", None)
    if parts is None:
        return [transform]
    return [step for part in parts for step in _steps(part)]


def _stable(thing: object) -> str:
    """Return the text of an object without its place in memory."""
    named = getattr(thing, "__qualname__", None)
    return f"{thing.__module__}.{named}" if named is not None else ADDRESS.sub("", repr(thing))


def _tensors(state: Mapping[str, object]) -> Iterable[bytes]:
    for name in sorted(state):
        value = state[name]
        yield f"{name} ".encode()
        if isinstance(value, Tensor):
            yield f"{value.dtype} {tuple(value.shape)} ".encode()
            yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
