"""The figures of "What the numbers mean": one query of the embedded digits, explained from every side.

python docs/worked_example.py
"""

from importlib.resources import as_file, files
from textwrap import wrap

import numpy as np
import torch

from episodes import DigitScenes, EpisodeSampler
from fsl_explain import Encoder, Explanation, correspondence, counterfactual, explain, support_audit
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.analysis.correspondence import tables
from fsl_explain.heads import Center

SHOTS = 3


def pixels(encoder: Encoder, scenes: DigitScenes, indices: np.ndarray) -> torch.Tensor:
    """Return the preprocessed scenes at the given indices, in the shape of the indices."""
    flat = encoder.preprocess([scenes[int(i)].image for i in indices.flat])
    return flat.reshape(*indices.shape, *flat.shape[1:])


def demo_encoder() -> Encoder:
    """Return the demo's encoder in float64."""
    with as_file(files("fsl_explain") / "demo" / "conv4net-digit-scenes.safetensors") as weights:
        encoder = Encoder.named("conv4net", checkpoint=weights)
    encoder.network.double()
    return encoder


def centered_encoder() -> Encoder:
    """Return the same encoder, its embeddings centered on the mean of the digits it was trained on."""
    encoder = demo_encoder()
    base = DigitScenes(part="base", per_class=5)
    embeddings = encoder(pixels(encoder, base, np.arange(len(base)))).embedding
    return Encoder(
        encoder.network, layer=encoder.layer, pooling="gap", head=Center.on(embeddings), preprocess=encoder.transform
    )


def lines(explanation: Explanation) -> list[str]:
    """Write the four ways in which one score adds up."""
    support_cells = explanation.support_cells.nansum()
    ways = {
        "64 channels": (explanation.contributions.sum(), explanation.bias),
        f"{explanation.cells.numel()} cells of the query": (explanation.cells.sum(), explanation.bias),
        "cells of the supports": (support_cells, explanation.support_bias),
    }
    written = [
        f"{name:24} {float(total):+.6f}  bias {float(bias):+.6f}  sum {float(total + bias):+.6f}"
        for name, (total, bias) in ways.items()
    ]
    return [*written, f"{'score':24} {float(explanation.score):+.6f}"]


def main() -> None:
    """Print every figure of the chapter."""
    encoder = centered_encoder()
    scenes = DigitScenes(part="novel", per_class=20)
    episode = EpisodeSampler(scenes.labels, n_way=3, n_shot=SHOTS, n_query=1, seed=4)[0]
    names = [scenes.classes[int(label)] for label in episode.classes]
    query = pixels(encoder, scenes, episode.query[0])[0].double()
    supports = dict(zip(names, pixels(encoder, scenes, episode.support).double(), strict=True))

    contrast = explain(encoder, query, supports, method="contrast")
    scores = ", ".join(f"{name} {score:.6f}" for name, score in zip(names, contrast.decision.scores, strict=True))
    print(f"The query is a {names[0]}. Scores: {scores}. Decided: {contrast.decision.name}.\n")
    print("1 The lead over the runner-up, support by support\n")
    print(contrast.receipt())
    print("\n2 The same lead, over channels and over cells of either side\n")
    print("\n".join(lines(contrast)))
    print("\n3 Which cell met which: the strongest support of the class\n")
    split = correspondence(contrast)
    print(f"support {split.shot + 1}: its {split.table.numel()} entries sum to {float(split.table.sum()):+.6f}")
    print(f"its weight times its similarity:     {split.weight * split.similarity:+.6f}")
    row_sums = tables(contrast.question).sum(dim=(0, 1, -1))[:-1].reshape(contrast.cells.shape)
    strongest = divmod(int(contrast.cells.argmax()), contrast.cells.shape[1])
    print(f"strongest cell {strongest}: row sums of all six tables {float(row_sums[strongest]):+.6f}")
    print(f"the same cell of the contrast map:   {float(contrast.cells[strongest]):+.6f}")
    print("\n4 Without one support at a time\n")
    print(support_audit(contrast))
    print("\n5 The same query decided by a weighted vote of the 7 nearest supports\n")
    print(explain(encoder, query, supports, method="contrast", rule=KnnVote(k=7)).receipt())
    print("\n6 The probability of a softmax with scale 7\n")
    probable = explain(encoder, query, supports, method="log-probability", scale=7.0)
    print("\n".join(lines(probable)))
    print(f"{'probability':24} {float(probable.score.exp()):.4f}")
    print("\n7 The fewest cells that keep it from being another class\n")
    print("\n".join(wrap(str(counterfactual(encoder, query, supports)), 100)))


if __name__ == "__main__":
    main()
