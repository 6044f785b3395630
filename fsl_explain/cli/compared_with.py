"""What a query is compared with on the command line: the images of a support folder, or prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from episodes import ImageFolder, read_images
from episodes.errors import Mistake
from fsl_explain.cli.progress import note
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.prompts import prompts_by_class, prompts_from_text, text_supports
from fsl_explain.explainers.support_groups import embedded

Pictures = list[tuple[Path, PIL.Image.Image]]


@dataclass(frozen=True)
class ComparedWith:
    """Pictures or prompts by class."""

    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    prompts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.pictures or self.prompts)

    @property
    def names(self) -> dict[str, list[str]]:
        """The file name of every picture, by class."""
        return {name: [path.name for path, _ in read] for name, read in self.pictures.items()}

    @property
    def words(self) -> str:
        """How many there are."""
        if self.prompts:
            count = sum(map(len, self.prompts.values()))
            return f"{count} prompts" + ("" if count == len(self.prompts) else f" of {len(self.prompts)} classes")
        return f"{sum(map(len, self.pictures.values()))} images of {len(self.pictures)} classes"

    def supports(self, network: Encoder) -> dict[str, Tensor]:
        """Return preprocessed images, or the embeddings of prompts."""
        if self.prompts:
            return {**text_supports(network, self.prompts)}
        return {name: network.preprocess([picture for _, picture in read]) for name, read in self.pictures.items()}


def compared_with(support: Path | None, text: tuple[str, ...], shots: int | None, skip_broken: bool) -> ComparedWith:
    """Read the supports. Raises: ``ValueError`` for pictures that cannot be read, or prompts that repeat."""
    if support is None:
        return ComparedWith(prompts=prompts_by_class(prompts_from_text(text)))
    return ComparedWith(pictures=_support_pictures(support, shots, skip_broken))


def embeddings_of(network: Encoder, supports: Mapping[str, Tensor]) -> Float[Tensor, "support channel"]:
    """Embed preprocessed supports of all classes together."""
    return embedded(network.of_supports, torch.cat([*supports.values()])).embedding


def _support_pictures(support: Path, shots: int | None, skip_broken: bool) -> dict[str, Pictures]:
    """Read the first images of each class; all broken ones are named together, or listed on stderr and left out."""
    folder = ImageFolder(support)
    chosen: dict[str, list[Path]] = {name: [] for name in folder.classes}
    for path, label in zip(folder.paths, folder.labels.tolist(), strict=True):
        chosen[folder.classes[label]].append(path)
    files = {name: paths[:shots] for name, paths in chosen.items()}
    read, broken = read_images([path for paths in files.values() for path in paths], skip_broken=skip_broken)
    for sentence in broken:
        note(f"Left out: {sentence}")
    found = dict(read)
    pictures = {name: [(path, found[path]) for path in paths if path in found] for name, paths in files.items()}
    for name, left in pictures.items():
        if not left:
            raise Mistake(f"no image of the class {name} in {support} can be read; add one or remove its folder.")
    return pictures
