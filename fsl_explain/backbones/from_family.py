"""Networks of other libraries as named networks: built, read as they read themselves, and checked."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from episodes.errors import Mistake
from fsl_explain.backbones.capture import find_layer
from fsl_explain.backbones.families.family import Family, Member
from fsl_explain.backbones.families.own_feature import (
    OwnReading,
    agreement,
    found_layout_of,
    own_reading,
    probe_image,
)
from fsl_explain.backbones.layouts import checked_layout
from fsl_explain.backbones.named_network import RANDOM, NamedNetwork
from fsl_explain.backbones.preprocessing import OF_THE_IMAGES, separated
from fsl_explain.backbones.tail import IGNORE
from fsl_explain.registries import FAMILIES

LAYER, LAYOUT = "layer", "layout"


def from_family(name: str, seed: int, architecture: Mapping[str, Any]) -> NamedNetwork:
    """Build the network ``family:name``, and find how it goes from its maps to its own feature unless a layer is named.

    Raises: ``LookupError`` for an unknown name, option or layer; ``ImportError`` without the library.
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
        return built
    own, found = own_reading(
        member.network,
        probe_image(member.side, member.network),
        classifies=member.classifies,
        outcome=member.outcome,
    )
    if not found.holds and member.pooled is not None:
        own = replace(own, layer=member.pooled, head=None, layout=None)
    layout = layout or own.layout or _recognized(member, own)
    return replace(
        built,
        layer=own.layer,
        head=own.head,
        layout=layout,
        own_head=own.head is not None,
        own=own,
        agreement=found,
    )


def checked_again(built: NamedNetwork) -> NamedNetwork:
    """Return a network whose weights were loaded with what its own reading gives now."""
    if built.member is None or built.own is None:
        return built
    image = probe_image(built.member.side, built.network)
    return replace(built, agreement=agreement(built.network, built.own, image, built.member.outcome))


def expect_own_feature(name: str, built: NamedNetwork, tail: str | None) -> None:
    """Refuse a network whose reading is not its own feature, unless the pooled maps are what is meant.

    Raises: ``ValueError`` with both shapes.
    """
    own, found = built.own, built.agreement
    if own is None or found is None or found.holds or (tail == IGNORE and built.layout is not None):
        return
    if own.layer is None or built.layout is None:
        raise Mistake(
            f"expected activation maps in {name}, but no layer of it is seen to give any; build it yourself and use "
            "Encoder.wrap with a layer."
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
        "where its pooled maps are meant."
    )


def _recognized(member: Member, own: OwnReading) -> str | None:
    """Return the layout of the maps, or None to recognize it with the first images."""
    if own.layer is None:
        return None
    try:
        return found_layout_of(member.network, own.layer, probe_image(member.side, member.network))
    except Mistake:
        return None
