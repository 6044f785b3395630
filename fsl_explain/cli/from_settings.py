"""What settings say, said to the library in values: here configs end."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from episodes import EpisodeSampler, LabeledImages
from episodes.errors import Mistake
from fsl_explain.classifiers import RelationNetwork, named_rule
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.cli.fitting_methods import methods_of
from fsl_explain.config import ComparisonConfig, EvaluationConfig, FigureConfig
from fsl_explain.config.comparison import MapsConfig
from fsl_explain.config.mosaics import MosaicSizesConfig
from fsl_explain.config.settings import DecisionConfig, EpisodesConfig, RunConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.chosen_methods import expect_fitting
from fsl_explain.evaluation.comparison.compared_images import MapComparison
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.comparison.removed_regions import RegionRemovals
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.episodes import accuracy_over_episodes, evaluate_episodes
from fsl_explain.evaluation.figures import (
    OF_ALL_REMOVALS,
    OF_COMPARED_MAPS,
    OF_DECISIONS,
    OF_MAPS,
    OF_REFERENCES,
    Figure,
)
from fsl_explain.evaluation.grid_choice import GridDecision, Shown
from fsl_explain.evaluation.map_grid import MapGrid, map_grid
from fsl_explain.evaluation.measurement import Chunk
from fsl_explain.evaluation.mosaics.measured_mosaics import HeadFigures, evaluate_mosaics, measured_methods
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicStore, embed_mosaics
from fsl_explain.explainers.methods.relax import RelaxOptions
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import Similarity


def sampler_of(episodes: EpisodesConfig, dataset: LabeledImages) -> EpisodeSampler:
    """Return the sampler of the episodes."""
    sizes = episodes.model_dump(exclude={"count"})
    return EpisodeSampler(dataset.labels, **sizes, class_names=dataset.classes)


def episodes_of(
    settings: EvaluationConfig,
    encoder: Encoder,
    dataset: LabeledImages,
    partial: Path | None = None,
    report: Report = silent,
    maps: Path | None = None,
    figures: Sequence[str | Figure] = OF_DECISIONS,
) -> Chunk:
    """Evaluate the episodes that the settings name."""
    return evaluate_episodes(
        encoder,
        dataset,
        sampler=sampler_of(settings.episodes, dataset),
        episodes=settings.episodes.count,
        methods=methods_of(settings.explanation, encoder, settings.decision.rule),
        figures=figures,
        rule=settings.decision.rule,
        similarity=similarity_of(settings.decision, settings.episodes.n_shot),
        masking=settings.explanation.masking,
        iou_threshold=settings.explanation.iou_threshold,
        batch_size=settings.run.batch_size,
        partial=partial,
        maps=maps,
        engine=settings.run.chosen_engine,
        report=report,
    )


def similarity_of(decision: DecisionConfig, shots: int) -> str | Similarity:
    """Return the similarity by which episodes are decided; prototypes by a relation module are sums over shots."""
    summed = shots if decision.rule in ("prototype", "relation-network") else 1
    return relation_or_named(decision.similarity, decision.relation_checkpoint, summed)


def relation_or_named(name: str, checkpoint: Path | None, shots: int = 1) -> str | Similarity:
    """Return the similarity of a relation module, or the name of another."""
    return name if checkpoint is None else RelationNetwork.load(checkpoint, shots)


def accuracy_of(settings: EvaluationConfig, encoder: Encoder, dataset: LabeledImages) -> Float[Tensor, "episode"]:
    """Return the accuracy of each episode that the settings name."""
    return accuracy_over_episodes(
        encoder,
        dataset,
        sampler=sampler_of(settings.episodes, dataset),
        episodes=settings.episodes.count,
        rule=settings.decision.rule,
        similarity=similarity_of(settings.decision, settings.episodes.n_shot),
        batch_size=settings.run.batch_size,
    )


def comparison_of(
    settings: ComparisonConfig,
    encoder: Encoder,
    dataset: LabeledImages,
    partial: Path | None = None,
    report: Report = silent,
    saved: Path | None = None,
) -> MapComparison:
    """Compare the explainers that the settings name, with supports or, of 0 shots, without."""
    maps, run = settings.maps, settings.run
    relax = relax_of(maps, run)
    if not maps.shots:
        return compare_label_free(
            encoder,
            dataset,
            methods=methods_of(maps, encoder),
            figures=maps.figures or OF_MAPS,
            seed=maps.seed,
            sample=maps.sample,
            relax=relax,
            batch_size=run.batch_size,
            partial=partial,
            maps=saved,
            engine=run.chosen_engine,
            report=report,
        )
    return compare_maps(
        encoder,
        dataset,
        methods=methods_of(maps, encoder, maps.rule),
        figures=compared_figures(maps),
        rule=maps.rule,
        similarity=maps.similarity,
        shots=maps.shots,
        seed=maps.seed,
        sample=maps.sample,
        relax=relax,
        steps=maps.steps,
        removed=maps.removed,
        removals=removals_of(maps),
        batch_size=run.batch_size,
        partial=partial,
        maps=saved,
        engine=run.chosen_engine,
        report=report,
    )


def compared_figures(maps: MapsConfig) -> tuple[str, ...]:
    """Return the figures of a comparison. Raises: ``ValueError`` for removals by name where none are drawn."""
    if not maps.figures:
        return OF_COMPARED_MAPS if maps.removal_draws else (*OF_REFERENCES, *OF_MAPS)
    removals = [name for name in maps.figures if name in OF_ALL_REMOVALS]
    if removals and not maps.removal_draws:
        raise Mistake(f"the figure {removals[0]!r} needs removed regions, but removal_draws is 0; raise it.")
    return maps.figures


def removals_of(maps: MapsConfig) -> RegionRemovals | None:
    """Return which regions are removed; None where none are."""
    if not maps.removal_draws:
        return None
    return RegionRemovals(maps.removal_grid, maps.removal_draws, removal=maps.removal, seed=maps.seed)


def relax_of(maps: MapsConfig, run: RunConfig) -> RelaxOptions:
    """Return the options of RELAX."""
    return RelaxOptions(masks=maps.relax_masks, seed=maps.seed, variant=maps.relax_variant, batch_size=run.batch_size)


def sizes_of(mosaics: MosaicSizesConfig) -> MosaicSizes:
    """Return how mosaics are drawn."""
    return MosaicSizes(mosaics.count, mosaics.seed, mosaics.crop, mosaics.side, mosaics.fit_share)


def mosaics_of(
    mosaics: MosaicSizesConfig,
    run: RunConfig,
    encoder: Encoder,
    dataset: LabeledImages,
    report: Report = silent,
    *,
    partial: Path | None = None,
) -> tuple[MosaicStore, dict[str, HeadFigures]]:
    """Draw, embed and explain mosaics."""
    encoder = encoder_for(named_rule(mosaics.rule), encoder)
    methods = methods_of(mosaics, encoder)
    expect_fitting(measured_methods(methods), encoder, mosaics.rule)
    store = embed_mosaics(encoder, dataset, sizes_of(mosaics), batch_size=run.batch_size, report=report)
    figures = evaluate_mosaics(
        store,
        encoder.pooling,
        heads=mosaics.heads,
        methods=methods,
        rule=mosaics.rule,
        similarity=relation_or_named(mosaics.similarity, mosaics.relation_checkpoint),
        seed=mosaics.seed,
        encoder=encoder,
        partial=partial,
        engine=run.chosen_engine,
        report=report,
    )
    return store, figures


def grid_of(
    settings: FigureConfig, encoders: list[Encoder], dataset: LabeledImages, gallery: LabeledImages | None
) -> MapGrid:
    """Choose and explain the images of a figure."""
    titles = [model.title for model in settings.models]
    of_episodes = settings.decision.supports == "episode"
    return map_grid(
        list(zip(titles, encoders, strict=True)),
        dataset,
        gallery,
        decision=GridDecision(**settings.decision.model_dump()),
        shown=Shown(**settings.shown.model_dump()),
        sampler=sampler_of(settings.episodes, dataset) if of_episodes else None,
        batch_size=settings.run.batch_size,
    )
