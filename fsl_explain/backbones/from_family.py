"""Networks of other libraries as named networks: built, read as they read themselves, and checked."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating, find_layer
from fsl_explain.backbones.families.family import Family, Member
from fsl_explain.backbones.families.own_feature import (
    OwnReading,
    agreement,
    found_layout_of,
    is_one_cell,
    own_reading,
    probe_image,
)
from fsl_explain.backbones.layouts import checked_layout
from fsl_explain.backbones.named_network import ALL_CELLS, RANDOM, NamedNetwork
from fsl_explain.backbones.preprocessing import OF_THE_IMAGES, separated
from fsl_explain.backbones.tail import IGNORE, NETWORK
from fsl_explain.backbones.tokens.reading import TokenReading
from fsl_explain.backbones.tokens.recognizing import tokens_of
from fsl_explain.heads.pooling import GAP
from fsl_explain.registries import FAMILIES

LAYER, LAYOUT = "layer", "layout"


def from_family(
    name: str, seed: int, architecture: Mapping[str, Any], tail: str | None = None, readout: str | None = None
) -> NamedNetwork:
    """Build the network ``family:name``, and find how it makes its own feature of its maps unless a layer is named.

    A network of tokens is read out as it reads itself, or by a ``readout``.

    Raises: ``LookupError`` for an unknown name, option or layer; ``ImportError`` without the library; ``ValueError``
    for a readout that the network has not.
    """
    prefix, _, rest = name.partition(":")
    family: Family = FAMILIES[prefix]
    options, of_the_images = separated(name, architecture, (LAYER, LAYOUT, *family.OPTIONS))
    layer, layout = options.pop(LAYER, None), checked_layout(options.pop(LAYOUT, None))
    member = family.build(rest, of_the_images.get(OF_THE_IMAGES[0]), **options)
    built = NamedNetwork(
        member.network,
        layer,
        member.preprocessing.changed(**of_the_images),
        f"{RANDOM}, seed {seed}" if member.weights is None else member.weights,
        layout=layout,
        member=member,
        checkpoint=member.checkpoint,
    )
    if layer is not None:
        find_layer(member.network, layer)
    if tail != NETWORK or readout is not None:
        tokens = _tokens(name, built, readout)
        if tokens is not None:
            return replace(built, layout=None, tokens=tokens)
    if layer is None:
        return _read_as_its_own(built, tail)
    if tail is None:
        _expect_several_cells(name, built, layer)
    return built


def _expect_several_cells(name: str, built: NamedNetwork, layer: str) -> None:
    """Refuse a layer behind the pooling. Raises: ``ValueError``, where its maps of an image are of one cell."""
    if built.member is None:
        return
    image = probe_image(built.member.side, built.network)
    if min(image.shape[-2:]) > 1 and is_one_cell(built.network, layer, image):
        side = image.shape[-1]
        raise Mistake(
            f"expected maps of several cells from the layer {layer} of {name}, but of images of {side}×{side} it gives "
            f"one cell, which has no places to explain; name a layer before the pooling, or say tail={IGNORE!r} where "
            "its values are meant."
        )


def _tokens(name: str, built: NamedNetwork, readout: str | None) -> TokenReading | None:
    """Return how a network of tokens is read, None where it is none or its own readout is another.

    Raises: ``ValueError`` for a readout that was asked for and is not there.
    """
    layer = None if built.layer is None else find_layer(built.network, built.layer)
    try:
        tokens = tokens_of(built.network, layer, built.layout, readout, name)
        if tokens is not None and built.member is not None:
            token_embedding(tokens, probe_image(built.member.side, built.network))
    except Mistake:
        if readout is not None:
            raise
        return None
    return tokens


def token_embedding(tokens: TokenReading, image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 embedding"]:
    """Return what a network of tokens is read out as. Raises: ``ValueError`` where it is not what the network makes."""
    with evaluating(tokens.network, tokens.head):
        return tokens.features(tokens.read(image), tokens.pooling(GAP), tokens.head).embedding


def _read_as_its_own(built: NamedNetwork, tail: str | None) -> NamedNetwork:
    """Find the layer and the head of a network's own feature; with ``tail="network"`` the layer alone."""
    member = built.member
    if member is None:
        return built
    image = probe_image(member.side, member.network)
    own, found = own_reading(
        member.network, image, classifies=member.classifies, outcome=member.outcome, flattens=tail is None
    )
    if not found.holds and member.pooled is not None:
        own = replace(own, layer=member.pooled, head=None, layout=None)
    if tail == NETWORK:
        return replace(built, layer=own.layer, layout=built.layout or own.layout or _recognized(member, own))
    return replace(
        built,
        layer=own.layer,
        head=own.head,
        layout=built.layout or own.layout or _recognized(member, own),
        pooling=ALL_CELLS if own.flattened else built.pooling,
        own_head=own.head is not None,
        own=own,
        agreement=found,
    )


def checked_again(built: NamedNetwork) -> NamedNetwork:
    """Return a network whose weights were loaded with what its own reading gives now.

    Raises: ``ValueError`` where a readout of tokens is not what the network makes.
    """
    if built.member is None:
        return built
    image = probe_image(built.member.side, built.network)
    if built.tokens is not None:
        again = tokens_of(built.network, None, None, built.tokens.readout, built.tokens.description)
        if again is not None:
            token_embedding(again, image)
        return replace(built, tokens=again)
    if built.own is None:
        return built
    return replace(built, agreement=agreement(built.network, built.own, image, built.member.outcome))


def expect_own_feature(name: str, built: NamedNetwork, tail: str | None) -> None:
    """Refuse a network whose reading is not its own feature, unless the pooled maps are what is meant.

    Raises: ``ValueError`` with both shapes.
    """
    own, found = built.own, built.agreement
    if own is None or found is None or found.holds or (tail is not None and built.layout is not None):
        return
    if own.layer is None or built.layout is None:
        raise Mistake(
            f"expected activation maps in {name}, but no layer of it is seen to give any; build it yourself and use "
            "Encoder.wrap with a layer and tail='network'."
        )
    if found.feature is None:
        raise Mistake(
            f"expected {name} to return one embedding of an image, but it returns none; name a layer with layer=..., "
            f"or say tail={IGNORE!r} where the pooled maps of its last layer of maps, {own.layer}, are meant."
        )
    apart = f", {found.gap:.1g} of its norm apart" if isfinite(found.gap) else ""
    behind = f", and {own.unknown} behind them is no layer of vectors" if own.unknown else ""
    given = f"give shape {found.embedding}" if found.embedding else "do not fit the layers behind them"
    raise Mistake(
        f"expected the pooled maps of {name} to give its own feature, of shape {found.feature}, but those of its last "
        f"layer of maps, {own.layer}, {given}{apart}{behind}; name a layer with layer=..., or say tail={IGNORE!r} "
        f"where its pooled maps are meant, or tail={NETWORK!r} for what the network makes of that layer."
    )


def _recognized(member: Member, own: OwnReading) -> str | None:
    """Return the layout of the maps, or None to recognize it with the first images."""
    if own.layer is None:
        return None
    try:
        return found_layout_of(member.network, own.layer, probe_image(member.side, member.network))
    except Mistake:
        return None
