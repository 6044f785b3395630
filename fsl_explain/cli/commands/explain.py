"""``fsl-explain explain``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_input, check_output_file
from fsl_explain.cli.options import (
    Center,
    EncoderName,
    FittedSimilarityName,
    MethodNames,
    PoolingName,
    ReadoutName,
    RuleName,
)
from fsl_explain.config.center import named_center


def explain(
    query: Path,
    *,
    support: Path,
    out: Path = Path("explanation.html"),
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    center: Center = None,
    method: MethodNames = (),
    rule: RuleName = "mean-similarity",
    k: int | None = None,
    temperature: float | None = None,
    similarity: FittedSimilarityName = "cosine",
    threshold: float | None = None,
    scale: float = 1.0,
    target: str | None = None,
    against: tuple[str, ...] = (),
    shots: int | None = None,
    skip_broken: bool = False,
) -> None:
    """Explain why a query image is given one of the classes of a support folder.

    Prints the decision and each explanation's receipt, and writes a page with the maps.

    Parameters
    ----------
    query
        The image to explain.
    support
        Folder with one folder of images per class: DIR/CLASS/IMAGE, or deeper.
    out
        The HTML page to write.
    checkpoint
        Weights for the encoder: safetensors, the file of a training, or that of an official release.
    k
        Neighbors that vote; 200, or all supports where there are fewer, by default.
    temperature
        Of the weighted k-NN vote; 0.07 by default.
    threshold
        For verification: the score from which a claim is accepted.
    scale
        For log-probability: the factor of the scores inside the softmax.
    target
        The class to explain; the predicted one by default.
    against
        For contrast: a class, several classes, or others; the best-scoring rival by default.
    shots
        Use only the first N images of each class.
    skip_broken
        List broken support images on stderr and go on without them; otherwise they are a mistake.
    """
    check_output_file(out)
    if shots is not None and shots < 1:
        raise Mistake(f"expected --shots of at least 1, but got {shots}.")
    if threshold is not None and "verification" not in method:
        raise Mistake("--threshold belongs to verification; add --method verification.")
    check_input(query, "an image to explain")
    check_input(support, "a folder of supports")
    if checkpoint is not None:
        check_input(checkpoint, "a checkpoint")
    chosen = named_center(center)
    if chosen is not None:
        chosen.check_there()

    from fsl_explain.cli.explain import run

    run(
        query=query,
        support=support,
        out=out,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
        readout=readout,
        center=chosen,
        methods=method,
        rule=rule,
        k=k,
        temperature=temperature,
        similarity=similarity,
        threshold=threshold,
        scale=scale,
        target=target,
        against=against,
        shots=shots,
        skip_broken=skip_broken,
    )
