"""``fsl-explain convert``."""

from pathlib import Path

from fsl_explain.cli.manners import check_input, check_output_file
from fsl_explain.cli.options import EncoderName


def convert(
    checkpoint: Path, *, encoder: EncoderName, out: Path, release: str | None = None, part: str | None = None
) -> None:
    """Write an official checkpoint as safetensors under our names, and print what became of every tensor.

    The file's header records the source, its release, the activation, pooling and images that the weights expect, and
    the tensors that were left out; an encoder that loads it takes them from there.

    Parameters
    ----------
    checkpoint
        The official file. Nothing in it is run.
    encoder
        The network it is for, for example moco-resnet50.
    out
        The file to write; ends in .safetensors.
    release
        The release it is of, for example relation-network; recognized by its names otherwise.
    part
        The keys and the prefix of the network in a file of several, for example teacher.backbone.

    Examples
    --------
    fsl-explain convert lemniscate_resnet18.pth.tar --encoder npid-resnet18 --out npid.safetensors
    fsl-explain convert dino.pth --encoder resnet18 --part teacher --out teacher.safetensors
    """
    check_input(checkpoint, "an official checkpoint")
    check_output_file(out)

    from fsl_explain.cli.convert import run

    run(checkpoint, encoder, out, release, part)
