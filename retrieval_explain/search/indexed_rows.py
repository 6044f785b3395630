"""An index over rows wherever they are: kept beside a bank on disk, the server's own, or built in memory."""

from episodes.naming import unknown_name
from fsl_explain.similarities import Similarity
from retrieval_explain.ranking.neighbors import Rows
from retrieval_explain.search.index import build_index
from retrieval_explain.search.index_cache import cached
from retrieval_explain.search.recall import HasOwnIndex, Verified, check_recall, verify
from retrieval_explain.settings import INDEX_KINDS
from retrieval_explain.store.given_rows import wanted_neighbors
from retrieval_explain.store.stored_rows import StoredRows


def indexed_rows(rows: Rows, similarity: str | Similarity, kind: str, k: int | None, recall: float) -> Verified | None:
    """Return an index of a kind, as wide as it takes to reach the recall at k. Raises: as ``MemoryBank.indexed``."""
    check_recall(recall)
    if kind not in INDEX_KINDS:
        raise unknown_name("index", kind, INDEX_KINDS)
    wanted = wanted_neighbors(k, rows.shape[0], rows.shape[0])
    if isinstance(rows, StoredRows):
        return cached(rows.stored, rows, similarity, kind, wanted, recall)
    if isinstance(rows, HasOwnIndex):
        return rows.indexed(similarity, kind, wanted, recall)
    return verify(build_index(rows, similarity, kind, wanted), rows, wanted, recall)
