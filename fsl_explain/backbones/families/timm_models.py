"""Networks of timm by name, without their classifier: what they return is the feature that it would read."""

import sys
from collections.abc import Mapping
from math import floor
from typing import Any

from torch import Tensor, nn

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.families.family import Member, checked_download, library
from fsl_explain.backbones.preprocessing import Preprocessing

OPTIONS = ("download",)


def build(name: str, size: int | None, download: object = False) -> Member:
    """Build a network of timm, ``name`` or ``name.tag``; the tag says which weights its images are prepared for.

    A network for images of one size is built for ``size``. With ``download`` timm fetches its published weights.

    Raises: ``LookupError`` with the nearest names; ``ImportError`` without timm; ``ValueError`` where nothing can be
    fetched, and for images that are padded or no squares.
    """
    timm = library("timm", "timm", name)
    if not timm.is_model(name):
        raise unknown_name("timm network", name.partition(".")[0], timm.list_models())
    network, sized = _made(timm, name, size, checked_download(download))
    preprocessing = preprocessing_of(timm.data.resolve_model_data_config(network), f"timm:{name}")
    words = f"timm weights {_facts(network).get('tag') or 'by default'}" if download else None
    side = size if size is not None and sized else preprocessing.size
    return Member(network, preprocessing, words, side, classifiers=_classifiers(network), rename=renamed)


def renamed(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors of a checkpoint as timm names them, by timm's own rules for other publishers.

    Among these are DINOv2's and DeiT's; positions of another grid are interpolated.
    """
    rules = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if rules is None:
        return state
    try:
        found = rules(dict(state), network)
    except Exception:  # of another network, which is told apart by the names that are missing then
        return state
    whole = isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())
    return found if whole else state


def preprocessing_of(facts: Mapping[str, Any], owner: str) -> Preprocessing:
    """Return the preparation that timm's facts of a network describe.

    Raises: ``ValueError`` for images that are padded or no squares.
    """
    channels, height, width = facts["input_size"]
    mode = facts["crop_mode"]
    if channels != 3 or height != width or mode not in ("center", "squash"):
        raise Mistake(
            f"expected {owner} to want square images of three channels, cut at the center, but it wants "
            f"{height}×{width} of {channels}, {mode}; build it yourself and use Encoder.wrap with preprocess=."
        )
    resized = floor(height / facts["crop_pct"])
    squeezed = mode == "squash"
    return Preprocessing(
        height,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        resize=None if squeezed and resized == height else resized,
        squeeze=squeezed and resized != height,
        interpolation=facts["interpolation"],
    )


def _made(timm: Any, name: str, size: int | None, download: bool) -> tuple[nn.Module, bool]:
    """Return the network, and whether it was built for images of the size."""
    options = {"pretrained": download, "num_classes": 0}
    try:
        if size is None:
            return timm.create_model(name, **options), False
        try:
            return timm.create_model(name, img_size=size, **options), True
        except TypeError:  # a network that takes images of any size has no such option
            return timm.create_model(name, **options), False
    except Exception as error:
        if not download:
            raise
        raise Mistake(
            f"expected published weights for timm:{name}, but timm could not fetch them ({error}); give a checkpoint."
        ) from error


def _classifiers(network: nn.Module) -> tuple[str, ...]:
    """Return how the names of the classifiers' tensors begin: what is without effect here stands where they were."""
    told = _facts(network).get("classifier") or ()
    places = [told] if isinstance(told, str) else list(told)
    empty = {name for name, module in network.named_modules() if isinstance(module, nn.Identity)}
    stems = [[".".join(place.split(".")[: end + 1]) for end in range(place.count(".") + 1)] for place in places]
    return tuple(f"{next((stem for stem in stem_s if stem in empty), stem_s[-1])}." for stem_s in stems)


def _facts(network: nn.Module) -> Mapping[str, Any]:
    """Return what timm says of a network's published weights."""
    facts: Any = network.pretrained_cfg
    return dict(facts)
