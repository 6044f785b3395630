"""The structured fully connected layer: dense prototypes of the classes, learned from the supports by the transport.

Source: DeepEMD, Zhang et al., 2020, section 3.4, and its published code. Notation: y_n are the cells of all supports,
P_cr those of the prototype of class c, α their coefficients, P_cr = Σ_n α_crn y_n, H = α G, G the products of the y.

The gradient of the loss by P_cr is a combination of the y_n and of P_cr itself, so that prototypes that begin at the
means never leave the span of the supports' cells. The descent moves α and H, whatever the number of channels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers.local.transport import transported, weights_of

MOMENTUM, DAMPENING = 0.9, 0.9  # of the published code


@dataclass(frozen=True)
class Step:
    """The gradient of the loss of one batch by the prototypes: Σ_n added_crn y_n + along_cr P_cr."""

    added: Float[Tensor, "row batch_cell"]  # rows are the cells r of all classes
    places: Int[Tensor, "batch_cell"]  # of the batch among all cells
    along: Float[Tensor, "row 1"]


@dataclass(frozen=True)
class Descent:
    """How the prototypes of one episode are learned: passes over its supports in batches, in an order that is drawn."""

    epochs: int
    learning_rate: float
    batch_size: int
    scale: float
    seed: int

    def coefficients(
        self,
        cells: Float[Tensor, "support r channel"],
        labels: Int[Tensor, "support"],
        way: int,
        *,
        centered: bool,
    ) -> Float[Tensor, "way r support _r"]:
        """Return α: the cells of the class means at first, then moved by gradient descent with momentum.

        The loss of a batch is the cross-entropy of ``scale`` times the scores Σ T s, with the flow T frozen. Classes
        without supports have coefficients of 0 and no part in it.
        """
        support, r = cells.shape[:2]
        members = torch.nn.functional.one_hot(labels, way).to(cells).T
        uniform = members / members.sum(dim=-1, keepdim=True).clamp(min=1)
        alpha = torch.kron(uniform.contiguous(), torch.eye(r).to(cells))
        episode = _Episode.of(cells, labels, alpha, centered=centered)
        products = alpha @ episode.products
        velocity, products_velocity, share = torch.zeros_like(alpha), torch.zeros_like(products), 1.0
        order = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epochs):
            for batch in torch.randperm(support, generator=order).split(self.batch_size):
                step = self._step(episode, alpha, products, batch)
                for moved, speed in ((alpha, velocity), (products, products_velocity)):
                    speed.mul_(MOMENTUM).addcmul_(moved, step.along, value=share)
                velocity[:, step.places] += share * step.added
                products_velocity.addmm_(step.added, episode.products[step.places], alpha=share)
                alpha.sub_(velocity, alpha=self.learning_rate)
                products.sub_(products_velocity, alpha=self.learning_rate)
                share = 1 - DAMPENING  # the first gradient counts whole, as in torch.optim.SGD
        found: Tensor = alpha.unflatten(0, (way, r)).unflatten(-1, (support, r))
        return found

    def _step(self, episode: "_Episode", alpha: Tensor, products: Tensor, batch: Int[Tensor, "b"]) -> Step:
        """Return the gradient, by ∂s/∂P_cr = x_p/(‖x_p‖ ‖P_cr‖) - s P_cr/‖P_cr‖² of the cosine."""
        places = (batch[:, None] * episode.r + torch.arange(episode.r)).flatten()
        inverse = _inverse((alpha * products).sum(dim=-1).clamp(min=0).sqrt())
        scales = inverse[:, None] * episode.inverse[places]
        met = products[:, places]
        alike, common = episode.apart(met * scales), episode.apart(met + episode.beside[:, places])
        flow = transported(alike, weights_of(common.mean(dim=-1)), weights_of(common.mean(dim=-2))).flow
        logits = self.scale * (flow * alike).sum(dim=(-2, -1))
        chances = logits.masked_fill(~episode.present, -torch.inf).softmax(dim=-1)
        target = torch.nn.functional.one_hot(episode.labels[batch], len(episode.present))
        by_score = self.scale * (chances - target) / len(batch)
        pulled = episode.together(by_score[..., None, None] * flow) * scales
        along = -(pulled * met).sum(dim=-1) * inverse.square()
        return Step(pulled, places, along[:, None])


@dataclass(frozen=True)
class _Episode:
    """What the descent asks of the supports."""

    labels: Int[Tensor, "support"]
    present: Tensor  # classes that have supports
    products: Float[Tensor, "cell cell"]  # G, of the cells as they are compared
    beside: Float[Tensor, "row cell"]  # what centering takes from the products of prototypes and cells
    inverse: Float[Tensor, "cell"]  # 1/‖y‖, 0 of a zero cell
    r: int

    @classmethod
    def of(cls, cells: Tensor, labels: Tensor, alpha: Tensor, *, centered: bool) -> "_Episode":
        every, r = cells.flatten(end_dim=-2), cells.shape[1]
        means = every.mean(dim=-1)
        seen = every - means[:, None] if centered else every
        # no gradient moves the mean over the channels of a centered cell: it stays that of the class mean's
        beside = (alpha @ means)[:, None] * means * (every.shape[-1] if centered else 0)
        present = alpha.unflatten(0, (-1, r)).any(dim=-1).any(dim=-1)
        return cls(labels, present, seen @ seen.T, beside, _inverse(seen.norm(dim=-1)), r)

    def apart(self, values: Float[Tensor, "row batch_cell"]) -> Float[Tensor, "b way p r"]:
        """Put the pairs of each support of a batch and each class into a table of their own."""
        found: Tensor = values.unflatten(0, (-1, self.r)).unflatten(-1, (-1, self.r)).permute(2, 0, 3, 1)
        return found

    def together(self, tables: Float[Tensor, "b way p r"]) -> Float[Tensor, "row batch_cell"]:
        """Undo ``apart``."""
        return tables.permute(1, 3, 0, 2).flatten(start_dim=-2).flatten(end_dim=1)


def _inverse(norms: Tensor) -> Tensor:
    return torch.where(norms > 0, 1 / torch.where(norms > 0, norms, 1), 0)
