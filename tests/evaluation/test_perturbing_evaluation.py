"""Methods that ask the network again, evaluated over episodes: their figures are those of explain()'s maps."""

import torch

from episodes import DigitScenes, EpisodeSampler, prepare
from fsl_explain import Encoder, explain, metrics
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig

METHODS = (
    *("occlusion", "score-cam", "ablation-cam", "relax", "u-relax"),
    *("layercam-fused", "grad-cam@1", "hirescam@2", "smoothgrad", "integrated-gradients", "fullgrad"),
)


def test_maps_of_an_evaluation_are_those_of_explain():
    dataset = DigitScenes(part="novel", per_class=6, size=32)
    encoder = Encoder.named("conv4net", channels=6, size=32, seed=4)
    sizes = {"count": 1, "n_way": 3, "n_shot": 2, "n_query": 2}
    config = EvaluationConfig.model_validate(
        {"data": {"kind": "digit-scenes", "per_class": 6}, "episodes": sizes, "explanation": {"methods": METHODS}}
    )
    chunk = episodes_of(config, encoder, dataset)
    episode = EpisodeSampler(dataset.labels, n_way=3, n_shot=2, n_query=2, seed=0)[0]
    queries = [prepare(dataset[int(i)], encoder.transform) for i in episode.query.flat]
    support = [[prepare(dataset[int(i)], encoder.transform).pixels for i in row] for row in episode.support]
    supports, masks = torch.stack([torch.stack(row) for row in support]), torch.stack([q.target_mask for q in queries])
    correct = (chunk.decisions.predicted == chunk.decisions.truth)[0]
    assert correct.sum() > 0
    for name in METHODS:
        saliency = explain(encoder, torch.stack([query.pixels for query in queries]), supports, method=name).saliency
        position = chunk.measurements.methods.index(name)
        found = chunk.measurements.figures["proportion"][position, 0]
        expected = metrics.proportion(saliency, masks).double()
        torch.testing.assert_close(found[correct], expected[correct], rtol=1e-3, atol=1e-4, equal_nan=True)
        assert not found[correct].isnan().all()
