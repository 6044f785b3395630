"""A text as the query of a bank of images: what comes back, and why each image of it does.

The roles are swapped to explain it. A text has no regions, so that each image is explained with the text as the
reference: its cells add up, with the bias, to the similarity of the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import PIL.Image
from jaxtyping import Bool, Float
from torch import Tensor

from episodes import read_image
from episodes.errors import MissingFile, Mistake
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.prompts import of_norm_one, text_supports
from retrieval_explain.decisions.far_targets import Asked, joined
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.store.row_filter import allowed_rows

Read = Callable[[str], PIL.Image.Image]


@dataclass(frozen=True)
class TextRetrieved:
    """One text and the images of a bank that are most similar to it.

    ``encoder`` embeds the text, and images again where they are explained. ``text`` are all prompts, with " | "
    between, ``embedding`` has norm 1, in float64, ``neighbors`` are the k images. ``allowed`` are the rows that the
    filters left to search among; None: all.
    """

    encoder: Encoder
    bank: MemoryBank
    text: str
    embedding: Float[Tensor, "channel"]
    neighbors: Neighbors
    allowed: Bool[Tensor, "row"] | None = None


def retrieve_text(
    encoder: Encoder,
    text: str | Sequence[str],
    bank: MemoryBank,
    *,
    k: int | None = None,
    classes: Sequence[str] | Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
) -> TextRetrieved:
    """Embed a text by the encoder's text tower and search the k images most similar to it.

    Several prompts say one thing, such as "a photo of a bird" and "a drawing of a bird": their embeddings of norm 1 are
    averaged, and the mean has norm 1 again, as is usual for such models.

    ``k`` of None is 200, or all images where there are fewer. The filters are those of ``MemoryBank.search``;
    ``MemoryBank.expect_encoder`` tells whether the encoder is the bank's.

    Raises: as ``Encoder.embed_text`` and ``MemoryBank.search``; ``ValueError`` for an encoder without a text tower, no
    prompt, or one that comes twice.
    """
    name, embedding = _meant(encoder, text)
    found = bank.search(embedding[None], k, classes=classes, ids=ids)[0]
    return TextRetrieved(encoder, bank, name, embedding, found, allowed_rows(bank.entries, len(bank), classes, ids))


def explain_text(
    encoder: Encoder,
    text: str | Sequence[str],
    bank: MemoryBank,
    *,
    method: str | Method = "exact",
    target: Asked | None = None,
    against: str | Sequence[str] | None = None,
    read: Read = read_image,
) -> Explanation:
    """Explain why an image of the bank is similar to a text: the image's cells add up to their similarity.

    ``text`` are one prompt or several, as in ``retrieve_text``. ``target`` is the image, by its rank from 0, its path
    or ``id:NUMBER``; the first if None. ``against`` serves ``contrast``: other texts, over which the text leads for
    this image. The image is read and embedded again.

    Raises: as ``retrieve_text`` and ``fsl_explain.explain``; ``ValueError`` for an encoder other than the bank's, a
    ``target`` that is a class, or a text that is among ``against``; ``LookupError`` for an image that the bank has not;
    ``FileNotFoundError`` for one without a file.
    """
    bank.expect_encoder(encoder)
    retrieved = retrieve_text(encoder, text, bank, k=1)
    row = int(retrieved.neighbors.indices[0]) if target is None else _row_of(retrieved, target)
    path = bank.paths[row]
    if not path:
        raise MissingFile(f"expected a file to explain, but the bank has no path for its row {row}; build it of files.")
    others = [] if against is None else [against] if isinstance(against, str) else list(against)
    for own in [text] if isinstance(text, str) else text:
        if own in others:
            raise Mistake(f"expected other texts than {own!r} to compare it with, but it is among them; leave it out.")
    return explain_images(retrieved, [read(path)], method=method, against=others)[0]


def explain_images(
    retrieved: TextRetrieved,
    photographs: Sequence[PIL.Image.Image],
    *,
    method: str | Method = "exact",
    against: Sequence[str] = (),
) -> Explanation:
    """Explain the similarity of each photograph to the text, all in one batch. Errors as ``explain_text``."""
    encoder, text = retrieved.encoder, retrieved.text
    supports = {text: retrieved.embedding[None], **(text_supports(encoder, list(against)) if against else {})}
    similarity = retrieved.bank.similarity
    compared = compare(encoder, encoder.preprocess(list(photographs)), supports, similarity)
    rivals = list(against) or None
    return explain_compared(compared, method, Choice(similarity=similarity, target=text, against=rivals))


def _meant(encoder: Encoder, text: str | Sequence[str]) -> tuple[str, Float[Tensor, "channel"]]:
    """Return a name for what one or several prompts say, and its embedding of norm 1, in float64."""
    prompts = [text] if isinstance(text, str) else list(text)
    repeated = [one for one in prompts if prompts.count(one) > 1]
    if not prompts or repeated:
        got = f"{repeated[0]!r} {prompts.count(repeated[0])} times" if repeated else "none"
        raise Mistake(f"expected a prompt, or several that differ, but got {got}; name each once.")
    name = " | ".join(prompts)
    embedded = text_supports(encoder, {name: prompts})[name].double().cpu()
    return name, of_norm_one(embedded.mean(dim=0), encoder.text_copies)


def _row_of(retrieved: TextRetrieved, target: Asked) -> int:
    found, bank = retrieved.neighbors, retrieved.bank
    neighbors, _, places = joined(bank, retrieved.embedding, found, [target], (), allowed=retrieved.allowed)
    return int(neighbors.indices[places[0]])
