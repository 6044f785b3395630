"""What would have to be different: the query, the cells that change, and the image that confirms it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.explainers import Counterfactual
from fsl_explain.report.heatmap import Picture, picture

WIDTH = 230  # CSS pixels
FRAME = torch.tensor([1.0, 0.85, 0.1])


@dataclass(frozen=True)
class CounterfactualView:
    """One counterfactual: a sentence, the cells framed on the query, and the edited image."""

    sentence: str
    before: Picture
    after: Picture | None


def counterfactual_view(found: Counterfactual) -> CounterfactualView:
    """Prepare one counterfactual; the edited image is missing where nothing was confirmed."""
    after = None
    if found.found and found.image_after is not None:
        after = picture(framed(found.image_after, found.mask), f"query after: {found.edit}", WIDTH)
    return CounterfactualView(
        sentence=str(found),
        before=picture(framed(found.image_before, found.mask), "query with the cells that change", WIDTH),
        after=after,
    )


def framed(image: Float[Tensor, "3 height width"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, "height width 3"]:
    """Draw a yellow frame round the cells of a mask, on the pixels they cover."""
    size = (image.shape[-2], image.shape[-1])
    inside = F.interpolate(mask[None, None].float(), size=size, mode="nearest-exact")
    reach = 2 * (min(size) // 150) + 3
    outside = F.max_pool2d(1 - inside, reach, stride=1, padding=reach // 2)
    edge = (inside * outside)[0, 0, :, :, None].bool()
    return torch.where(edge, FRAME, image.float().movedim(0, -1))
