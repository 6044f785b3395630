"""``fsl-explain explain``."""

from collections.abc import Mapping
from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_detail, check_input, check_output_file
from fsl_explain.cli.options import (
    BiasesName,
    Center,
    Detail,
    EncoderName,
    FittedSimilarityName,
    MethodNames,
    PoolingName,
    ReadoutName,
    RuleName,
    ScalesText,
    SupportScalesText,
    Texts,
)
from fsl_explain.config.center import named_center


def explain(
    query: Path,
    *,
    support: Path | None = None,
    text: Texts = (),
    out: Path = Path("explanation.html"),
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    scales: ScalesText = None,
    support_scales: SupportScalesText = None,
    detail: Detail = 0,
    biases: BiasesName = "drawn",
    center: Center = None,
    method: MethodNames = (),
    rule: RuleName = "mean-similarity",
    k: int | None = None,
    temperature: float | None = None,
    similarity: FittedSimilarityName = "cosine",
    threshold: float | None = None,
    scale: float | None = None,
    target: str | None = None,
    against: tuple[str, ...] = (),
    shots: int | None = None,
    skip_broken: bool = False,
) -> None:
    """Explain why a query image is given one of the classes of a support folder, or one of several prompts.

    Prints the decision and each explanation's receipt, and writes a page with the maps.

    Parameters
    ----------
    query
        The image to explain.
    support
        Folder with one folder of images per class: DIR/CLASS/IMAGE, or deeper.
    text
        In place of it, a prompt such as "a photo of a cat", for an encoder of images and texts; may be repeated.
        Several of one class are "cat=a photo of a cat|a drawing of a cat", and "=1+1=2" is the prompt 1+1=2.
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
        For log-probability: the factor of the scores inside the softmax; 1 by default, with --text the model's own.
    target
        The class to explain; the predicted one by default.
    against
        For contrast: a class, several classes, or others; the best-scoring rival by default.
    shots
        Use only the first N images of each class.
    skip_broken
        List broken support images on stderr and go on without them; otherwise they are a mistake.

    Examples
    --------
    fsl-explain explain bird.jpg --support species/ --out page.html
    fsl-explain explain bird.jpg --support species/ --method contrast --against tern --rule knn-vote --k 20
    """
    check_output_file(out)
    check_detail(detail, biases)
    _check_compared_with(
        support, text, {"--shots": shots is not None, "--skip-broken": skip_broken, "--center": center}
    )
    if shots is not None and shots < 1:
        raise Mistake(f"expected --shots of at least 1, but got {shots}.")
    if threshold is not None and "verification" not in method:
        raise Mistake("--threshold belongs to verification; add --method verification.")
    check_input(query, "an image to explain")
    for given, what in ((support, "a folder of supports"), (checkpoint, "a checkpoint")):
        if given is not None:
            check_input(given, what)
    chosen = named_center(center)
    if chosen is not None:
        chosen.check_there()

    from fsl_explain.cli.explain import run

    run(
        query=query,
        support=support,
        text=text,
        out=out,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
        readout=readout,
        scales=scales,
        support_scales=support_scales,
        detail=detail,
        biases=biases,
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


def _check_compared_with(support: Path | None, text: tuple[str, ...], of_images: Mapping[str, object]) -> None:
    if (support is None) == (not text):
        raise Mistake(
            f"expected --support FOLDER or --text PROMPT to compare the image with, but got "
            f"{'both' if text else 'none of them'}; give one of the two."
        )
    for option in [option for option, given in of_images.items() if given and text]:
        raise Mistake(f"{option} is about images, but the supports are prompts; drop it.")
