"""Queries and supports as local features, for rules that compare cells; from maps that are there already."""

from dataclasses import replace

from episodes.errors import Mistake
from fsl_explain.classifiers import Rule, SupportSet
from fsl_explain.classifiers.local.local_features import encoder_for, features_for
from fsl_explain.explainers.compared import Compared


def seen_by(rule: Rule, compared: Compared) -> Compared:
    """Return what a rule compares: local features for one that compares cells, else all as it is.

    Raises: ``ValueError`` where the supports' maps were not kept; else as ``local_features``.
    """
    encoder = encoder_for(rule, compared.encoder, compared.features.maps.shape[-3])
    if encoder is compared.encoder:
        return compared
    supports = compared.supports
    if supports.features is None:
        raise Mistake(
            "a decision over local features needs the supports' images or activation maps, but only embeddings were "
            "given; give images, or an encoder with pooling='flatten' and its embeddings."
        )
    theirs = features_for(supports.features, encoder)
    return replace(
        compared,
        encoder=encoder,
        features=features_for(compared.features, encoder),
        supports=SupportSet(theirs.embedding, supports.valid, supports.classes, theirs),
    )
