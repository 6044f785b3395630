"""The numbers of an audit that take time, block by block on an engine: KNN-Shapley values and nearest neighbors."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.engine import EngineChoice, Part, engine_for, in_order
from fsl_explain.progress import Report
from fsl_explain.similarities import Similarity, named_similarity
from retrieval_explain.ranking.knn_shapley import leave_one_out_sums, query_blocks
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.ranking.retrieval_scores import PAIRS_AT_ONCE, Searched

STAGE = "auditing labels"
VALUES, INDICES, SIMILARITIES = "values", "indices", "similarities"


@dataclass(frozen=True)
class AuditedImages:
    """Labeled images, each in turn a query among the others."""

    embeddings: Float[Tensor, "image channel"]
    labels: Int[Tensor, "image"]
    similarity: str | Similarity
    k: int

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Return what the queries of a part add to the values, or their neighbors."""
        block = slice(part.made_of["start"], part.made_of["stop"])
        if part.made_of["what"] == VALUES:
            pairwise = named_similarity(self.similarity).pairwise
            return {VALUES: leave_one_out_sums(self.embeddings, self.labels, pairwise, self.k, block)}
        own = torch.arange(len(self.labels))[block]
        queries = (self.embeddings[block], self.labels[block], own)
        found = Searched(*queries, self.embeddings, self.labels, self.similarity).neighbors(self.k)
        return {INDICES: found.indices, SIMILARITIES: found.similarities}

    def parts(self) -> Iterator[Part]:
        """Yield the blocks of both, in order."""
        count = len(self.labels)
        cut = {VALUES: query_blocks(count, count), INDICES: query_blocks(count, count, PAIRS_AT_ONCE)}
        for what, blocks in cut.items():
            for block in blocks:
                made_of = {"what": what, "start": block.start, "stop": block.stop}
                yield Part(f"{what}-{block.start:09}", made_of)


def audited(images: AuditedImages, engine: EngineChoice, report: Report) -> tuple[Float[Tensor, "image"], Neighbors]:
    """Return the KNN-Shapley value of each image, and its k nearest others; sums are taken in the order of the images.

    ``report`` is told of images done, each twice.
    """
    parts = list(images.parts())
    total = torch.zeros(len(images.labels), dtype=torch.float64)
    found: list[Mapping[str, Tensor]] = []
    report(STAGE, 0, 2 * len(total))
    results = in_order(engine_for(engine, None, "").map(functools.partial(_same, images), parts))
    for part, result in zip(parts, results, strict=True):
        if VALUES in result:
            total += result[VALUES]
        else:
            found.append(result)
        report(STAGE, part.made_of["stop"] - part.made_of["start"], 2 * len(total))
    indices = torch.cat([one[INDICES] for one in found])
    similarities = torch.cat([one[SIMILARITIES] for one in found])
    return total / len(total), Neighbors(indices, similarities, images.labels[indices])


def _same(images: AuditedImages) -> AuditedImages:
    return images
