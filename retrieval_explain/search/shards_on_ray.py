"""Shards that Ray actors search: each opens its folders, which lie on storage that all nodes see."""

import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.engine import EngineOptions
from fsl_explain.engines.carried import Outcome, outcome_of, plain_dumps
from fsl_explain.engines.ray import connected
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.search.sharded import Asked, searched
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.stored_rows import StoredRows


class ShardActor:
    """What an actor does; one that is lost opens its folders again, and answers again."""

    def __init__(self, folders: Mapping[int, str], path: Sequence[str], threads: int) -> None:
        sys.path.extend(place for place in path if place not in sys.path)
        torch.set_num_threads(threads)
        self.folders = folders
        self.rows: dict[int, StoredRows] = {}

    def search(self, packed: bytes, version: str) -> Outcome:
        """Search one shard; ``version`` is the one that the driver has open."""
        asked: Asked = pickle.loads(packed)
        return outcome_of(lambda: self._search(asked, version))

    def _search(self, asked: Asked, version: str) -> dict[str, Tensor]:
        if asked.shard not in self.rows:
            self.rows[asked.shard] = StoredRows(open_bank(Path(self.folders[asked.shard])))
        rows = self.rows[asked.shard]
        if rows.stored.version != version:
            del self.rows[asked.shard]
            raise changed(self.folders[asked.shard])
        found = searched(rows, asked)
        return {"indices": found.indices, "similarities": found.similarities}


def changed(folder: str) -> Exception:
    """Return the mistake of a shard that was changed since it was opened."""
    return Mistake(f"the bank {folder} was changed while it was searched as a shard; open the shards again.")


@dataclass(frozen=True, eq=False)
class SearchersOnRay:
    """Search shards on a Ray cluster."""

    versions: tuple[str, ...]  # that are open here
    actors: tuple[Any, ...]  # that of each shard

    @classmethod
    def of(cls, folders: Sequence[str], versions: Sequence[str], options: EngineOptions) -> "SearchersOnRay":
        """Start actors, one for each processor of the cluster or as many as asked for, and share the shards out."""
        ray = connected(options.workers or 1)
        count = min(len(folders), options.workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        # no processor is reserved: an actor whose node is lost starts anew wherever there is room
        remote = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD")(ShardActor)
        started = []
        for number in range(count):
            own = {shard: folders[shard] for shard in range(number, len(folders), count)}
            started.append(remote.remote(own, list(sys.path), options.threads or 1))
        return cls(tuple(versions), tuple(started[shard % count] for shard in range(len(folders))))

    def search(self, asked: Sequence[Asked]) -> list[Neighbors]:
        """Ask all shards at once."""
        answers = [self.actors[one.shard].search.remote(plain_dumps(one), self.versions[one.shard]) for one in asked]
        outcomes: list[Outcome] = connected().get(answers)
        results = [one.taken() for one in outcomes]
        return [Neighbors(one["indices"], one["similarities"]) for one in results]
