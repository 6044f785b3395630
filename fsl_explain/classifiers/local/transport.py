"""The optimal transport between the cells of two images, solved by POT (Flamary et al., 2021)."""

import warnings
from dataclasses import dataclass
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import MissingPackage, Mistake

LEAST = 1e-3 + 1e-5  # of a cell's weight before weights are divided by their sum, as in the published code
MOST_STEPS = 10**6  # of the network simplex
MISSED = 1e-9  # by how much the sums of a flow may miss the weights


@dataclass(frozen=True)
class Transport:
    """An optimal flow, and by how much its cost grows with each cell's weight: the duals, up to a constant."""

    flow: Float[Tensor, "*batch p r"]
    leaving: Float[Tensor, "*batch p"]
    arriving: Float[Tensor, "*batch r"]


def transported(
    compared: Float[Tensor, "*batch p r"], one: Float[Tensor, "*#batch p"], other: Float[Tensor, "*#batch r"]
) -> Transport:
    """Move the weights of one side to the other's at the least Σ T (1 - s), in float64 and on the CPU.

    Costs are moved to begin at 0, which changes no flow, because the solver takes no negative ones.

    Raises: ``ValueError`` without POT, and where it finds no flow.
    """
    solver = _solver()
    cost = 1 - compared.detach().double().cpu()
    cost = cost - cost.amin(dim=(-2, -1), keepdim=True)
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    if not all(bool(given.isfinite().all()) for given in (cost, one, other)):
        raise Mistake("expected finite embeddings for the transport of deep-emd, but some are NaN or infinite.")
    one, other = one.expand(cost.shape[:-1]), other.expand(*cost.shape[:-2], cost.shape[-1])
    parts = zip(_listed(one, 1), _listed(other, 1), _listed(cost, 2), strict=True)
    found = [solver.emd(*(part.numpy() for part in each), numItermax=MOST_STEPS, log=True) for each in parts]
    flow = torch.stack([torch.from_numpy(one_flow) for one_flow, _ in found]).reshape(cost.shape)
    if float((flow.sum(dim=-1) - one).abs().amax() + (flow.sum(dim=-2) - other).abs().amax()) > MISSED:
        raise Mistake("the transport of deep-emd was not solved: are there embeddings that are extremely large?")
    leaving, arriving = (torch.stack([torch.from_numpy(log[name]) for _, log in found]) for name in ("u", "v"))
    return Transport(flow, leaving.reshape(one.shape), arriving.reshape(other.shape))


def weights_of(common: Float[Tensor, "*batch cell"]) -> Float[Tensor, "*batch cell"]:
    """Return what each cell weighs, from its inner product with the other image's mean: that where it is positive."""
    positive = common.clamp(min=0) + LEAST
    return positive / positive.sum(dim=-1, keepdim=True)


def _listed(values: Tensor, behind: int) -> Tensor:
    return values.reshape(-1, *values.shape[values.dim() - behind :]).contiguous()


def _solver() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its docstrings, when they are first compiled
            import ot  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise MissingPackage.of_extra("deep-emd", "POT", "the transport of the rule deep-emd") from error
    found: ModuleType = ot
    return found
