"""Episodic training: global cross-entropy over the base classes plus few-shot cross-entropy in episodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms import v2

from episodes import Episode, EpisodeSampler, LabeledImages, prepare
from fsl_explain.config import TrainingConfig
from fsl_explain.encoder import Encoder
from fsl_explain.training.losses import UncertaintyWeighting, few_shot_loss

Report = Callable[[int, int, float], None]  # epochs done, epochs in all, mean loss of the epoch


@dataclass(frozen=True)
class _Learner:
    """The parts that learn together."""

    encoder: Encoder
    classifier: nn.Linear
    weighting: UncertaintyWeighting

    @property
    def parameters(self) -> list[nn.Parameter]:
        parts = (self.encoder.network, self.classifier, self.weighting)
        return [parameter for part in parts for parameter in part.parameters()]


def train(
    encoder: Encoder, dataset: LabeledImages, config: TrainingConfig, augmentation: v2.Transform, report: Report
) -> None:
    """Train the encoder's network in place; the result depends on the settings, the data and the seed alone.

    The images are read once and kept; ``augmentation`` is drawn anew for every use. The caller's random state
    is left as it was.

    Raises: ``ValueError`` for a network that does not return its activation maps itself.
    """
    if encoder.layer is not None:
        raise ValueError("training needs an encoder that returns its activation maps, such as conv4net; choose one.")
    images = [dataset[i] for i in range(len(dataset))]
    sampler = EpisodeSampler(dataset.labels, **config.episodes.model_dump(), seed=config.seed)
    steps = config.optimizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        learner = _learner(encoder, prepare(images[0], augmentation).pixels, len(dataset.classes))
        optimizer = _optimizer(learner, config)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps.epochs * steps.batches_per_epoch)
        encoder.network.train()
        total = 0.0
        for step in range(steps.epochs * steps.batches_per_epoch):
            first = step * steps.episodes_per_batch
            drawn = [sampler[first + i] for i in range(steps.episodes_per_batch)]
            pixels = [torch.stack([prepare(images[i], augmentation).pixels for i in _indices(one)]) for one in drawn]
            loss = _loss(learner, torch.stack(pixels), drawn, config.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
            if (step + 1) % steps.batches_per_epoch == 0:
                report((step + 1) // steps.batches_per_epoch, steps.epochs, total / steps.batches_per_epoch)
                total = 0.0
        encoder.network.eval()


def _learner(encoder: Encoder, pixels: Float[Tensor, "3 height width"], classes: int) -> _Learner:
    channels = encoder(pixels[None]).pooled.shape[1]
    return _Learner(encoder, nn.Linear(channels, classes), UncertaintyWeighting(2))


def _optimizer(learner: _Learner, config: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        learner.parameters,
        lr=config.optimizer.learning_rate,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
        nesterov=config.optimizer.momentum > 0,
    )


def _loss(
    learner: _Learner,
    pixels: Float[Tensor, "episode image 3 height width"],
    episodes: Sequence[Episode],
    temperature: float,
) -> Float[Tensor, ""]:
    way, shot = episodes[0].support.shape
    n_query = episodes[0].query.shape[1]
    pooled = learner.encoder.pooling(learner.encoder.network(pixels.flatten(0, 1)))
    by_episode = pooled.unflatten(0, (len(episodes), way * (shot + n_query)))
    supports = by_episode[:, : way * shot].unflatten(1, (way, shot))
    labels = torch.arange(way).repeat_interleave(n_query).expand(len(episodes), -1)
    few_shot = few_shot_loss(by_episode[:, way * shot :], supports, labels, temperature)
    classes = torch.stack([torch.from_numpy(episode.classes) for episode in episodes])
    in_order = torch.cat([classes.repeat_interleave(shot, dim=1), classes.repeat_interleave(n_query, dim=1)], dim=1)
    over_all_classes = F.cross_entropy(learner.classifier(pooled), in_order.flatten())
    weighted: Tensor = learner.weighting(torch.stack([over_all_classes, few_shot]))
    return weighted


def _indices(episode: Episode) -> list[int]:
    return [*episode.support.flatten().tolist(), *episode.query.flatten().tolist()]
