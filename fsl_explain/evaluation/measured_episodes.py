"""A chunk of episodes, decided, explained and measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from episodes import Episode
from fsl_explain.batches import slices
from fsl_explain.engine import Part
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.decided_episodes import DecidedEpisodes, Queries
from fsl_explain.evaluation.kept_maps import kept_maps
from fsl_explain.evaluation.masked_queries import Judge, Judged, join, judge
from fsl_explain.evaluation.measurement import Chunk, Measurements, tensors_of
from fsl_explain.explainers.asking import Decided, ask_about
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels, Question

CELLS, EMBEDDINGS, FIGURE = "cells", "embeddings", "figure "


@dataclass(frozen=True)
class EpisodeWork:
    """Measures chunks of episodes; maps that no support changes were made before, once for all of them."""

    judge_with: Judge
    decided_by: DecidedBy
    methods: Mapping[str, Method]
    episodes: Sequence[Episode]
    label_free: Mapping[str, Judged]  # per method whose maps no support changes, one entry per image of the store

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Measure the episodes of a part; its maps, where they are kept, are numbered through all episodes."""
        start = part.made_of["start"]
        chunk, maps = self.measure(self.episodes[start : part.made_of["stop"]], start)
        return tensors_of(chunk) | maps

    @property
    def decided(self) -> DecidedEpisodes:
        """What decides over the same images."""
        return DecidedEpisodes(self.judge_with.store, self.decided_by, self.judge_with.batch_size)

    def measure(self, episodes: Sequence[Episode], start: int = 0) -> tuple[Chunk, dict[str, Tensor]]:
        """Decide, explain and measure; figures and maps are those of correct decisions only, as in the paper."""
        decisions, queries = self.decided.decide(episodes)
        correct = (decisions.truth == decisions.predicted).flatten().nonzero().squeeze(1)
        shape = (len(self.methods), *decisions.image.shape)
        masked_score = torch.full(shape, torch.nan, dtype=torch.float64)
        figures = {one.name: masked_score.clone() for one in self.judge_with.figures}
        maps: dict[str, Tensor] = {}
        for position, (name, method) in enumerate(self.methods.items()):
            judged, masked = self._judge(name, method, queries.at(correct))
            score = decisions.score.flatten()[correct]
            masked_score[position].view(-1)[correct] = masked
            for figure, values in (judged.figures | self.judge_with.of_scores(score, masked)).items():
                figures[figure][position].view(-1)[correct] = values.double()
            if judged.cells is not None:
                numbers = correct + start * decisions.image.shape[1]
                maps |= kept_maps(name, method, judged.cells, numbers, self.judge_with.size)
        measured = Measurements(tuple(self.methods), masked_score, figures, self.judge_with.figures)
        return Chunk(decisions, measured), maps

    def _judge(self, name: str, method: Method, queries: Queries) -> tuple[Judged, Tensor]:
        """Return figures, and the score of the predicted class for the masked query to the same supports."""
        if method.uses_supports:
            judged = judged_queries(self.judge_with, self.decided_by, method, queries)
        else:
            judged = self.label_free[name].at(queries.rows)
        if not self.judge_with.masks:
            return judged, torch.full((len(queries.rows),), torch.nan, dtype=torch.float64)
        parts = [
            self._scores(judged.embeddings[part].double(), queries.at(part)).gather(1, queries.target[part][:, None])
            for part in slices(len(queries.rows), self.judge_with.batch_size)
        ]
        if not parts:
            return judged, torch.zeros(0, dtype=torch.float64)
        # A mask that removes nothing changes no score, not even by the rounding of another batch: that is no rise.
        as_before = (judged.embeddings == self.judge_with.store.embeddings[queries.rows].double()).all(dim=1)
        before = queries.scores.gather(1, queries.target[:, None]).squeeze(1)
        return judged, torch.where(as_before, before, torch.cat(parts).squeeze(1))

    def _scores(self, embeddings: Tensor, queries: Queries) -> Tensor:
        return self.decided.scores_of(embeddings, queries.support_rows, queries.together)


@dataclass(frozen=True)
class ImageWork:
    """Measures maps that no support changes, once for each image of the store."""

    judge_with: Judge
    decided_by: DecidedBy
    methods: Mapping[str, Method]

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Measure the images of a part, rows of the store, by its method."""
        rows = torch.arange(part.made_of["start"], part.made_of["stop"])
        anyone = Queries(rows, rows[:, None, None].expand(-1, 2, 1), rows.new_zeros(len(rows), 2), rows * 0)
        judged = judged_queries(self.judge_with, self.decided_by, self.methods[part.made_of["method"]], anyone)
        cells = {} if judged.cells is None else {CELLS: judged.cells}
        figures = {f"{FIGURE}{name}": values for name, values in judged.figures.items()}
        return {EMBEDDINGS: without_loss(judged.embeddings)} | cells | figures


def without_loss(values: Float[Tensor, "query embedding"]) -> Float[Tensor, "query embedding"]:
    """Return values in single precision where that changes none of them: what networks give is single already."""
    single = values.float()
    return single if torch.equal(single.double(), values) else values


def judged_of(result: Mapping[str, Tensor]) -> Judged:
    """Return what ``ImageWork`` gave as tensors."""
    figures = {name.removeprefix(FIGURE): values for name, values in result.items() if name.startswith(FIGURE)}
    return Judged(result[EMBEDDINGS], figures, result.get(CELLS))


def judged_queries(judge_with: Judge, by: DecidedBy, method: Method, queries: Queries) -> Judged:
    """Explain and judge queries, group by group."""
    compared = queries.support_rows.shape[1:].numel() * judge_with.store.embeddings.shape[1]
    groups = [queries.at(part) for part in judge_with.groups(method, len(queries.rows), compared)]
    decided = DecidedEpisodes(judge_with.store, by, judge_with.batch_size)
    parts = [judge(judge_with, method, _question(judge_with, decided, one, method), one.rows) for one in groups]
    return join(judge_with, parts)


def _question(judge_with: Judge, episodes: DecidedEpisodes, queries: Queries, method: Method) -> Question:
    store, encoder, scores = judge_with.store, judge_with.encoder, queries.scores.double()
    decided = Decided(episodes.by.rule, episodes.by.similarity, scores, scores, queries.target)
    seen_again = method.asks_for_pixels(encoder.pooling) or encoder.reading.tail.is_network
    pixels = Pixels(encoder, store.images(queries.rows)) if seen_again else None
    supports = episodes.supports(queries.support_rows, queries.together)
    return ask_about(method, encoder, store.features(queries.rows), supports, decided, pixels)
