"""Class activation maps of a classifier's own logit, for an encoder wrapped round the whole classifier.

The gradient goes from the logit to the explained layer and no further, and reaches no parameter: it works for frozen
networks and in inference mode, and costs little over the forward pass.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.naming import unknown_name
from fsl_explain.backbones.capture import evaluating, leaf_activations, the_maps
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.cellwise_cam import hirescam, layercam
from fsl_explain.explainers.grad_cam import grad_cam
from fsl_explain.explainers.grad_cam_plus_plus import grad_cam_plus_plus
from fsl_explain.explainers.map_gradients import ActivationMap, Formula
from fsl_explain.explainers.map_gradients import saliency as scaled
from fsl_explain.explainers.xgrad_cam import xgrad_cam

FORMULAS: dict[str, Formula] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "xgrad-cam": xgrad_cam,
    "hirescam": hirescam,
    "layercam": layercam,
}


def class_logit_map(
    encoder: Encoder, images: Float[Tensor, "batch 3 height width"], method: str = "grad-cam", target: int | None = None
) -> ActivationMap:
    """Return the activation map of one class logit of each image, before its ReLU.

    ``target`` is the index of the class, None for the one with the largest logit.

    Raises: ``LookupError`` for an unknown method; ``ValueError`` for an encoder without class logits, or a target
    that is none of its classes.
    """
    if method not in FORMULAS:
        raise unknown_name("method for a class logit", method, FORMULAS)
    if encoder.layer is None:
        raise ValueError(
            f"expected an encoder wrapped round a classifier, but {encoder.description} returns its maps and has no "
            "class logits; use Encoder.wrap(classifier, layer), or explain() with supports."
        )
    with torch.inference_mode(False), evaluating(encoder.network):
        with leaf_activations(encoder.layer) as leaves:
            logits = encoder.network(encoder.placed(images))
        maps = the_maps(leaves, encoder.layer, len(images))
        gradients = _gradients(logits, _targets(logits, target, encoder), maps)
        return FORMULAS[method](*(encoder.in_full_precision(values) for values in (maps.detach(), gradients)))


def saliency(
    encoder: Encoder,
    images: Float[Tensor, "batch 3 height width"],
    method: str = "grad-cam",
    target: int | None = None,
    interpolation: str = "bilinear",
) -> Float[Tensor, "batch height width"]:
    """Return where the maps speak for a class, in [0, 1] and of the images' size; see ``class_logit_map``."""
    cells = class_logit_map(encoder, images, method, target).cells
    return scaled(cells, (images.shape[-2], images.shape[-1]), interpolation)


def _targets(logits: object, target: int | None, encoder: Encoder) -> Int[Tensor, "batch"]:
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"expected class logits of shape (batch, class) from {encoder.description}, but got {got}; "
            "wrap a classifier that returns its logits."
        )
    if target is None:
        return logits.argmax(dim=-1)
    if not 0 <= target < logits.shape[1]:
        raise ValueError(
            f"expected a target from 0 to {logits.shape[1] - 1}, the classes of {encoder.description}, "
            f"but got {target}; choose one of them."
        )
    return torch.full((len(logits),), target, device=logits.device)


def _gradients(logits: Tensor, target: Int[Tensor, "batch"], maps: Tensor) -> Tensor:
    with torch.enable_grad():
        score = logits.gather(1, target[:, None]).sum()
    gradients = torch.autograd.grad(score, maps, allow_unused=True)[0] if score.requires_grad else None
    if gradients is None:
        raise ValueError(
            "expected class logits that depend on the explained layer, but no gradient comes back to it; "
            "choose a layer that the classifier reads, of a network that runs without torch.no_grad of its own."
        )
    return gradients
