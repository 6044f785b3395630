"""Embeddings centered on the mean of a set of images (SimpleShot, Wang et al., 2019), behind whatever head there is.

Embeddings of pooled maps without negative values share a large mean, so that all are alike and so are their maps for
different references; minus the mean they show what one image has and others have not.
"""

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.placement import deciding_tensor
from fsl_explain.devices import in_full_precision, precise
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.heads import Center

FEWEST = 2  # embeddings that have a mean of their own


def centered(
    encoder: Encoder, embeddings: Float[Tensor, "*set channel"], *, of: str = "the given embeddings"
) -> Encoder:
    """Return an encoder whose embeddings are those of ``encoder`` minus the mean of a set of them.

    The network is shared, and stays as it is; scores and decisions are other ones. ``of`` says in words whose mean it
    is, for descriptions. All leading dimensions of ``embeddings`` are averaged over, in float64.

    Raises: ``ValueError`` for fewer than two embeddings, or values that are not finite.
    """
    expect_encoder(encoder, "encoder, embeddings")
    if embeddings.numel() < FEWEST * embeddings.shape[-1]:
        raise Mistake(
            f"expected at least {FEWEST} embeddings to center on, but got shape {tuple(embeddings.shape)}; one minus "
            "itself is nothing, add images."
        )
    center = Center.on(precise(embeddings.detach()))
    return centered_by(encoder, Center(center.mean.to(in_full_precision(embeddings[:0]).dtype)), of)


def centered_by(encoder: Encoder, center: Center, of: str) -> Encoder:
    """Return an encoder that goes on to a center; ``of`` says in words whose mean that is."""
    place, head = deciding_tensor(encoder.network), encoder.head
    layers = list(head) if isinstance(head, nn.Sequential) else [] if isinstance(head, nn.Identity) else [head]
    changed = encoder.with_head(nn.Sequential(*layers, center if place is None else center.to(place.device)))
    changed.centered_on = of
    changed.description = f"{encoder.description}, centered on the mean of {of}"
    return changed


def centered_words(of: str) -> str:
    """Return one sentence that says what is centered on the mean of what; empty for nothing."""
    if not of:
        return ""
    return f"Embeddings are centered on the mean of {of}: scores and decisions are not those of the encoder alone."
