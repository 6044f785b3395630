"""DeepEMD's structured layer a second time: one transport after the other, gradients by autograd, torch's SGD."""

import ot
import torch
from torch import Tensor


def weights(image: Tensor, other: Tensor) -> Tensor:
    found = torch.relu(image @ other.mean(dim=0)) + 1e-3 + 1e-5
    return (found / found.sum()).detach()


def score(query: Tensor, prototype: Tensor) -> Tensor:
    """Σ T s of two lists of cells (cell, channel), T solved and then held fixed."""
    ours, theirs = (image - image.mean(dim=1, keepdim=True) for image in (query, prototype))
    alike = torch.nn.functional.cosine_similarity(ours[:, None], theirs[None], dim=-1)
    flow = ot.emd(weights(query, prototype).numpy(), weights(prototype, query).numpy(), (1 - alike).detach().numpy())
    return (torch.from_numpy(flow) * alike).sum()


def learned(
    supports: list[list[Tensor]], *, learning_rate: float, epochs: int, batch_size: int, scale: float, seed: int
) -> tuple[Tensor, list[float]]:
    """Return the prototypes (way, cell, channel) of lists of supports, and the loss of each batch before its step."""
    images = [image for group in supports for image in group]
    labels = torch.tensor([label for label, group in enumerate(supports) for _ in group])
    prototypes = torch.stack([torch.stack(group).mean(dim=0) for group in supports]).requires_grad_()
    descent = torch.optim.SGD([prototypes], lr=learning_rate, momentum=0.9, dampening=0.9)
    order, losses = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        drawn = torch.randperm(len(images), generator=order)
        for begin in range(0, len(images), batch_size):
            batch = drawn[begin : begin + batch_size]
            logits = torch.stack([torch.stack([scale * score(images[i], p) for p in prototypes]) for i in batch])
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
            descent.zero_grad()
            loss.backward()
            descent.step()
            losses.append(float(loss.detach()))
    return prototypes.detach(), losses
