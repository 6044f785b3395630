"""``fsl-explain init``."""

import json
import os
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from episodes.errors import Mistake
from fsl_explain.cli.found_data import FoundData, found_data
from fsl_explain.cli.opened_headers import opened_headers
from fsl_explain.cli.progress import note, say
from fsl_explain.config import EvaluationConfig
from fsl_explain.config.data import DATA_SETS
from fsl_explain.config.toml import toml_values
from fsl_explain.printable import shown

EPISODES, MOST_WAYS, MOST_QUERIES = 100, 5, 5
LEAST = 2  # images of a class: one support and one query
WIDTH = 100


@dataclass(frozen=True)
class Sizes:
    """The sizes of an episode that a data set allows."""

    classes: Sequence[str]  # those with enough images
    too_small: Sequence[str]
    smallest: str
    n_way: int
    n_shot: int
    n_query: int

    @classmethod
    def fitting(cls, counts: Mapping[str, int], folder: Path) -> "Sizes":
        """Choose sizes for classes with so many images. Raises: ``ValueError`` for fewer than two usable classes."""
        kept = {name: count for name, count in counts.items() if count >= LEAST}
        if len(kept) < 2:
            raise Mistake(
                f"expected at least two classes of at least two images in {folder}, but found {len(kept)} of "
                f"{len(counts)}; put the images of each class into a folder of its own."
            )
        smallest = min(kept, key=kept.__getitem__)
        n_query = min(MOST_QUERIES, kept[smallest] - 1)
        too_small = [name for name in counts if name not in kept]
        return cls([*kept], too_small, smallest, min(MOST_WAYS, len(kept)), 1, n_query)


def run(images: Path, out: Path, boxes: Path | None, encoder: str, checkpoint: Path | None) -> None:
    """Look at a folder of images and write the configuration of an evaluation of them."""
    found = found_data(images, boxes)
    dataset = DATA_SETS[found.settings["kind"]].model_validate({**found.settings, "root": images}).open()
    headers = opened_headers(dataset, images)
    if headers.sentence:
        note(headers.sentence)
    counted = np.bincount(dataset.labels[headers.counts], minlength=len(dataset.classes))
    counts = dict(zip(dataset.classes, counted, strict=True))
    total = f"{int(counted.sum())} images of {len(dataset.classes)} classes, {found.what}"
    skip = [] if headers.counts.all() else ["--skip-broken"]
    sizes = Sizes.fitting({name: int(count) for name, count in counts.items()}, images)
    place = _from(out.parent, images)
    weights = None if checkpoint is None else _from(out.parent, checkpoint)
    lines = [
        *_top(images, out, skip),
        *_words(headers.sentence),
        *_data(place, found, total, sizes),
        *_encoder(encoder, weights),
        *_episodes(sizes, int(counts[sizes.smallest])),
        *_explanation(images, found),
    ]
    text = "\n".join(lines) + "\n"
    _write(text, out)
    say(f"{total}; {_shown(found)}.")
    next_ = shlex.join(["fsl-explain", "evaluate", "--config", str(out), "--out", f"results/{out.stem}", *skip])
    say(f"Wrote {out}. Next: {next_}")


def _write(text: str, out: Path) -> None:
    """Write a configuration that can be read back. Raises: ``ValueError`` for names that no text file can hold."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:
        raise Mistake(
            "expected names of folders and files that are text, but one holds bytes that are none; rename it."
        ) from None
    EvaluationConfig.model_validate(toml_values(text, out), context={"folder": out.parent})
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("xb") as file:
        file.write(content)


def _from(folder: Path, path: Path) -> str:
    """Return a path relative to a folder, as the configuration in it reads it; on another drive the whole path."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def _shown(found: FoundData) -> str:
    return f"{found.shows} were found" if found.shows else "no boxes or masks, so figures that need them are left out"


def _top(images: Path, out: Path, skip: Sequence[str]) -> Iterator[str]:
    yield from _words(f"An evaluation of the images in {images}, written by fsl-explain init. Run it with")
    yield _command("evaluate", "--config", out, "--out", f"results/{out.stem}", *skip)
    yield from _words("The results in Python, one row per query and method:")
    yield "#     " + shown(f'pandas.read_parquet("results/{out.stem}/queries.parquet")')
    yield from _words("What else can be set is printed by: fsl-explain config evaluate")
    yield ""


def _data(place: str, found: FoundData, total: str, sizes: Sizes) -> Iterator[str]:
    yield from _words(f"{total}.")
    yield "[data]"
    yield from _settings({"kind": found.settings["kind"], "root": place})
    yield from _settings({key: value for key, value in found.settings.items() if key != "kind"})
    if sizes.too_small:
        names = ", ".join(sizes.too_small)
        yield from _words(f"Classes of fewer than {LEAST} images cannot be asked about and are left out: {names}.")
        yield from _settings({"classes": sizes.classes})
    yield ""


def _encoder(name: str, checkpoint: str | None) -> Iterator[str]:
    yield from _words(
        "What makes embeddings of images. efficientnet-lite0 has published ImageNet weights (extra pretrained); other "
        "names and their weights: fsl-explain explain --help"
    )
    yield "[encoder]"
    yield from _settings({"name": name} | ({} if checkpoint is None else {"checkpoint": checkpoint}))
    yield ""


def _episodes(sizes: Sizes, images: int) -> Iterator[str]:
    yield from _words(
        f"Each episode draws {sizes.n_way} classes, and of each n_shot supports and n_query queries. More make "
        f"intervals narrower. The smallest class, {sizes.smallest}, has {images} images for both."
    )
    yield "[episodes]"
    sampled = {"n_way": sizes.n_way, "n_shot": sizes.n_shot, "n_query": sizes.n_query, "seed": 0}
    yield from _settings({"count": EPISODES, **sampled})
    yield ""


def _explanation(images: Path, found: FoundData) -> Iterator[str]:
    yield from _words("Explainers that are measured, beside Grad-CAM, LaFAM and three maps that look at nothing.")
    if found.shows:
        yield from _words(f"Proportion, IoU and the pointing game compare maps with the {found.shows}.")
    else:
        yield from _words(
            "No boxes or masks were found. Proportion, IoU and the pointing game, which ask where the object is, are "
            "therefore left out of the tables. They come with a table of file, class, xmin, ymin, xmax and ymax:"
        )
        yield _command("init", images, "--boxes", "boxes.csv")
    yield "[explanation]"
    yield from _settings({"methods": ["contrast", "exact", "fam"]})


def _settings(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _command(*arguments: object) -> str:
    return "#     " + shown(shlex.join(["fsl-explain", *map(str, arguments)]))


def _words(sentence: str) -> Iterator[str]:
    """Yield a comment in short lines; what a name holds never leaves the comment."""
    plain = shown(" ".join(sentence.split()))
    yield from textwrap.wrap(plain, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
