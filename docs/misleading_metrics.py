"""The numbers and figures of "When metrics mislead", on the embedded digits.

python docs/misleading_metrics.py [--figures docs/figures] [--quick]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from errata import principal_head
from misleading_figures import draw_curves, draw_maps, draw_references
from torch import Tensor, nn
from worked_example import demo_encoder, pixels

from episodes import DigitScenes
from fsl_explain import Encoder, explain, metrics
from fsl_explain.explainers.methods.baselines import all_ones, centered_gaussian

PER_CLASS = 4
STEPS = 4
SHARES = (0.5,)
METHODS = ("exact", "contrast", "lafam", "grad-cam")
SIGNED = ("exact", "contrast", "exact, moved", "exact, lifted")  # their masks are scaled to a largest value of 1


def picture(image: PIL.Image.Image) -> Tensor:
    """Return the colors of an image in [0, 1]."""
    return torch.from_numpy(np.array(image)).movedim(-1, 0) / 255


class Scenes:
    """Scenes of the novel digits in order of class, one support image of each class, and what is asked of them."""

    def __init__(self, encoder: Encoder) -> None:
        scenes = DigitScenes(part="novel", per_class=PER_CLASS + 1)
        way = len(scenes.classes)
        order = np.arange(way, len(scenes)).reshape(PER_CLASS, way).T
        found = [scenes[int(i)] for i in order.flat]
        self.encoder, self.classes = encoder, scenes.classes
        self.pictures = torch.stack([picture(one.image) for one in found])
        self.support_pictures = torch.stack([picture(scenes[label].image) for label in range(way)])
        dtype = next(encoder.network.parameters()).dtype
        self.queries = pixels(encoder, scenes, order).to(dtype)
        self.supports = pixels(encoder, scenes, np.arange(way)).to(dtype)[:, None]
        self.labels = torch.arange(way).repeat_interleave(PER_CLASS)
        self.masks = torch.stack([torch.as_tensor(one.mask).bool() for one in found])
        self.boxes = torch.cat([torch.as_tensor(one.boxes) for one in found])
        self.references = encoder(self.supports[:, 0]).embedding[self.labels]
        self.whole = self.score(self.queries.flatten(0, 1))
        self.blank = self.score(torch.zeros_like(self.queries.flatten(0, 1)))

    def maps(self, method: str) -> Tensor:
        """Return the map of each query for its own class."""
        parts = [
            explain(self.encoder, queries, self.supports, method=method, target=label).saliency
            for label, queries in enumerate(self.queries)
        ]
        return torch.cat(parts).double()

    def score(self, images: Tensor) -> Tensor:
        """Return the similarity of each image to the support of its class."""
        return torch.cosine_similarity(self.encoder(images).embedding, self.references)


def in_single_precision() -> Scenes:
    """Return the same scenes with the encoder in float32, for the many images that removing pixels makes."""
    encoder = demo_encoder()
    encoder.network.float()
    return Scenes(encoder)


def judged_maps(scenes: Scenes) -> dict[str, Tensor]:
    """Return the maps of the methods, and maps that are wrong or know nothing, by their names."""
    maps = {method: scenes.maps(method) for method in METHODS}
    count, height, width = maps["exact"].shape
    one_pixel = torch.zeros(count, height, width, dtype=torch.float64)
    one_pixel[:, height // 2, width // 2] = 1
    return maps | {
        "the digit's mask": scenes.masks.double(),
        "exact, moved": maps["exact"].roll((height // 2, width // 2), dims=(1, 2)),
        "exact, lifted": maps["exact"] + maps["exact"].amax(dim=(1, 2), keepdim=True),
        "Gaussian": centered_gaussian(height, width).expand(count, -1, -1),
        "all ones": all_ones(height, width).expand(count, -1, -1),
        "one pixel": one_pixel,
        "all but one pixel": 1 - one_pixel,
    }


def where_it_points(scenes: Scenes, saliency: Tensor) -> dict[str, float]:
    """Return the figures that need a mask or a box, and those of shape, in percent."""
    figures = metrics.map_figures(saliency, scenes.masks, k=500)
    overlaps = metrics.intersections_over_unions(saliency, scenes.boxes)
    at_a_fifth = metrics.intersection_over_union(saliency, scenes.boxes)
    shares = {
        "pointing": figures.pointing_game,
        "top 500": figures.top_k_intersection,
        "rank": figures.relevance_rank_accuracy,
        "mass": figures.relevance_mass_accuracy,
        "AUC": figures.auc,
        "IoU": at_a_fifth,
        "box 0.5": (at_a_fifth >= 0.5).double(),
        "best box": metrics.box_accuracy(overlaps, overlaps=(0.5,)).best,
        "sparse": figures.sparseness,
    }
    percent = {name: 100 * float(values.nanmean()) for name, values in shares.items()}
    return percent | {"entropy": float(metrics.complexity(saliency).nanmean())}


def what_it_does(scenes: Scenes, saliency: Tensor, signed: bool) -> dict[str, float]:
    """Return the figures of what masking by the map does to the similarity, in percent of what each is a share of."""
    images = scenes.queries.flatten(0, 1)
    blurred = metrics.removed_pixels(images, "blur")
    scale = metrics.masks_from_signed_saliency if signed else metrics.masks_from_saliency
    whole, blank = scenes.whole, scenes.blank
    masked = scenes.score(metrics.masked_images(images, scale(saliency)))
    to_mean, to_blur = (metrics.Side(images, saliency, removed) for removed in (0.0, blurred))
    found = {
        "AD": metrics.average_drop(whole, masked) / 100,
        "IC": metrics.increase_in_confidence(whole, masked) / 100,
        "gain": metrics.average_gain(whole, masked) / 100,
        "n. drop": metrics.normalized_drop(whole, masked, blank),
        "deletion": metrics.deletion(scenes.score, to_mean, steps=STEPS).area.nanmean(),
        "d. blur": metrics.deletion(scenes.score, to_blur, steps=STEPS).area.nanmean(),
        "i. blur": metrics.insertion(scenes.score, to_blur, steps=STEPS).area.nanmean(),
        "ROAD": metrics.road(scenes.score, images, saliency, shares=SHARES).score.nanmean(),
    }
    return {name: 100 * float(value) for name, value in found.items()}


def table(rows: dict[str, dict[str, float]]) -> str:
    """Write figures by row and column."""
    columns = list(next(iter(rows.values())))
    lines = [f"{'':18}" + "".join(f"{column:>10}" for column in columns)]
    lines += [
        f"{name:18}" + "".join(f"{round(row[column], 1) + 0.0:10.1f}" for column in columns)
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def map_function(encoder: Encoder, scenes: Scenes, method: str) -> Callable[[Tensor], Tensor]:
    """Return the function from one label for each query to its map for the support of that label.

    The rivals of a contrast are the two classes that are never asked for.
    """
    queries, way = scenes.queries.flatten(0, 1), len(scenes.classes)

    def maps(labels: Tensor) -> Tensor:
        found = torch.empty(len(queries), *queries.shape[-2:], dtype=torch.float64)
        for label in labels.unique().tolist():
            chosen = labels == label
            options = {"against": [(label + 2) % way, (label + 3) % way]} if method == "contrast" else {}
            explained = explain(encoder, queries[chosen], scenes.supports, method=method, target=label, **options)
            found[chosen] = explained.saliency.double()
        return found

    return maps


def heads(encoder: Encoder) -> tuple[nn.Linear, nn.Linear]:
    """Return 16 principal components with the sign that makes each sum to more than 0, and with the opposite signs.

    An axis of an embedding has no sign of its own: turning it changes no similarity and no decision.
    """
    one, other = principal_head(encoder, 16), principal_head(encoder, 16)
    for head, sign in ((one, 1), (other, -1)):
        turned = sign * head.weight.data.sum(dim=1, keepdim=True).sign()
        head.weight.data, head.bias.data = turned * head.weight.data, turned[:, 0] * head.bias.data
    return one, other


def references(scenes: Scenes, head: nn.Linear) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Return each method's maps for the query's own digit and for the next one, and their mean correlation."""
    encoder = scenes.encoder
    with_head = Encoder(encoder.network, layer=encoder.layer, pooling="gap", head=head, preprocess=encoder.transform)
    own, other = scenes.labels, (scenes.labels + 1) % len(scenes.classes)
    found = {}
    for method in ("lafam", "fam", "exact", "contrast"):
        maps = map_function(with_head, scenes, method)
        similarity = metrics.reference_randomization(maps, own, other)
        found[method] = (maps(own), maps(other), float(similarity.mean()))
    return found


def points_section(scenes: Scenes, judged: dict[str, Tensor]) -> str:
    """Write the first section."""
    figures = {name: where_it_points(scenes, maps) for name, maps in judged.items()}
    area = 100 * float(scenes.masks.double().mean())
    return (
        f"1 Where it points: {len(scenes.masks)} scenes, {area:.1f} % of the pixels are the digit's\n\n{table(figures)}"
    )


def removal_section(scenes: Scenes, judged: dict[str, Tensor]) -> str:
    """Write the second section."""
    measured = {name: what_it_does(scenes, maps.float(), name in SIGNED) for name, maps in judged.items()}
    return f"2 What removing pixels by it does to the similarity\n\n{table(measured)}"


def reference_section(sides: list[dict[str, tuple[Tensor, Tensor, float]]]) -> str:
    """Write the third section."""
    lines = ["3 Correlation of a query's maps behind a linear head: for two digits, and for one, its axes turned"]
    lines += ["", f"{'':18}{'two digits':>14}{'axes turned':>14}"]
    for method, (own, _, mean) in sides[0].items():
        turned = float(metrics.map_correlation(own, sides[1][method][0]).mean())
        lines.append(f"{method:18}{mean:+14.2f}{turned:+14.2f}")
    return "\n".join(lines)


def main() -> None:
    """Print the numbers of the page, and draw its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures")
    parser.add_argument("--quick", action="store_true", help="leave out what removes pixels: section 2 and its curves")
    options = parser.parse_args()
    options.figures.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(demo_encoder())
    judged = judged_maps(scenes)
    exchanged = [references(scenes, head) for head in heads(scenes.encoder)]
    print(points_section(scenes, judged), end="\n\n")
    if not options.quick:
        print(removal_section(in_single_precision(), judged), end="\n\n")
    print(reference_section(exchanged))
    draw_maps(options.figures / "trivial-maps.png", scenes, judged)
    draw_references(options.figures / "reference-randomization.png", scenes, exchanged[0])
    if not options.quick:
        draw_curves(options.figures / "removal-curves.png", in_single_precision(), judged)


if __name__ == "__main__":
    main()
