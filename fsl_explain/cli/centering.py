"""Embeddings centered as an option or settings ask for it, and the sentence that says so."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.centering import centered, centered_words
from fsl_explain.cli.progress import note
from fsl_explain.config.center import BANK, SUPPORTS, CenterConfig
from fsl_explain.encoder import Encoder
from fsl_explain.registries import CENTERS

Embeddings = Callable[[], Float[Tensor, "*set channel"]]


def as_set(encoder: Encoder, center: CenterConfig | None, supports: Embeddings | None = None) -> Encoder:
    """Return the encoder that settings ask for; ``supports`` embeds those that all decisions have, where there are any.

    Raises: ``ValueError`` for ``kind = "supports"`` where every decision has its own; as ``centered`` and ``CENTERS``.
    """
    if center is None:
        return encoder
    if center.kind == SUPPORTS:
        if supports is None:
            raise Mistake(
                f"{SUPPORTS} can be centered on where all decisions have the same ones, but here each has its own or "
                f"none; give center.kind = {BANK!r} and the center.directory of a bank."
            )
        embeddings = supports()
        found = centered(encoder, embeddings, of=f"the {embeddings[..., 0].numel()} supports")
    else:
        found = CENTERS[center.kind](encoder, center.directory)
    note(centered_words(found.centered_on))
    return found
