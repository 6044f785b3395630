"""Evaluation of explanations over few-shot episodes, as close to the cost of its forward passes as it gets.

Every image is embedded once; episodes only gather. Masked queries of many episodes share full batches,
and maps that do not depend on the supports are masked once per image.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from episodes import Episode, EpisodeSampler, LabeledImages
from episodes.errors import Mistake
from fsl_explain.batches import slices
from fsl_explain.classifiers import Rule
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.engine import CONTENTS, LOCAL, Engine, EngineChoice, Part, engine_for
from fsl_explain.evaluation.chosen_methods import expect_fitting, with_baselines
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.decided_episodes import DecidedEpisodes
from fsl_explain.evaluation.figures import OF_DECISIONS, Figure, find_figures
from fsl_explain.evaluation.identity import identity
from fsl_explain.evaluation.image_store import ImageStore, embed_unique
from fsl_explain.evaluation.masked_queries import (
    NEEDS_OF_DECISIONS,
    Judge,
    Judged,
    check_batch_size,
    check_measuring,
    join,
)
from fsl_explain.evaluation.measured_episodes import EpisodeWork, ImageWork, judged_of
from fsl_explain.evaluation.measurement import Chunk, about_queries, chunk_of
from fsl_explain.evaluation.measurement import join as join_chunks
from fsl_explain.evaluation.results.saved_maps import MapsFolder
from fsl_explain.evaluation.run_identity import indices_hash, run_hash, text_hash
from fsl_explain.explainers.method import Method
from fsl_explain.files import as_path
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import Similarity

EPISODES_IN_A_CHUNK = 25
IMAGES_IN_A_PART = 64  # by a method whose maps no support changes
WITH_MAPS = 5  # episodes in a chunk whose maps are kept
PART_BY_PART = ""  # a run may get more episodes: each part says which contents its images have
METHODS_MEASURED = ("fam", "exact", "contrast")


def evaluate_episodes(
    encoder: Encoder,
    dataset: LabeledImages,
    *,
    sampler: EpisodeSampler | None = None,
    episodes: int = 200,
    methods: Sequence[str | Method] = METHODS_MEASURED,
    figures: Sequence[str | Figure] = OF_DECISIONS,
    rule: str | Rule = "mean-similarity",
    similarity: str | Similarity = "cosine",
    masking: str = "mean",
    iou_threshold: float = 0.2,
    batch_size: int = 16,
    partial: str | Path | None = None,
    maps: str | Path | None = None,
    engine: EngineChoice = LOCAL,
    report: Report = silent,
) -> Chunk:
    """Decide, explain and measure every query of the first episodes of a sampler.

    What comes back holds ``decisions``, whose ``accuracy`` is that of each episode, and ``measurements``, whose
    ``figures`` are values by name for each method, episode and query, NaN for wrong decisions; ``summarize`` makes
    means of them.

    Without a ``sampler`` the ``episodes`` are 5-way 1-shot with 15 queries a class. ``methods``, ``figures``, ``rule``
    and ``similarity`` are names or objects; the baselines every table carries are measured beside the methods.
    ``masking`` says what removed pixels become: ``mean``, ``black`` or ``blur``. ``iou_threshold`` is the share of a
    map's maximum, between 0 and 1, above which a pixel counts. ``batch_size`` images go through the network together.

    With ``partial``, finished chunks of episodes are kept in that folder, and a second call goes on with them.
    With ``maps``, the raw maps of correct decisions are written into that folder, for ``load_maps``. ``engine`` says
    where the parts of the work run: ``local``, ``process`` or ``ray``, or an object with a method ``map``.
    ``report`` is told of the stage, the units done since its last call and all units.

    Raises: ``LookupError`` for an unknown name, with the nearest ones; ``ValueError`` for a value that does not fit,
    such as a sampler of other images, or a method that has no answer for the encoder; ``TypeError`` for no encoder, or
    names that are no list; ``ImportError`` for an engine that is not installed.
    """
    expect_encoder(encoder, "encoder, data set")
    partial, maps = as_path(partial), as_path(maps)
    check_measuring(masking, iou_threshold, batch_size)
    drawn = _drawn(dataset, sampler, episodes)
    chosen = with_baselines(methods)
    expect_fitting(chosen, encoder, rule)
    shown = find_figures(figures, NEEDS_OF_DECISIONS, "an evaluation of episodes")
    decided_by = DecidedBy.of(rule, similarity, encoder.scales)
    encoder = encoder_for(decided_by.rule, encoder)
    settings = {
        "methods": [*chosen, [one for one in methods if not isinstance(one, str)]],
        "figures": [identity(figure) for figure in shown],
        "decision": [decided_by.chosen_rule, decided_by.chosen_similarity],
        "measuring": [masking, iou_threshold, *(["maps"] if maps is not None else [])],
    }
    engine_for(engine, partial, "")  # a mistake shows before images are read
    store = _embedded(encoder, dataset, drawn, batch_size, report)
    run = "" if partial is None else run_hash(encoder, dataset, settings, contents=PART_BY_PART)
    running = engine_for(engine, partial, run)
    judge = Judge(encoder, store, masking, iou_threshold, batch_size, shown, keeps_maps=maps is not None)
    decided_by = decided_by.over(store.first)
    contents = None if partial is None else _contents(store)
    of_images = _label_free(running, judge, decided_by, chosen, settings, contents, report)
    make = functools.partial(EpisodeWork, judge, decided_by, chosen, drawn, of_images)
    together = EPISODES_IN_A_CHUNK if maps is None else WITH_MAPS
    parts = [*_parts(drawn, together, settings, contents)]
    written = None if maps is None else MapsFolder(maps)
    chunks: dict[int, Chunk] = {}
    report("explaining episodes", 0, len(drawn))
    for position, result in running.map(make, parts):
        rest = result if written is None else written.take(parts[position].name, result)
        chunks[position] = chunk_of(rest, tuple(chosen), shown)
        report("explaining episodes", len(chunks[position].decisions.image), len(drawn))
    found = join_chunks([chunks[position] for position in range(len(parts))])
    if written is not None:
        written.finish(functools.partial(about_queries, found.decisions, dataset.classes, dataset.paths))
    return found


def accuracy_over_episodes(
    encoder: Encoder,
    dataset: LabeledImages,
    *,
    sampler: EpisodeSampler | None = None,
    episodes: int = 200,
    rule: str | Rule = "mean-similarity",
    similarity: str | Similarity = "cosine",
    batch_size: int = 16,
) -> Float[Tensor, "episode"]:
    """Return the accuracy of each episode, from 0 to 1, without explaining anything.

    Arguments are as in ``evaluate_episodes``. Raises: as that.
    """
    expect_encoder(encoder, "encoder, data set")
    check_batch_size(batch_size)
    drawn = _drawn(dataset, sampler, episodes)
    decided_by = DecidedBy.of(rule, similarity, encoder.scales)
    store = _embedded(encoder_for(decided_by.rule, encoder), dataset, drawn, batch_size, silent)
    by = decided_by.over(store.first)
    return DecidedEpisodes(store, by, batch_size).decide(drawn)[0].accuracy


def _drawn(dataset: LabeledImages, sampler: EpisodeSampler | None, count: int) -> list[Episode]:
    if count < 1:
        raise Mistake(f"expected at least 1 episode, but got {count}; 200 or more give narrow intervals.")
    drawing = EpisodeSampler(dataset.labels, class_names=dataset.classes) if sampler is None else sampler
    drawn = list(drawing.episodes(count))
    largest = max(int(max(episode.support.max(), episode.query.max())) for episode in drawn)
    if largest >= len(dataset):
        raise Mistake(
            f"expected a sampler over the labels of {dataset.name}, which has {len(dataset)} images, but it draws "
            f"image {largest}; make it of dataset.labels."
        )
    return drawn


def _embedded(
    encoder: Encoder, dataset: LabeledImages, drawn: Sequence[Episode], batch_size: int, report: Report
) -> ImageStore:
    indices = sorted({int(i) for episode in drawn for i in (*episode.support.flat, *episode.query.flat)})
    report("embedding images", 0, len(indices))
    return embed_unique(encoder, dataset, indices, batch_size, lambda n: report("embedding images", n, len(indices)))


def _label_free(
    running: Engine,
    judge_with: Judge,
    decided_by: DecidedBy,
    methods: Mapping[str, Method],
    settings: Mapping[str, Any],
    contents: Mapping[int, str] | None,
    report: Report,
) -> dict[str, Judged]:
    """Explain and judge every image of the store by the methods whose maps no support changes."""
    chosen = {name: method for name, method in methods.items() if not method.uses_supports}
    images, size = (judge_with.store.row_of >= 0).nonzero()[:, 0], judge_with.batch_size
    parts = []
    for part in slices(len(images), -(-IMAGES_IN_A_PART // size) * size):
        which = indices_hash(images[part])
        made_of = {"start": part.start, "stop": part.stop, "images": which, "settings": identity(settings)}
        if contents is not None:
            made_of[CONTENTS] = text_hash(*(contents[index] for index in images[part].tolist()))
        parts += [Part(f"images-{part.start:06}-{which[:12]}-{name}", made_of | {"method": name}) for name in chosen]
    report("explaining images", 0, len(images) * len(chosen))
    found: dict[int, Judged] = {}
    for position, result in running.map(functools.partial(ImageWork, judge_with, decided_by, chosen), parts):
        found[position] = judged_of(result)
        report("explaining images", len(found[position].embeddings), len(images) * len(chosen))
    places = {name: [place for place, part in enumerate(parts) if part.made_of["method"] == name] for name in chosen}
    return {name: join(judge_with, [found.pop(place) for place in places[name]]) for name in chosen}


def _contents(store: ImageStore) -> dict[int, str]:
    """Return a hash of each image by its data set index."""
    return dict(zip((store.row_of >= 0).nonzero()[:, 0].tolist(), store.contents, strict=True))


def _parts(
    drawn: Sequence[Episode], together: int, settings: Mapping[str, Any], contents: Mapping[int, str] | None
) -> Iterator[Part]:
    """Cut the episodes into chunks; what one is made of names its images and their contents, not only its place."""
    for part in slices(len(drawn), together):
        chosen = drawn[part]
        images = indices_hash(*(array for one in chosen for array in (one.classes, one.support, one.query)))
        made_of = {"start": part.start, "stop": part.stop, "images": images, "settings": identity(settings)}
        if contents is not None:
            used = {int(index) for one in chosen for index in (*one.support.flat, *one.query.flat)}
            made_of[CONTENTS] = text_hash(*(contents[index] for index in sorted(used)))
        yield Part(f"episodes-{part.start:06}-{len(chosen)}", made_of)
