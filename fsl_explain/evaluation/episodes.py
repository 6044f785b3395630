"""Evaluation of explanations over few-shot episodes, as close to the cost of its forward passes as it gets.

Every image is embedded once; episodes only gather. Masked queries of many episodes share full batches,
and maps that do not depend on the supports are masked once per image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from episodes import Episode, EpisodeSampler, LabeledImages
from fsl_explain import metrics
from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.config import EvaluationConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.image_store import ImageStore, embed_unique
from fsl_explain.evaluation.masked_queries import Judge, Judged, join, judge, supports_of
from fsl_explain.evaluation.measurement import Chunk, Decisions, Measurements, load_chunk, save_chunk
from fsl_explain.evaluation.measurement import join as join_chunks
from fsl_explain.explainers.explained_score import lead_over, score_of
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.lafam import LAFAM_OF_THE_TABLES
from fsl_explain.explainers.methods.named import METHODS, find_method
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import SIMILARITIES

BASELINES = ("grad-cam", "lafam", "centered-gaussian", "random-blurred", "all-ones")
EPISODES_IN_A_CHUNK = 25


def measured_methods(config: EvaluationConfig) -> tuple[str, ...]:
    """Return the methods asked for, then the baselines every table carries."""
    for name in config.explanation.methods:
        find_method(name)
    return tuple(dict.fromkeys((*config.explanation.methods, *BASELINES)))


def evaluate_episodes(
    encoder: Encoder,
    dataset: LabeledImages,
    config: EvaluationConfig,
    partial: Path | None = None,
    report: Report = silent,
) -> Chunk:
    """Decide, explain and measure every query of ``config.episodes.count`` episodes.

    With ``partial``, finished chunks of episodes are kept in that folder and are not computed again.
    """
    sampler = _sampler(dataset, config)
    methods = measured_methods(config)
    episodes = [sampler[i] for i in range(config.episodes.count)]
    indices = sorted({int(i) for episode in episodes for i in (*episode.support.flat, *episode.query.flat)})
    report("embedding images", 0, len(indices))
    store = embed_unique(
        encoder, dataset, indices, config.run.batch_size, lambda n: report("embedding images", n, len(indices))
    )
    explanation = config.explanation
    run = _Run(Judge(encoder, store, explanation.masking, explanation.iou_threshold, config.run.batch_size), config, {})
    chunks = []
    report("explaining episodes", 0, len(episodes))
    for start in range(0, len(episodes), EPISODES_IN_A_CHUNK):
        chosen = episodes[start : start + EPISODES_IN_A_CHUNK]
        path = None if partial is None else partial / f"episodes-{start:06}-{len(chosen)}.safetensors"
        if path is not None and path.exists():
            chunks.append(load_chunk(path, methods))
        else:
            chunks.append(run.measure(chosen, methods))
            if path is not None:
                save_chunk(chunks[-1], path)
        report("explaining episodes", len(chosen), len(episodes))
    return join_chunks(chunks)


def accuracy_over_episodes(encoder: Encoder, dataset: LabeledImages, config: EvaluationConfig) -> Tensor:
    """Return the accuracy of each episode without explaining anything, shape (episode,)."""
    sampler = _sampler(dataset, config)
    episodes = [sampler[i] for i in range(config.episodes.count)]
    indices = sorted({int(i) for episode in episodes for i in (*episode.support.flat, *episode.query.flat)})
    store = embed_unique(encoder, dataset, indices, config.run.batch_size, lambda _: None)
    run = _Run(Judge(encoder, store, "mean", 0.2, config.run.batch_size), config, {})
    return run.decide(episodes)[0].accuracy


def _sampler(dataset: LabeledImages, config: EvaluationConfig) -> EpisodeSampler:
    sizes = config.episodes
    return EpisodeSampler(
        dataset.labels,
        n_way=sizes.n_way,
        n_shot=sizes.n_shot,
        n_query=sizes.n_query,
        seed=sizes.seed,
        class_names=dataset.classes,
    )


@dataclass(frozen=True)
class _Queries:
    """Queries of many episodes in one list."""

    rows: Int[Tensor, "query"]
    support_rows: Int[Tensor, "query way shot"]
    scores: Tensor  # (query, way), float64
    target: Int[Tensor, "query"]  # the predicted class

    def at(self, index: Tensor | slice) -> "_Queries":
        return _Queries(self.rows[index], self.support_rows[index], self.scores[index], self.target[index])


@dataclass(frozen=True)
class _Run:
    judge_with: Judge
    config: EvaluationConfig
    label_free: dict[str, Judged]  # per method, one entry per image of the store

    @property
    def store(self) -> ImageStore:
        return self.judge_with.store

    def decide(self, episodes: Sequence[Episode]) -> tuple[Decisions, _Queries]:
        """Decide every query of the episodes."""
        classes = torch.stack([torch.from_numpy(episode.classes) for episode in episodes])
        support = torch.stack([torch.from_numpy(episode.support) for episode in episodes])
        image = torch.stack([torch.from_numpy(episode.query).flatten() for episode in episodes])
        n_query = image.shape[1] // classes.shape[1]
        truth = torch.arange(classes.shape[1]).repeat_interleave(n_query).expand(image.shape)
        rows = self.store.row_of[image].flatten()
        support_rows = self.store.row_of[support].repeat_interleave(image.shape[1], dim=0)
        scores = torch.cat([self._scores(rows[part], support_rows[part]) for part in self._batches(len(rows))])
        two_best = scores.topk(2, dim=-1).values
        predicted = scores.argmax(dim=-1)
        decisions = Decisions(
            image=image,
            truth=truth.contiguous(),
            predicted=predicted.reshape(image.shape),
            truth_label=classes.gather(1, truth),
            predicted_label=classes.gather(1, predicted.reshape(image.shape)),
            score=scores.amax(dim=-1).reshape(image.shape),
            margin=(two_best[:, 0] - two_best[:, 1]).reshape(image.shape),
        )
        return decisions, _Queries(rows, support_rows, scores, predicted)

    def measure(self, episodes: Sequence[Episode], methods: Sequence[str]) -> Chunk:
        """Decide, explain and measure; figures are those of correct decisions only, as in the paper."""
        decisions, queries = self.decide(episodes)
        correct = (decisions.truth == decisions.predicted).flatten().nonzero().squeeze(1)
        shape = (len(methods), *decisions.image.shape)
        masked_score = torch.full(shape, torch.nan, dtype=torch.float64)
        figures = {name: masked_score.clone() for name in ("average_drop", "increase_in_confidence")}
        for position, name in enumerate(methods):
            judged, masked = self._judge(name, queries.at(correct))
            score = decisions.score.flatten()[correct]
            masked_score[position].view(-1)[correct] = masked
            figures["average_drop"][position].view(-1)[correct] = metrics.drops(score, masked)
            figures["increase_in_confidence"][position].view(-1)[correct] = metrics.increases(score, masked)
            for metric, values in judged.figures.items():
                filled = figures.setdefault(metric, torch.full(shape, torch.nan, dtype=torch.float64))
                filled[position].view(-1)[correct] = values.double()
        return Chunk(decisions, Measurements(tuple(methods), masked_score, figures))

    def _judge(self, name: str, queries: _Queries) -> tuple[Judged, Tensor]:
        """Return figures, and the score of the predicted class for the masked query to the same supports."""
        if METHODS[name].uses_supports:
            batches = [queries.at(part) for part in self._batches(len(queries.rows))]
            judged = join([self._judge_batch(name, batch) for batch in batches]) if batches else self._nothing()
        else:
            judged = self._judge_images(name).at(queries.rows)
        parts = [
            self._scores_of(judged.embeddings[part], queries.support_rows[part]).gather(
                1, queries.target[part][:, None]
            )
            for part in self._batches(len(queries.rows))
        ]
        return judged, torch.cat(parts).squeeze(1) if parts else torch.zeros(0, dtype=torch.float64)

    def _judge_batch(self, name: str, queries: _Queries) -> Judged:
        question = self._question(queries, METHODS[name])
        return judge(self.judge_with, METHODS[name], question, queries.rows)

    def _judge_images(self, name: str) -> Judged:
        """Mask every image once: the map of this method does not depend on the supports."""
        if name not in self.label_free:
            method = LAFAM_OF_THE_TABLES if name == "lafam" else METHODS[name]
            rows = torch.arange(len(self.store.pixels))
            anyone = _Queries(rows, rows[:, None, None].expand(-1, 2, 1), rows.new_zeros(len(rows), 2), rows * 0)
            parts = [anyone.at(part) for part in self._batches(len(rows))]
            judged = [judge(self.judge_with, method, self._question(part, method), part.rows) for part in parts]
            self.label_free[name] = join(judged)
        return self.label_free[name]

    def _question(self, queries: _Queries, method: Method) -> Question:
        decision, encoder = self.config.decision, self.judge_with.encoder
        supports, scores = self._supports(queries.support_rows), queries.scores.double()
        return Question(
            query=self.store.features(queries.rows),
            supports=supports,
            explained=lead_over(scores, scores, queries.target, None, supports.classes)
            if method.explains == "contrast"
            else score_of(scores, queries.target),
            ranking=scores,
            target=queries.target,
            rule=RULES[decision.rule],
            similarity=SIMILARITIES[decision.similarity],
            pooling=encoder.pooling,
            head=encoder.head,
            pixels=Pixels(encoder, self.store.images(queries.rows)) if method.perturbs else None,
        )

    def _supports(self, rows: Int[Tensor, "query way shot"]) -> SupportSet:
        valid = torch.ones(rows.shape[1:], dtype=torch.bool)
        return supports_of(self.store, rows, valid, tuple(f"class {i}" for i in range(rows.shape[1])))

    def _scores(self, rows: Int[Tensor, "query"], support_rows: Int[Tensor, "query way shot"]) -> Tensor:
        return self._scores_of(self.store.embeddings[rows].double(), support_rows)

    def _scores_of(self, embeddings: Tensor, support_rows: Int[Tensor, "query way shot"]) -> Tensor:
        decision = self.config.decision
        return RULES[decision.rule].class_scores(
            embeddings, self._supports(support_rows), SIMILARITIES[decision.similarity]
        )

    def _nothing(self) -> Judged:
        figures = {name: torch.zeros(0) for name in ("proportion", "intersection_over_union", "pointing_game")}
        return Judged(torch.zeros(0, self.store.embeddings.shape[1], dtype=torch.float64), figures)

    def _batches(self, count: int) -> Iterator[slice]:
        size = self.judge_with.batch_size
        return (slice(start, start + size) for start in range(0, count, size))
