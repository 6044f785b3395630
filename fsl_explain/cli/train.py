"""``fsl-explain train``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from safetensors.torch import save_file

from episodes import LabeledImages
from episodes.contents import contents_of
from episodes.errors import Mistake
from fsl_explain.backbones.weights.checkpoint import sha256_of
from fsl_explain.backbones.weights.loading import MANIFEST, open_checkpoint
from fsl_explain.backbones.weights.trained_on import TRAINED_ON, TrainedOn
from fsl_explain.cli.from_settings import accuracy_of
from fsl_explain.cli.measuring import set_threads
from fsl_explain.cli.progress import note, progress_bars, say
from fsl_explain.cli.seen import check_tested, learned_by
from fsl_explain.config import EncoderConfig, TrainingConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.results.written import RECORDED, images_used
from fsl_explain.evaluation.run_identity import text_hash
from fsl_explain.evaluation.seen_classes import SeenClasses
from fsl_explain.files import written_aside
from fsl_explain.metrics import mean_interval
from fsl_explain.training import Unfinished, objective_of, recorded_settings
from fsl_explain.training import train as train_encoder
from fsl_explain.training.processes import joined, rank

NOT_OF_THE_WEIGHTS = ("seed", "release", "weights", "layer")


def run(settings: TrainingConfig, resume: bool) -> None:
    """Train, alone or as one of several processes, and write the weights."""
    set_threads(settings.run.threads)
    dataset = settings.data.open()
    settings.encoder.check_there()
    checkpoint = settings.encoder.checkpoint
    contents = text_hash(*contents_of(dataset, range(len(dataset))))
    made_from = {
        "images": images_used(dataset, settings.data.loaded_split) | {"contents_sha256": contents},
        "checkpoint_sha256": None if checkpoint is None else sha256_of(checkpoint),
    }
    unfinished = Unfinished.of(settings, made_from)
    if unfinished.path.exists() and not resume:
        raise Mistake(
            f"expected no unfinished training beside the output, but found {unfinished.path}; go on with --resume, "
            "or delete it."
        )
    if resume and not unfinished.path.exists():
        note("There is no unfinished training of these settings; it begins at the beginning.")
    with joined(settings.run.device):
        _train(settings, dataset, unfinished, made_from)


def _train(settings: TrainingConfig, dataset: LabeledImages, unfinished: Unfinished, made_from: dict[str, Any]) -> None:
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    objective_of(encoder, dataset, settings)  # a mistake shows before the first accuracy is measured
    learned = learned_by(settings, dataset)
    seen = check_tested(settings, learned)
    if rank() == 0:
        _print_accuracy("before training", encoder, settings, seen)
    with progress_bars() as bars:

        def report(done: int, total: int) -> None:
            if rank() == 0:
                bars("training batches", done, total)

        losses = train_encoder(encoder, dataset, settings, unfinished, report)
    if rank() == 0:
        _save(encoder, settings, made_from | {"epoch_losses": losses}, learned)
        unfinished.remove()
        note(f"Mean loss of the first epoch {losses[0]:.3f}, of the last {losses[-1]:.3f}.")
        _print_accuracy("after training", encoder, settings, seen)
        say(f"Weights: {settings.output.resolve()}")


def _print_accuracy(when: str, encoder: Encoder, settings: TrainingConfig, seen: SeenClasses | None) -> None:
    if settings.test is None or seen is None:
        return
    test = settings.test
    mean, half_width, episodes = mean_interval(accuracy_of(test, encoder, test.data.open()))
    sizes, stated = test.episodes, "".join(f" {sentence}" for sentence in seen.sentences)
    say(
        f"Accuracy {when}: {100 * mean:.2f} ± {100 * half_width:.2f} % "
        f"over {episodes} {sizes.n_way}-way {sizes.n_shot}-shot episodes.{stated}"
    )


def _save(encoder: Encoder, settings: TrainingConfig, made_from: dict[str, Any], learned: Sequence[TrainedOn]) -> None:
    """Write the weights of network and head aside, and rename them; then the JSON."""
    path = settings.output
    state = encoder.network.state_dict()
    state |= {f"head.{name}": value for name, value in encoder.head.state_dict().items()}
    manifest = {
        "network": settings.encoder.name,
        "settings": _options(settings.encoder),
        "release": "fsl-explain train",
    }
    classes = {TRAINED_ON: [asdict(one) for one in learned]} if learned else {}
    weights = {name: value.cpu().contiguous() for name, value in state.items()}
    with written_aside(path) as aside:
        save_file(weights, aside, metadata={MANIFEST: json.dumps(manifest | classes)})
    versions = {name: version(name) for name in RECORDED}
    recorded = {"training": recorded_settings(settings), "versions": versions} | made_from | classes
    with written_aside(path.with_suffix(".json")) as aside:
        aside.write_text(json.dumps(recorded, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _options(encoder: EncoderConfig) -> dict[str, Any]:
    """Return the options of network and images that the weights expect, of a checkpoint it began with too."""
    begun: dict[str, Any] = {}
    if encoder.checkpoint is not None:
        begun = dict(open_checkpoint(encoder.checkpoint, encoder.name, encoder.architecture.get("release")).settings)
    return begun | {name: value for name, value in encoder.architecture.items() if name not in NOT_OF_THE_WEIGHTS}
