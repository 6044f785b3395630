"""``fsl-explain explain``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_output_file
from fsl_explain.explainers.methods.named import find_method


def explain(
    query: Path,
    *,
    support: Path,
    out: Path = Path("explanation.html"),
    encoder: str = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: str | None = None,
    method: tuple[str, ...] = (),
    rule: str = "mean-similarity",
    k: int | None = None,
    temperature: float | None = None,
    similarity: str = "cosine",
    threshold: float | None = None,
    scale: float = 1.0,
    target: str | None = None,
    against: tuple[str, ...] = (),
    shots: int | None = None,
) -> None:
    """Explain why a query image is given one of the classes of a support folder.

    Prints the decision and each explanation's receipt, and writes a page with the maps.

    Parameters
    ----------
    query
        The image to explain.
    support
        Folder with one folder of images per class: DIR/CLASS/IMAGE.
    out
        The HTML page to write.
    encoder
        conv4net, conv64f, resnet12, can-resnet12, resnet18, wrn-28-10, bn-inception, efficientnet-lite0, npid-resnet18,
        npid-resnet50, moco-resnet50, moco-v2-resnet50, simclr-resnet50, swav-resnet50, supervised-resnet50 or
        torchvision:NAME.
    checkpoint
        Weights for the encoder: safetensors, a plain state dict, or the file of an official release.
    pooling
        gap, gmp, lse or gem; that of the encoder's paper unless given.
    method
        exact, contrast, log-probability, verification, fam, lafam, grad-cam, relax, occlusion, score-cam or another
        that the README lists; may be repeated. By default exact, contrast, fam and lafam, as far as the classes and
        the similarity allow.
    rule
        mean-similarity, prototype, nearest-neighbor, knn-vote, majority-vote, logistic-regression or
        cosine-classifier.
    k
        Neighbors that vote; 200, or all supports where there are fewer, by default.
    temperature
        Of the weighted k-NN vote; 0.07 by default.
    similarity
        cosine, inner-product, euclidean or mahalanobis (fitted on the supports).
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
    """
    for name in method:
        find_method(name)
    check_output_file(out)
    if shots is not None and shots < 1:
        raise Mistake(f"expected --shots of at least 1, but got {shots}.")
    if threshold is not None and "verification" not in method:
        raise Mistake("--threshold belongs to verification; add --method verification.")

    from fsl_explain.cli.explain import run

    run(
        query=query,
        support=support,
        out=out,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
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
    )
