"""A chunk of episodes, decided, explained and measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from episodes import Episode
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet
from fsl_explain.engine import Part
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.decided_episodes import DecidedEpisodes, Queries
from fsl_explain.evaluation.kept_maps import kept_maps
from fsl_explain.evaluation.masked_queries import Judge, Judged, join, judge
from fsl_explain.evaluation.measurement import Chunk, Measurements, tensors_of
from fsl_explain.explainers.asking import Decided, ask_about
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels, Question


@dataclass(frozen=True)
class EpisodeWork:
    """Measures chunks of episodes; maps that no support changes are made once for all of them."""

    judge_with: Judge
    decided_by: DecidedBy
    methods: Mapping[str, Method]
    episodes: Sequence[Episode]
    label_free: dict[str, Judged] = field(default_factory=dict)  # per method, one entry per image of the store

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
            judged = self._judge_all(method, queries)
        else:
            judged = self._judge_images(name, method).at(queries.rows)
        if not self.judge_with.masks:
            return judged, torch.full((len(queries.rows),), torch.nan, dtype=torch.float64)
        parts = [
            self.decided.scores_of(judged.embeddings[part], self._supports(queries.at(part))).gather(
                1, queries.target[part][:, None]
            )
            for part in self._batches(queries)
        ]
        return judged, torch.cat(parts).squeeze(1) if parts else torch.zeros(0, dtype=torch.float64)

    def _judge_all(self, method: Method, queries: Queries) -> Judged:
        batches = [queries.at(part) for part in self._batches(queries)]
        parts = [judge(self.judge_with, method, self._question(one, method), one.rows) for one in batches]
        return join(self.judge_with, parts)

    def _judge_images(self, name: str, method: Method) -> Judged:
        """Mask every image once: the map of this method does not depend on the supports."""
        if name not in self.label_free:
            rows = torch.arange(len(self.judge_with.store.pixels))
            anyone = Queries(rows, rows[:, None, None].expand(-1, 2, 1), rows.new_zeros(len(rows), 2), rows * 0)
            self.label_free[name] = self._judge_all(method, anyone)
        return self.label_free[name]

    def _question(self, queries: Queries, method: Method) -> Question:
        store, encoder, scores = self.judge_with.store, self.judge_with.encoder, queries.scores.double()
        decided = Decided(self.decided_by.rule, self.decided_by.similarity, scores, scores, queries.target)
        seen_again = method.asks_for_pixels(encoder.pooling) or encoder.reading.tail.is_network
        pixels = Pixels(encoder, store.images(queries.rows)) if seen_again else None
        supports = self._supports(queries)
        return ask_about(method, encoder, store.features(queries.rows), supports, decided, pixels)

    def _supports(self, queries: Queries) -> SupportSet:
        return self.decided.supports(queries.support_rows, queries.together)

    def _batches(self, queries: Queries) -> Sequence[slice]:
        return [*slices(len(queries.rows), self.judge_with.batch_size)]
