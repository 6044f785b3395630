"""An encoder's maps as local features: the cells behind each other, each through the head alone."""

from copy import copy
from dataclasses import replace
from typing import TypeVar

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import Rule
from fsl_explain.classifiers.local.rule import LocalRule
from fsl_explain.devices import module_at_hand, precise
from fsl_explain.encoder import Encoder, Features
from fsl_explain.heads.cell_head import cell_head, keeps_cells_apart
from fsl_explain.heads.flatten import FLATTEN
from fsl_explain.readouts.cells import NormalizedCells, flattens

Seen = TypeVar("Seen", bound=Encoder)


def local_features(encoder: Encoder, channels: int | None = None) -> Encoder:
    """Return an encoder of the same network whose embeddings are its cells behind each other, channel after channel.

    Rules such as ``DN4`` compare these; ``explain`` and the evaluations make such an encoder by themselves.

    A head is put on each cell alone; ``channels`` are those of the maps, for a head that does not say them. Of a
    network of tokens the cells are its patches, where these are what it reads out (``readout="mean"``), normalized
    where they are before their mean.

    Raises: ``ValueError`` for several scales, whose cells differ in number, for a readout or a tail that is no pooling
    of cells, a head over all cells, or one that says nowhere how many channels it takes.
    """
    if flattens(encoder.pooling):
        if not keeps_cells_apart(encoder.head):
            raise Mistake(
                "decisions over local features compare cells, but this encoder has a head over all of its flattened "
                "maps; use one without, or pooling='gap' with a head, which is then put on each cell alone."
            )
        return encoder
    if encoder.scales is not None:
        raise Mistake(
            "decisions over local features compare the cells of one image size, but the encoder sees images at "
            f"{encoder.scales.words}; drop scales."
        )
    if encoder.reading.tail.is_network:
        raise Mistake(
            "decisions over local features compare the cells of maps, but with tail='network' the embedding is what "
            "the network makes of them; drop tail."
        )
    if encoder.tokens is not None and encoder.tokens.readout != "mean":
        raise Mistake(
            "decisions over local features compare the patches' own tokens, but this encoder reads out "
            f"{encoder.tokens.readout!r}; use readout='mean'."
        )
    head = cell_head(encoder.head, channels)
    changed = copy(encoder) if encoder.tokens is not None else encoder.with_head(head)
    pooling = encoder.pooling
    changed.pooling = replace(pooling, pooling=FLATTEN) if isinstance(pooling, NormalizedCells) else FLATTEN
    changed.head = head
    return changed


def encoder_for(rule: Rule, encoder: Encoder, channels: int | None = None) -> Encoder:
    """Return the encoder that a rule decides by, of local features for one that compares these; else the one given.

    Raises: as ``local_features``.
    """
    return local_features(encoder, channels) if isinstance(rule, LocalRule) else encoder


def features_for(features: Features, encoder: Encoder) -> Features:
    """Return what ``local_features`` of an encoder makes of images, from their maps alone; in float64."""
    if features.trace is not None:
        raise Mistake("decisions over local features need activation maps, but these features hold what tokens wrote.")
    pooled = encoder.pooling(features.maps)
    embedding = module_at_hand(encoder.head)(pooled.clone()).detach()
    return Features(features.maps, precise(pooled), precise(embedding), finer=features.finer)


def rule_for(rule: Rule, features: Features) -> Rule:
    """Return a rule that knows how many channels the cells of these features have, where it compares cells.

    Raises: ``ValueError`` for features that are not local.
    """
    if not isinstance(rule, LocalRule):
        return rule
    cells, width = features.maps.shape[-2] * features.maps.shape[-1], features.embedding.shape[-1]
    if width % cells or features.pooled.shape[-1] != features.maps.shape[-3] * cells:
        raise Mistake(
            f"expected the {cells} cells of the maps as local features, but got embeddings of {width} numbers; use "
            "an encoder with pooling='flatten', or fsl_explain.classifiers.local_features(encoder)."
        )
    return rule.of_channels(width // cells)
