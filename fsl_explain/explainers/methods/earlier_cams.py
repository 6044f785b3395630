"""Gradient CAMs of earlier, finer maps: one of a chosen fineness, as ``grad-cam@1``, and LayerCAM fused over all.

Source: Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021. A number behind
``@`` counts as ``detail`` does: 1 is the last of the maps with twice the grid of the encoder's, 2 with four times.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.cam_formulas import FORMULAS
from fsl_explain.explainers.methods.cellwise_cam import layercam
from fsl_explain.explainers.methods.earlier_maps import stages
from fsl_explain.explainers.methods.grad_cam import grad_cam
from fsl_explain.explainers.methods.map_gradients import (
    Formula,
    attribute_supports,
    map_gradients,
    maps_of,
    saliency,
)
from fsl_explain.explainers.methods.whole_network import ask_in_parts, expect_maps, maps_encoder
from fsl_explain.explainers.normalization import max_scaled, upsample
from fsl_explain.explainers.question import Question
from fsl_explain.registries import AT

SHARPNESS = 2.0  # the paper's γ
AS_THEY_ARE = 2  # stages that are not scaled; the paper scales the first three of VGG-16's five


@lru_cache(maxsize=64)
def composed(name: str) -> Method | None:
    """Return the method of a name such as ``grad-cam@1``; None where the name says none."""
    plain, _, detail = name.partition(AT)
    if plain not in FORMULAS or not detail.isascii() or not detail.isdecimal() or str(int(detail)) != detail:
        return None
    if int(detail) == 0:
        return None
    return earlier_cam(FORMULAS[plain], int(detail), name)


def earlier_cam(formula: Formula, detail: int, name: str) -> Method:
    """Make an explainer of a formula at the maps that are so many doublings finer than the last ones."""
    found = partial(_attribute, formula, detail)
    return Method(
        found, attribute_supports, saliency, perturbs=True, differentiates=True, expects=expect_maps, name=name
    )


def fused(maps: Sequence[Float[Tensor, "image _h _w"]], size: tuple[int, int]) -> Float[Tensor, "image height width"]:
    """Return the largest of LayerCAM's maps of all stages, from the last, coarsest one on, in one size.

    Each is divided by its maximum; those of shallow stages, M, become tanh(γM), γ = 2 (LayerCAM's scaling). A map
    without a positive value counts as 0.
    """
    scaled = [max_scaled(one.clamp(min=0)) for one in maps]
    scaled = [one if place < AS_THEY_ARE else torch.tanh(SHARPNESS * one) for place, one in enumerate(scaled)]
    return torch.stack([upsample(one, size) for one in scaled]).amax(dim=0)


def _attribute(formula: Formula, detail: int, question: Question) -> Attribution:
    def cells(part: Question, images: Tensor) -> Tensor:
        found = stages(part, images, detail)
        if detail not in found:
            encoder = maps_encoder(part)
            grid = "×".join(str(side) for side in part.query.maps.shape[-2:])
            raise Mistake(
                f"expected maps whose grid is the last one, {grid}, doubled {detail} times, but no such maps of "
                f"{encoder.description} were seen; use a lower number behind {AT}, or exact with detail."
            )
        return formula(found[detail].maps, found[detail].gradients).cells.clamp(min=0)

    return ask_in_parts(question, cells)


def _attribute_fused(question: Question) -> Attribution:
    def cells(part: Question, images: Tensor) -> Tensor:
        found = stages(part, images)
        last = layercam(maps_of(part), map_gradients(part)).cells
        maps = [last.reshape(-1, *last.shape[-2:])]
        maps += [layercam(one.maps, one.gradients).cells for _, one in sorted(found.items())]
        return fused(maps, (maps[-1].shape[-2], maps[-1].shape[-1]))

    return ask_in_parts(question, cells)


LAYERCAM_FUSED = Method(
    _attribute_fused, attribute_supports, saliency, perturbs=True, differentiates=True, expects=expect_maps
)
GRAD_CAM_EARLIER = earlier_cam(grad_cam, 1, "grad-cam@1")
