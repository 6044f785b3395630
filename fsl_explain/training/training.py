"""A training from its settings to weights: draw, augment, step, and keep the state so that it can go on."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.backbones.inference_modes import EAGER
from fsl_explain.config import TrainingConfig
from fsl_explain.config.training import (
    EpisodicObjective,
    InstanceObjective,
    MomentumContrastObjective,
    OptimizerConfig,
)
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.training.augmentation import augmentation_of
from fsl_explain.training.episodic import Episodic
from fsl_explain.training.image_batches import ImageBatches
from fsl_explain.training.instance_discrimination import InstanceDiscrimination
from fsl_explain.training.metric_learning import MetricLearning
from fsl_explain.training.momentum_contrast import MomentumContrast
from fsl_explain.training.objective import Batch, Embedder, Objective
from fsl_explain.training.processes import gathered, own_device, processes, rank
from fsl_explain.training.schedule import learning_rate
from fsl_explain.training.seeds import seeded
from fsl_explain.training.unfinished import Unfinished
from fsl_explain.turns import alone

Report = Callable[[int, int], None]  # batches done since the last call, batches in all
RENAMED = "forward_sync_buffers" in signature(DistributedDataParallel).parameters  # in PyTorch 2.15
UNSYNCED: dict[str, Any] = {"forward_sync_buffers" if RENAMED else "broadcast_buffers": False}
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def silent(_done: int, _total: int) -> None:
    """Report nothing."""


def train(
    encoder: Encoder,
    dataset: LabeledImages,
    config: TrainingConfig,
    unfinished: Unfinished | None = None,
    report: Report = silent,
) -> list[float]:
    """Train the encoder's network and head in place; return the mean loss of each epoch, the smaller the better.

    ``config`` says the objective, the augmentation and the steps; its sections ``encoder`` and ``data`` are not read.
    ``report`` is told of the batches done since its last call and of all batches.

    The result depends on the settings, the data and the seed alone: a training that was killed and goes on from its
    ``unfinished`` state ends at the same weights as one that was not, on a CPU bit for bit. The caller's random state
    is left as it was. Within ``processes.joined`` each process takes an even share of every batch.

    Raises: ``ValueError`` for an encoder that cannot be trained, data that the objective cannot draw from, a device
    that is not there, an ``unfinished`` state that is damaged or of other settings, or a loss that is not finite;
    ``TypeError`` for no encoder; ``ImportError`` for an objective whose package is not installed.
    """
    expect_encoder(encoder, "encoder, data set, settings")
    run = _begun(encoder, dataset, config, own_device(config.run.device))
    if unfinished is not None and unfinished.path.exists():
        run.restore(unfinished.load())
    run.to_the_end(unfinished, report)
    encoder.network.eval()
    encoder.head.eval()
    return run.epoch_losses


def batches_in_an_epoch(config: TrainingConfig, images: int) -> int:
    """Return how many batches make an epoch: as set in ``config``, else what the ``images`` make, at least one."""
    asked, objective = config.optimizer.batches_per_epoch, config.objective
    if asked is not None:
        return asked
    if isinstance(objective, EpisodicObjective):
        episode = objective.n_way * (objective.n_shot + objective.n_query)
        return max(1, images // (episode * objective.episodes_per_batch))
    if isinstance(objective, InstanceObjective | MomentumContrastObjective):
        return max(1, images // objective.batch_size)
    return max(1, images // (objective.classes_per_batch * objective.images_per_class))


def objective_of(encoder: Encoder, dataset: LabeledImages, config: TrainingConfig) -> Objective:
    """Return the objective that ``config`` names, with the encoder's network and head inside.

    It is a module of PyTorch that draws the images of a step and returns their loss, the smaller the better.

    Raises: ``ValueError`` for an encoder that cannot be trained, or data that the objective cannot draw from;
    ``ImportError`` for an objective whose package is not installed.
    """
    if encoder.layer is not None or encoder.image_size is None or encoder.normalization is None:
        raise Mistake(
            "training needs a network that returns its activation maps and a known preprocessing, such as conv4net; "
            "choose one."
        )
    if encoder.scales is not None:
        raise Mistake(
            "training sees images of one size, but this encoder sees them at several; drop scales from [encoder], and "
            "give them where its decisions are explained."
        )
    if encoder.inference != EAGER:
        raise Mistake(
            f"training needs the network itself, but this encoder runs a copy, {encoder.inference}; make it with "
            "inference='eager'."
        )
    embedder = Embedder(encoder, PRECISIONS.get(config.run.precision))
    objective = _objective(embedder, dataset, config, encoder.image_size)
    objective.draw(0)  # refuses a batch larger than the data
    return objective


def _objective(embedder: Embedder, dataset: LabeledImages, config: TrainingConfig, size: int) -> Objective:
    chosen, seed = config.objective, config.seed
    if isinstance(chosen, EpisodicObjective):
        return Episodic(embedder, dataset, chosen, size, seed)
    if isinstance(chosen, InstanceObjective):
        return InstanceDiscrimination(embedder, dataset, chosen, size, seed)
    if isinstance(chosen, MomentumContrastObjective):
        return MomentumContrast(embedder, dataset, chosen, size, seed)
    return MetricLearning(embedder, dataset, chosen, seed)


@dataclass
class _Run:
    """A training under way; everything that changes is in here."""

    objective: nn.Module
    batches: ImageBatches
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    config: TrainingConfig
    device: torch.device
    batches_in_an_epoch: int
    step: int = 0
    epoch_losses: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # of the epoch under way

    @property
    def total(self) -> int:
        return self.config.optimizer.epochs * self.batches_in_an_epoch

    def to_the_end(self, unfinished: Unfinished | None, report: Report) -> None:
        """Take all steps that are left, keeping the state now and then and at the end."""
        learner = self._shared()
        report(self.step, self.total)
        for batch in self.batches.steps(self.step, self.total, self.config.run.workers):
            self.losses.append(self._step(learner, batch))
            self.step += 1
            if self.step % self.batches_in_an_epoch == 0:
                self.epoch_losses.append(sum(self.losses) / len(self.losses))
                self.losses = []
            if unfinished is not None and rank() == 0 and self._keep_now():
                unfinished.save(self.state())
            report(1, self.total)

    def _keep_now(self) -> bool:
        return self.step % self.config.run.keep_every == 0 or self.step == self.total

    def _step(self, learner: nn.Module, batch: Batch) -> float:
        """Learn from one batch; other threads see the network before the step or after it."""
        with alone(self.objective.modules()):
            return self._step_alone(learner, batch)

    def _step_alone(self, learner: nn.Module, batch: Batch) -> float:
        settings = self.config.optimizer
        rate = learning_rate(settings, self.step / self.batches_in_an_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        _learning(self.objective, settings)
        self.optimizer.zero_grad()
        with seeded(self.config.seed, self.step, rank(), device=self.device):
            loss: Tensor = learner(batch.to(self.device))
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        value = float(gathered(loss.detach()[None]).mean())
        if not math.isfinite(value):
            raise Mistake(
                f"the loss of batch {self.step + 1} is {value}; lower optimizer.learning_rate, or use float32."
            )
        return value

    def _shared(self) -> nn.Module:
        if processes() == 1:
            return self.objective
        # Mining can leave a parameter, such as the boundary, without a pair. Memory and queue are the same in all
        # processes anyway, and the statistics that are kept are those of the first.
        return DistributedDataParallel(self.objective, find_unused_parameters=True, **UNSYNCED)

    def state(self) -> dict[str, Any]:
        """Return all that a training needs to go on."""
        return {
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "epoch_losses": self.epoch_losses,
            "losses": self.losses,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.epoch_losses, self.losses = state["step"], state["epoch_losses"], state["losses"]


def _begun(encoder: Encoder, dataset: LabeledImages, config: TrainingConfig, device: torch.device) -> _Run:
    with seeded(config.seed):
        objective = objective_of(encoder, dataset, config)
    module = cast("nn.Module", objective).to(device)
    size, transform = cast("int", encoder.image_size), encoder.transform
    return _Run(
        objective=module,
        batches=ImageBatches(dataset, objective, augmentation_of(config.augmentation, size, transform), config.seed),
        optimizer=_optimizer(module, config.optimizer),
        scaler=torch.amp.GradScaler(device.type, enabled=config.run.precision == "fp16"),
        config=config,
        device=device,
        batches_in_an_epoch=batches_in_an_epoch(config, len(dataset)),
    )


def _optimizer(objective: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    network = set(objective.get_submodule("embedder.network").parameters())
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in learning if one in network], "factor": config.network_factor},
        {"params": [one for one in learning if one not in network], "factor": 1.0},
    ]
    if config.kind == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov and config.momentum > 0,
    )


def _learning(objective: nn.Module, config: OptimizerConfig) -> None:
    """Put everything into training mode, batch normalization only where its statistics shall change."""
    objective.train()
    if config.freeze_normalization:
        for module in objective.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
