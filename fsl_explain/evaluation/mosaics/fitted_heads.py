"""Linear heads fitted on pooled features, for comparing explanations under different embeddings.

Each is one ``Linear`` layer in float64, fitted without chance but for the seed of ``linear``.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.registries import MOSAIC_HEADS

Pooled = Float[Tensor, "image channel"]
Labels = Int[Tensor, "image"]

LINEAR_DIMENSIONS = 64
LINEAR_STEPS = 200
LINEAR_RATE = 3e-3
SCALE = 10.0  # of the cosine in the trained head's logits


def fit_head(name: str, pooled: Float[Tensor, "image channel"], labels: Int[Tensor, "image"], seed: int) -> nn.Module:
    """Fit a head by name on pooled features and their labels.

    Raises: ``LookupError`` for an unknown name, with the nearest ones.
    """
    return find_head(name)(pooled.double(), labels, seed)


def find_head(name: str) -> "Fit":
    """Return the function that fits a head; errors as ``fit_head``."""
    fit: Fit = MOSAIC_HEADS[name]
    return fit


def no_head(_pooled: Pooled, _labels: Labels, _seed: int) -> nn.Module:
    """Return the identity: the pooled features are the embedding."""
    return nn.Identity()


def center(pooled: Pooled, _labels: Labels, _seed: int) -> nn.Module:
    """Subtract the mean of the features, as SimpleShot does with that of its base set."""
    return _affine(torch.eye(pooled.shape[1], dtype=pooled.dtype), pooled.mean(dim=0))


def pca(pooled: Pooled, _labels: Labels, _seed: int, dimensions: int) -> nn.Module:
    """Subtract the mean and project to the principal components of the images, as many as there are up to a limit."""
    return _principal(pooled, dimensions)


def class_pca(pooled: Pooled, labels: Labels, _seed: int) -> nn.Module:
    """Project to the principal components of the class means, min(16, classes - 1) of them, around their mean."""
    means = _class_means(pooled, labels)
    return _principal(means, min(16, len(means) - 1))


def discriminant(pooled: Pooled, labels: Labels, _seed: int) -> nn.Module:
    """Whiten by the spread within the classes, then project to the principal components of the class means.

    Linear discriminant analysis in min(16, classes - 1) dimensions, with the covariance shrunk as Ledoit and Wolf
    (2004) do, because there are more channels than images.

    Raises: ``ValueError`` where no class has two different images.
    """
    means = _class_means(pooled, labels)
    within = pooled - means[labels.unique(return_inverse=True)[1]]
    if float(within.abs().max()) <= torch.finfo(within.dtype).eps * float(pooled.abs().max()):
        raise Mistake("the head 'lda' needs two images of a class to be fitted on; raise mosaics.fit_share.")
    covariance = torch.from_numpy(ledoit_wolf(within.numpy(), assume_centered=True)[0])
    spread, directions = torch.linalg.eigh(covariance)
    whitening = (directions / spread.clamp(min=spread[-1] * torch.finfo(spread.dtype).eps).sqrt()) @ directions.T
    projection = _principal(means @ whitening, min(16, len(means) - 1))
    return _affine(projection.weight @ whitening, means.mean(dim=0))


def trained(pooled: Pooled, labels: Labels, seed: int) -> nn.Module:
    """Train a linear embedding whose scaled cosine to one weight vector per class predicts the class.

    Cross-entropy, full-batch Adam from weights drawn from ``seed``; the mean of the features is subtracted first.
    """
    generator = torch.Generator().manual_seed(seed)
    classes, truth = labels.unique(return_inverse=True)
    mean = pooled.mean(dim=0)
    centered = (pooled - mean).float()
    weight = torch.randn(LINEAR_DIMENSIONS, pooled.shape[1], generator=generator) / pooled.shape[1] ** 0.5
    directions = torch.randn(len(classes), LINEAR_DIMENSIONS, generator=generator)
    parameters = [weight.requires_grad_(), directions.requires_grad_()]
    optimizer = torch.optim.Adam(parameters, lr=LINEAR_RATE)
    with torch.enable_grad():
        for _ in range(LINEAR_STEPS):
            logits = SCALE * F.normalize(centered @ weight.T, dim=-1) @ F.normalize(directions, dim=-1).T
            optimizer.zero_grad()
            F.cross_entropy(logits, truth).backward()
            optimizer.step()
    return _affine(weight.detach().double(), mean)


Fit = Callable[[Tensor, Tensor, int], nn.Module]

PCA_128 = partial(pca, dimensions=128)


def _principal(points: Float[Tensor, "point channel"], dimensions: int) -> nn.Linear:
    mean = points.mean(dim=0)
    _, spread, components = torch.linalg.svd(points - mean, full_matrices=False)
    rank = int((spread > spread[0] * max(points.shape) * torch.finfo(points.dtype).eps).sum())
    return _affine(components[: min(dimensions, rank)], mean)


def _affine(weight: Float[Tensor, "out channel"], mean: Float[Tensor, "channel"]) -> nn.Linear:
    """Return the layer z → weight (z - mean)."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.weight.data, layer.bias.data = weight, -weight @ mean
    return layer.requires_grad_(False)


def _class_means(pooled: Pooled, labels: Labels) -> Float[Tensor, "class channel"]:
    members = F.one_hot(labels.unique(return_inverse=True)[1]).to(pooled.dtype)
    return members.T @ pooled / members.sum(dim=0)[:, None]
