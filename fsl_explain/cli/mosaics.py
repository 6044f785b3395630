"""``fsl-explain mosaics``."""

from functools import partial
from pathlib import Path

from episodes import LabeledImages
from fsl_explain.classifiers import is_local, named_rule
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.cli.cases import STAGE, make_case
from fsl_explain.cli.fitting_methods import methods_of
from fsl_explain.cli.from_settings import mosaics_of, relation_or_named, sizes_of
from fsl_explain.cli.measuring import opened
from fsl_explain.cli.progress import with_bar
from fsl_explain.config import MosaicsConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.mosaics.explained_mosaics import TILE_NAMES, fitted_head
from fsl_explain.evaluation.mosaics.measured_mosaics import check_heads, measured_methods
from fsl_explain.evaluation.mosaics.mosaic_images import Mosaic, crop_area, cut, tile_boxes, tile_masks
from fsl_explain.evaluation.mosaics.mosaic_store import (
    MosaicStore,
    draw_mosaics,
    mosaic_pixels,
    mosaic_side,
    picture_of,
    side_of,
)
from fsl_explain.evaluation.mosaics.mosaic_table import mosaic_tables, summarize_mosaics
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.report import Case, Page

EXAMPLES = 4


def run(settings: MosaicsConfig, out: Path | None, resume: bool, skip_broken: bool, title: str) -> None:
    """Draw and measure mosaics, print the tables and write the results."""
    measured_methods(settings.mosaics.methods)
    check_heads(settings.mosaics.heads)
    made = opened(settings, settings.mosaics.methods, skip_broken=skip_broken)
    with made.measuring(out, resume) as (partial, report):
        store, figures = mosaics_of(settings.mosaics, settings.run, made.encoder, made.dataset, report, partial=partial)
    summary = summarize_mosaics(figures) | {"provenance": made.recorded}
    tables = made.show(mosaic_tables(summary, title))
    if out is None:
        return
    page = Page(
        title=f"Reference mosaics: {title}",
        lead=f"{summary['mosaics']} mosaics of {made.dataset.name} with {made.encoder.description}.",
        facts=_facts(settings, made.dataset),
        tables=tables,
        cases=_examples(settings, made.encoder, made.dataset, store),
    )
    made.write(out, summary, {}, page)


def _facts(settings: MosaicsConfig, dataset: LabeledImages) -> dict[str, str]:
    sizes = settings.mosaics
    area = "the annotated box grown to a square" if sizes.crop == "box" else "the whole image"
    return {
        "Tiles": f"{area}, four different classes of {len(dataset.classes)}",
        "Reference": "another image of one of the four classes, never one of the tiles",
        "Decision": f"{sizes.rule}, {sizes.similarity} similarity",
        "Heads": f"fitted on {100 * sizes.fit_share:g} % of each class's images, which appear in no mosaic",
        "Examples": f"head {sizes.heads[-1]}",
        "Seed": str(sizes.seed),
    }


def _examples(
    settings: MosaicsConfig, encoder: Encoder, dataset: LabeledImages, store: MosaicStore
) -> tuple[Case, ...]:
    """Explain the first mosaics under the last head, as pages show any query; the frame is the right tile."""
    rule, sizes = named_rule(settings.mosaics.rule), settings.mosaics
    fitted = fitted_head(sizes.heads[-1], store, sizes.seed, on_cells=is_local(rule)).float()
    with_head = encoder_for(rule, encoder).with_head(fitted)
    _, drawn = draw_mosaics(dataset, sizes_of(settings.mosaics))
    shown = list(enumerate(drawn[:EXAMPLES]))
    return tuple(with_bar(STAGE, partial(_example, settings, with_head, dataset), shown))


def _example(settings: MosaicsConfig, encoder: Encoder, dataset: LabeledImages, number: int, mosaic: Mosaic) -> Case:
    sizes, side = settings.mosaics, side_of(encoder)
    similarity = relation_or_named(sizes.similarity, sizes.relation_checkpoint)
    names = [dataset.classes[label] for label in mosaic.classes.tolist()]
    references = [dataset[index] for index in mosaic.references.tolist()]
    crops = encoder.preprocess([cut(image.image, crop_area(image, sizes.crop), side) for image in references])
    large = mosaic_side(encoder, sizes.side)
    pixels = mosaic_pixels(encoder, [picture_of(mosaic, dataset, sizes.crop, large)], large)[0]
    compared = compare(encoder, pixels, dict(zip(names, crops[:, None], strict=True)), similarity)
    height, width = pixels.shape[-2:]
    return make_case(
        f"Mosaic {number}: where is {names[mosaic.target]}?",
        compared,
        tuple(dict.fromkeys((*sorted(methods_of(sizes, encoder), key=lambda name: name != "contrast"), "lafam"))),
        Choice(sizes.rule, similarity, target=names[mosaic.target], against="others"),
        box=tile_boxes(height, width)[mosaic.target],
        mask=tile_masks(height, width)[mosaic.target],
        query_name=f"{TILE_NAMES[mosaic.target]} tile",
        support_names={
            name: ["" if image.path is None else image.path.name] for name, image in zip(names, references, strict=True)
        },
    )
