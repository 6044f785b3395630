"""What a comparison is of: its methods, the supports of each class, the sample for what is slow, and the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.evaluation.chosen_methods import ChosenMethods, named_methods
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.named import TRIVIAL
from fsl_explain.explainers.methods.relax import RelaxOptions, relax_method

METHODS_COMPARED = ("grad-cam", "relax", "fam", "exact", "contrast")


@dataclass(frozen=True)
class MapComparison:
    """What was measured: one row for each method, one column for each query; NaN where nothing was."""

    methods: tuple[str, ...]
    queries: Int[Tensor, "query"]  # data set indices
    truth: Int[Tensor, "query"]
    predicted: Int[Tensor, "query"]
    sampled: Bool[Tensor, "query"]
    figures: dict[str, Float[Tensor, "method query"]]
    decided: bool = True  # whether the images were given a class by supports


def compared_methods(methods: Sequence[str | Method], relax: RelaxOptions | None = None) -> ChosenMethods:
    """Return the explainers asked for, then lafam and the trivial maps, by name; RELAX with the options given.

    Raises: ``LookupError`` for an unknown method; ``ValueError`` for one that explains neither a score nor a lead.
    """
    asked = [CLASS_LOGIT if method == CLASS_LOGIT.name else method for method in (*methods, "lafam", *TRIVIAL)]
    found = named_methods(asked).in_tables
    for name, method in found.items():
        if not method.needs_no_option:
            raise Mistake(f"a comparison asks for a class's score or its lead, but {name!r} explains another; drop it.")
    options = RelaxOptions() if relax is None else relax
    replaced = {"relax": relax_method(options), "u-relax": relax_method(options, certain=True)}
    named = {method for method in methods if isinstance(method, str)}
    return ChosenMethods(
        {name: replaced[name] if name in replaced and name in named else one for name, one in found.items()}
    )


def draw_supports(dataset: LabeledImages, shots: int = 5, seed: int = 0) -> Int[Tensor, "way shot"]:
    """Return the data set indices of each class's supports, drawn without replacement.

    Raises: ``ValueError`` for a class that has too few images, or fewer than two classes.
    """
    if shots < 1:
        raise Mistake(f"expected at least 1 support image of each class, but got {shots}; or use compare_label_free.")
    if len(dataset.classes) < 2:
        raise Mistake(f"a comparison needs decisions between classes, but {dataset.name} has one; add another.")
    rng, drawn = np.random.default_rng(seed), []
    for label, name in enumerate(dataset.classes):
        images = np.flatnonzero(dataset.labels == label)
        if len(images) <= shots:
            raise Mistake(
                f"every class needs {shots + 1} images (supports and one to judge), but class {name} has "
                f"{len(images)}; lower maps.shots, or drop the class."
            )
        drawn.append(np.sort(rng.choice(images, shots, replace=False)))
    return torch.from_numpy(np.stack(drawn))


def sampled_places(images: int, sample: int = 100, seed: int = 0) -> Bool[Tensor, "image"]:
    """Mark the sample for explainers that ask the network again and for the curves.

    Raises: ``ValueError`` for a sample without an image.
    """
    if sample < 1:
        raise Mistake(f"expected a sample of at least 1 image, but got {sample}; 100 take minutes with RELAX.")
    chosen = np.random.default_rng(seed).choice(images, min(sample, images), replace=False)
    sampled = torch.zeros(images, dtype=torch.bool)
    sampled[torch.from_numpy(chosen)] = True
    return sampled
