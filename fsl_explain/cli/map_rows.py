"""Example images of a comparison with the maps of its methods side by side, as its page begins with."""

from collections.abc import Sequence

from episodes import LabeledImages, PreparedImage, prepare
from fsl_explain.cli.cases import STAGE
from fsl_explain.cli.from_settings import relax_of
from fsl_explain.cli.progress import with_bar
from fsl_explain.config import ComparisonConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.comparison.compared_images import MapComparison
from fsl_explain.explainers.choice import Choice, find_similarity
from fsl_explain.explainers.compared import Compared, visible
from fsl_explain.explainers.explaining import LABEL_FREE, MASKED_AT_RANDOM, explain_compared, saliency
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.report import MapRow

EXAMPLES = 4
SHOWN = ("contrast", "exact", "grad-cam", "fam", "lafam")
BASELINE = "centered-gaussian"


def examples_of(measured: MapComparison) -> list[int]:
    """Return the data set indices of a few sampled images, spread over the data set, which lists class after class."""
    sampled: list[int] = measured.queries[measured.sampled].tolist()
    shown = min(EXAMPLES, len(sampled))
    return [sampled[place * len(sampled) // shown] for place in range(shown)]


def prepared_image(encoder: Encoder, dataset: LabeledImages, index: int) -> PreparedImage:
    """Return an image as the encoder takes it, with its box where the preprocessing moves boxes."""
    if encoder.carries_boxes:
        return prepare(dataset[index], encoder.transform)
    return PreparedImage(encoder.preprocess([dataset[index].image])[0], None, None)


def row_of_decision(
    title: str, compared: Compared, shown: Sequence[str], asked: Sequence[str], choice: Choice, image: PreparedImage
) -> MapRow:
    """Return the row of one decided image: the maps shown, those asked for that are quick, and the baseline."""
    quick = [name for name in asked if name != CLASS_LOGIT.name and not find_method(name).perturbs]
    maps, signed = {}, []
    for name in dict.fromkeys((*shown, *quick, BASELINE)):
        method = find_method(name)
        if not method.takes(find_similarity(choice.similarity, compared)) or not method.needs_no_option:
            continue
        explanation = explain_compared(compared, name, choice.meant_for(method.explains))[0]
        maps[name] = explanation.saliency
        signed += [name] * explanation.signed
    return MapRow(title, compared.visible_queries[0], maps, signed, image.target_box)


def rows_without_decisions(
    settings: ComparisonConfig, encoder: Encoder, dataset: LabeledImages, measured: MapComparison
) -> tuple[MapRow, ...]:
    """Return rows of label-free maps, and of those of a classifier's logit."""
    known = {CLASS_LOGIT.name: "grad-cam"} | {name: name for name in (*LABEL_FREE, *MASKED_AT_RANDOM)}
    asked = [name for name in dict.fromkeys((*settings.maps.methods, "lafam")) if name in known]
    relax = relax_of(settings.maps, settings.run)

    def row(index: int) -> MapRow:
        image = prepared_image(encoder, dataset, index)
        maps = {
            name: saliency(
                encoder, image.pixels, method=known[name], options=relax if name in MASKED_AT_RANDOM else None
            )
            for name in asked
        }
        title = dataset.classes[int(dataset.labels[index])]
        return MapRow(title, visible(encoder, image.pixels[None])[0], maps, box=image.target_box)

    return tuple(with_bar(STAGE, row, [(index,) for index in examples_of(measured)]))
