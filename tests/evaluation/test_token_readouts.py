"""Evaluations of a token that is read out: all baselines, and a sentence for methods that it has not."""

import pytest
import torch

from episodes import DigitScenes, EpisodeSampler
from fsl_explain import Encoder
from fsl_explain.backbones.named import build_named
from fsl_explain.backbones.networks.demo_vit import SIDE
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.evaluation import evaluate_episodes
from fsl_explain.evaluation.chosen_methods import BASELINES, with_baselines
from fsl_explain.evaluation.mosaics.explained_mosaics import fitted_head
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes
from fsl_explain.evaluation.mosaics.mosaic_store import draw_mosaics, embed_mosaics, mosaic_pixels, picture_of

SCENES = DigitScenes("novel", per_class=4)


@pytest.fixture(params=["class", "class+mean", "mean"])
def encoder(request):
    network = build_named("demo-vit", None).network
    return Encoder.wrap(network, readout=request.param, preprocess=Preprocessing(SIDE).transform)


def test_every_table_has_all_baselines():
    assert set(with_baselines(["exact"])) == {"exact", *BASELINES}


def test_episodes_are_measured_by_what_the_readout_can_take(encoder):
    sampler = EpisodeSampler(SCENES.labels, n_way=5, n_shot=1, n_query=2)
    chunk = evaluate_episodes(encoder, SCENES, sampler=sampler, episodes=1, methods=["exact"])
    assert set(chunk.measurements.methods) == {"exact", *BASELINES}


def test_a_method_asked_for_by_name_is_refused_where_it_cannot_be():
    encoder = Encoder.named("demo-vit")
    sampler = EpisodeSampler(SCENES.labels, n_way=5, n_shot=1, n_query=2)
    with pytest.raises(
        ValueError,
        match=r"ablation-cam needs an embedding that is pooled from the maps, but this",
    ):
        evaluate_episodes(encoder, SCENES, sampler=sampler, episodes=1, methods=["ablation-cam"])


def test_mosaics_add_up_for_every_readout(encoder):
    store = embed_mosaics(encoder, SCENES, MosaicSizes(count=6, crop="image"))
    given = {"heads": ["none", "center"], "methods": ["exact", "contrast"], "encoder": encoder}
    found = evaluate_mosaics(store, encoder.pooling, **given)
    for head in found.values():
        assert set(head.methods) == {"exact", "contrast", *BASELINES}
        for name in ("exact", "contrast"):
            assert float(head.methods[name].residual.max()) < 1e-5


def test_mosaics_compare_what_the_network_itself_makes():
    """The class token goes through the last normalization before it is compared."""
    encoder, sizes = Encoder.named("demo-vit"), MosaicSizes(count=3, crop="image")
    store = embed_mosaics(encoder, SCENES, sizes)
    pictures = [picture_of(one, SCENES, sizes.crop, SIDE) for one in draw_mosaics(SCENES, sizes)[1]]
    with torch.no_grad():
        expected = encoder.network(mosaic_pixels(encoder, pictures, SIDE))
        found = fitted_head("none", store)(store.pooled.double())
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(store.pooled, expected, atol=0.1)


def test_figures_of_a_readout_depend_on_its_trace_and_its_own_head():
    store = embed_mosaics(Encoder.named("demo-vit"), SCENES, MosaicSizes(count=2, crop="image"))
    held = list(store.tensors())
    for one in (*store.trace.parts(), *store.readout_head.state_dict().values()):
        assert any(one is other or torch.equal(one, other) for other in held)
