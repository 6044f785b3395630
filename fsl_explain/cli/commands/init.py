"""``fsl-explain init``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_input, check_output_file
from fsl_explain.cli.options import EncoderName


def init(
    images: Path,
    *,
    out: Path = Path("fsl-explain.toml"),
    boxes: Path | None = None,
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
) -> None:
    """Write a commented configuration of an evaluation for a folder of your own images, which runs at once.

    The folder has one folder of images per class, or a table of files, classes and boxes beside the images; CUB's and
    Oxford-IIIT Pet's official layouts are recognized. Classes, shots and queries of an episode are chosen to fit.
    Without boxes the figures that ask where the object is are left out, and the file says so. Files that cannot be
    opened as images are named and not counted; of more than 10,000 files so many are opened.

    Parameters
    ----------
    images
        The folder of the images: DIR/CLASS/IMAGE, or deeper, or with a table in it.
    out
        The file to write; one that is there already is a mistake.
    boxes
        The table of boxes, in CSV with the columns file, class, xmin, ymin, xmax and ymax (or x, y, width and height);
        by default the one in the folder, if there is one.
    checkpoint
        Weights for the encoder: safetensors, the file of a training, or that of an official release.

    Examples
    --------
    fsl-explain init birds/ --out birds.toml
    fsl-explain init birds/ --boxes birds/boxes.csv --encoder timm:resnet50 --checkpoint resnet50.safetensors
    """
    check_input(images, "a folder of images")
    if not images.is_dir():
        raise Mistake(f"expected a folder of images, but {images} is a file; name the folder that it is in.")
    for given, what in ((boxes, "a table of boxes"), (checkpoint, "a checkpoint")):
        if given is not None:
            check_input(given, what)
    check_output_file(out)
    if out.exists():
        raise Mistake(f"expected a new file to write, but {out} is there; choose another --out, or remove it.")

    from fsl_explain.cli.init import run

    run(images, out, boxes, encoder, checkpoint)
