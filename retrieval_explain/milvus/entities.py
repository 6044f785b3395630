"""The entities of a bank's collection: rows, and a few others that hold what is known of the rows.

Nothing is changed in place. A change adds rows and tombstones of a transaction of its own, and one last entity, its
record, makes them the bank's; until that is there, the bank is what it was.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float32, Int64

from episodes.errors import Mistake
from fsl_explain.similarities import named_similarity, traits_of
from retrieval_explain.milvus.record import Made
from retrieval_explain.store.bank_rows import SCHEMA

KEY, SINCE, ROW, DIGEST, EMBEDDING, COMPARED = "pk", "since", "row", "digest", "embedding", "compared"
TEXTS = ("label", "path", "content")
KNOWN = (KEY, SINCE, ROW, "id", *TEXTS, DIGEST)
TOMBSTONE, RECORD, CLAIM, NOTE = -1, -2, -3, -4  # what an entity is in place of a row, in its field ROW
CLAIM_KEY, NOTE_KEYS = 0, -(2**61)
MODULUS = 2**63
METRICS = {"cosine": "COSINE", "inner-product": "IP", "euclidean": "L2"}


@dataclass(frozen=True)
class Compared:
    """How the server compares: by which metric, and whether by the embeddings or by what is made of them."""

    similarity: str
    metric: str
    transformed: bool

    @property
    def field(self) -> str:
        """The field of the vectors."""
        return COMPARED if self.transformed else EMBEDDING

    def of(self, embeddings: Float32[np.ndarray, "row channel"]) -> Float32[np.ndarray, "row compared"]:
        """Return what the server is given of embeddings."""
        transform = traits_of(named_similarity(self.similarity)).transform
        if not self.transformed or transform is None:
            return embeddings
        made: Float32[np.ndarray, "row compared"] = transform(torch.from_numpy(embeddings)).float().numpy()
        return made

    @property
    def as_similarity(self) -> float:
        """The factor that makes a similarity of what the server calls a distance."""
        return -1.0 if self.metric == "L2" else 1.0


def compared_by(similarity: str) -> Compared:
    """Return how a similarity is compared. Raises: ``ValueError`` for one that is no inner product and no distance."""
    if similarity in METRICS:
        return Compared(similarity, METRICS[similarity], False)
    traits = traits_of(named_similarity(similarity))
    if traits.transform is None:
        raise Mistake(
            f"expected a similarity that is an inner product or a distance, for a bank on a Milvus server, but "
            f"{similarity} does not say so; give it traits or keep the bank in a folder."
        )
    return Compared(similarity, "IP" if traits.inner_product_of is not None else "L2", True)


def largest_norm(vectors: Float32[np.ndarray, "row channel"]) -> float:
    """Return the largest norm of some vectors, 0 of none."""
    return float(np.linalg.norm(vectors.astype(np.float64), axis=1).max(initial=0.0))


def digest_of(row: int, texts: Sequence[Any], embedding: Float32[np.ndarray, "channel"]) -> int:
    """Return 63 bits of a hash of a row: its place, id, label, path and content, and its embedding."""
    told = json.dumps([row, *texts]).encode()
    return int.from_bytes(hashlib.blake2b(told + embedding.tobytes(), digest_size=8).digest(), "big") >> 1


def row_entities(
    keys: Int64[np.ndarray, "row"],
    places: Int64[np.ndarray, "row"],
    since: int,
    table: pa.Table,
    embeddings: Float32[np.ndarray, "row channel"],
    compared: Compared,
) -> Iterator[dict[str, Any]]:
    """Yield the entities of rows: of each its key, its place in the order, and what is known of it."""
    vectors = compared.of(embeddings)
    known = zip(keys.tolist(), places.tolist(), table.select(SCHEMA.names).to_pylist(), strict=True)
    for number, (key, place, one) in enumerate(known):
        values = [one[name] for name in SCHEMA.names]
        digest = digest_of(place, values, embeddings[number])
        entity = {KEY: key, SINCE: since, ROW: place, DIGEST: digest, EMBEDDING: embeddings[number], **one}
        yield entity | {COMPARED: vectors[number]} if compared.transformed else entity


def other_entity(
    key: int, kind: int, since: int, made: Made, *, text: str | None = None, target: int = 0
) -> dict[str, Any]:
    """Return an entity that is no row; the server wants a vector of each."""
    vector = np.ones((1, made.channels), np.float32)
    none: dict[str, Any] = dict.fromkeys(TEXTS)
    entity = {KEY: key, SINCE: since, ROW: kind, "id": target, DIGEST: 0, EMBEDDING: vector[0], **none, "path": text}
    compared = compared_by(made.similarity)
    return entity | {COMPARED: compared.of(vector)[0]} if compared.transformed else entity


def described_rows(found: Sequence[dict[str, Any]]) -> pa.Table:
    """Return the table of id, label, path and content of entities."""
    return pa.table({name: pa.array([one[name] for one in found], SCHEMA.field(name).type) for name in SCHEMA.names})
