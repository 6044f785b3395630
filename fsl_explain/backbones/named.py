"""Networks by name, with the head and the preprocessing that their weights expect."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating, find_layer, modules_before
from fsl_explain.backbones.families.own_feature import probe_image
from fsl_explain.backbones.from_family import checked_again, expect_own_feature, from_family, token_embedding
from fsl_explain.backbones.named_network import MEANS, RANDOM, NamedNetwork
from fsl_explain.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD, separated
from fsl_explain.backbones.reading import Reading
from fsl_explain.backbones.recipes import NO_HEAD, Recipe
from fsl_explain.backbones.tail import Tail
from fsl_explain.backbones.weights.checkpoint import sha256_of
from fsl_explain.backbones.weights.key_maps import OURS
from fsl_explain.backbones.weights.loading import Checkpoint, LoadingReport, fitting, load_weights, open_checkpoint
from fsl_explain.backbones.weights.renamed import renamed
from fsl_explain.config import HeadConfig
from fsl_explain.heads import projection_head
from fsl_explain.registries import ENCODERS, checked_encoder, is_own_encoder
from fsl_explain.turns import RANDOM_NUMBERS, alone

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "build_named"]

POOLING = "pooling"
HEAD = "head"  # what a head's parameters are called in a checkpoint, before the dot


def build_named(
    name: str,
    checkpoint: Path | None,
    seed: int = 0,
    head: HeadConfig | None = None,
    release: str | None = None,
    part: str | None = None,
    tail: str | None = None,
    readout: str | None = None,
    **architecture: Any,
) -> NamedNetwork:
    """Build a network by name; random weights depend on ``seed`` alone, and the network's not on its head.

    ``head`` is the network's own unless given. A checkpoint holds the head's parameters too, below ``head.``, and they
    are left aside where the head is another, ``none`` or ``fresh``. An official checkpoint's ``release`` is recognized
    unless named, and its activation and images are taken unless given; its pooling wins over the network's. ``part``
    names the keys and the prefix of the network in a file of several. ``size``,
    ``mean`` and ``std`` are those of the images; further keywords go to the network. A network of a family whose
    pooled maps are not seen to give its own feature is taken only with a ``layer``, or with a ``tail``; one of tokens
    is read out as it reads itself, or by ``readout``.

    Raises: ``LookupError`` for an unknown name or option; ``ValueError`` for a checkpoint that does not fit, or a
    network that cannot be read.
    """
    if is_own_encoder(name):
        raise Mistake(f"expected a named network, but {name} is a function of your own; choose one that is listed.")
    recipe: Recipe | None = ENCODERS.get(checked_encoder(name))
    checkpoint = checkpoint or shipped_with(name)
    opened = None if checkpoint is None else open_checkpoint(checkpoint, name, release, part=part)
    settings = {} if opened is None else dict(opened.settings)
    pooling = settings.pop(POOLING, None)
    architecture = {**settings, **architecture}
    if opened is not None and opened.release is OURS and opened.settings and recipe is not None:
        _check_outline(name, recipe, opened, architecture)
    with alone([RANDOM_NUMBERS]), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU, for good
        if recipe is None:
            built = from_family(name, seed, architecture, tail, readout)
        else:
            built = _from_recipe(name, recipe, checkpoint, seed, architecture)
        config = _head_config(recipe, head)
        if not built.own_head or (head is not None and head.kind != "own"):
            means = MEANS if built.own_head else built.pooling  # another head reads the means of the maps
            built = replace(built, head=_head(built, config), own_head=False, pooling=means)
    if pooling is not None:
        built = replace(built, pooling=pooling)
    if opened is None and built.checkpoint is not None:
        opened = open_checkpoint(built.checkpoint, name, release, part=part)
    if opened is not None:
        report = _load(built, None if config.fresh or built.own_head else built.head, opened)
        built = checked_again(replace(built, weights=_origin(opened, report), report=report))
    expect_own_feature(name, built, tail)
    if built.member is not None and built.member.text is not None:
        built = replace(built, text=built.member.text.filled(opened))
    built = replace(built, random=_random(built, opened is not None, config.fresh))
    built.network.to(memory_format=torch.channels_last)
    return built


def shipped_with(name: str) -> Path | None:
    """Return the checkpoint that the project ships for a named network, which is taken where none is given."""
    recipe: Recipe | None = ENCODERS.get(name)
    return None if recipe is None or recipe.shipped is None else recipe.shipped()


def _random(built: NamedNetwork, from_checkpoint: bool, fresh: bool) -> tuple[str, ...]:
    """Name the parts whose weights are random."""
    network = ("network",) if built.weights.startswith(RANDOM) else ()
    made = built.head is not None and not built.own_head
    return (*network, *(("head",) if made and (fresh or not from_checkpoint) else ()))


def _check_outline(name: str, recipe: Recipe, opened: Checkpoint, architecture: Mapping[str, Any]) -> None:
    """Refuse a manifest that asks for another network than its weights are of, before memory is taken for it."""
    options, _ = separated(name, architecture, inspect.signature(recipe.build).parameters)
    with torch.device("meta"):
        network = recipe.build(**options)
    fitting(network, opened, _beside(network))


def _from_recipe(
    name: str, recipe: Recipe, checkpoint: Path | None, seed: int, architecture: Mapping[str, Any]
) -> NamedNetwork:
    options, of_the_images = separated(name, architecture, inspect.signature(recipe.build).parameters)
    network = recipe.build(**options)
    weights = f"{RANDOM}, seed {seed}"
    if checkpoint is None and recipe.published is not None:
        load_weights(network.get_submodule("network"), recipe.published())
        weights = "published ImageNet weights"
    prepared = recipe.preprocessing.changed(**of_the_images)
    return NamedNetwork(network, None, prepared, weights, recipe.pooling, layout=recipe.layout)


def _head_config(recipe: Recipe | None, asked: HeadConfig | None) -> HeadConfig:
    """Return what was asked for, or the network's own head, fresh where that was asked for."""
    if asked is not None and asked.kind != "own":
        return asked
    own = NO_HEAD if recipe is None else recipe.head
    fresh = asked is not None and asked.fresh and own.kind != "none"
    return own.model_copy(update={"fresh": fresh})


def _head(built: NamedNetwork, config: HeadConfig) -> nn.Module | None:
    if config.kind == "none" or config.width is None:
        return None
    channels = _channels(built)
    hidden = [config.hidden or channels] if config.kind == "mlp" else []
    return projection_head([channels, *hidden, config.width], config.normalize)


def _channels(built: NamedNetwork) -> int:
    """Count the activation maps of one image."""
    network, side = built.network, built.preprocessing.size
    if built.tokens is not None and built.member is not None:
        return int(token_embedding(built.tokens, probe_image(built.member.side, network)).shape[1])
    layer = None if built.layer is None else find_layer(network, built.layer)
    with evaluating(network):
        reading = Reading(network, layer, built.layout, Tail("", None, silent=True))
        return int(reading.maps(torch.zeros(1, 3, side, side)).shape[1])


def _load(built: NamedNetwork, head: nn.Module | None, checkpoint: Checkpoint) -> LoadingReport:
    if built.member is None or not checkpoint.parts:
        return _loaded(built, head, checkpoint)
    known = renamed(checkpoint, built.network, built.member.rename, built.member.classifiers)
    return known.told(_loaded(built, head, known.checkpoint))


def _loaded(built: NamedNetwork, head: nn.Module | None, checkpoint: Checkpoint) -> LoadingReport:
    behind = _behind(built) if checkpoint.parts else ()
    if head is None:
        return load_weights(built.network, checkpoint, _beside(built.network), behind=behind)
    with _joined(built.network, head):
        return load_weights(built.network, checkpoint, behind=behind)


def _behind(built: NamedNetwork) -> tuple[str, ...]:
    """Return the names of the tensors that neither the explained layer nor the head reads."""
    if built.tokens is not None:
        unread = {
            id(value) for part in built.tokens.parts.classifiers for value in part.state_dict(keep_vars=True).values()
        }
        return tuple(name for name, value in built.network.state_dict(keep_vars=True).items() if id(value) in unread)
    if built.layer is None:
        return ()
    network, side = built.network, built.preprocessing.size
    used = modules_before(network, find_layer(network, built.layer), torch.zeros(1, 3, side, side))
    of_the_head = set() if built.head is None else {id(part) for part in built.head.state_dict(keep_vars=True).values()}
    kept = {
        f"{name}.{own}" if name else own
        for name, module in network.named_modules()
        for own, value in module.state_dict(keep_vars=True).items()
        if "." not in own and (module in used or id(value) in of_the_head)
    }
    return tuple(name for name in network.state_dict() if name not in kept)


def _beside(network: nn.Module) -> str | None:
    """Return how the parameters of a head begin, unless it is a part of the network."""
    return None if hasattr(network, HEAD) else f"{HEAD}."


def _origin(checkpoint: Checkpoint, report: LoadingReport) -> str:
    release = "" if checkpoint.release is OURS else f" of {checkpoint.release.name}"
    taken = f", {report.taken}" if report.taken else ""
    parts = dict.fromkeys(name.rsplit(".", 1)[0] for name in report.unfilled)
    without = f", without {', '.join(list(parts)[:3])}" if parts else ""
    return f"weights {checkpoint.path.name}{release}, sha256 {sha256_of(checkpoint.path)[:12]}{taken}{without}"


@contextmanager
def _joined(network: nn.Module, head: nn.Module) -> Iterator[None]:
    """Make a head part of its network while a checkpoint of both is loaded."""
    own = getattr(network, HEAD, None)
    network.add_module(HEAD, head)
    try:
        yield
    finally:
        delattr(network, HEAD)
        if isinstance(own, nn.Module):
            network.add_module(HEAD, own)
