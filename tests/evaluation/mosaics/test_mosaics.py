"""The benchmark against the public functions, mosaic by mosaic, and where the right answer can be seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import to_tensor

from episodes import DigitScenes, LabeledImage, direct_resize
from fsl_explain import Encoder, explain, metrics
from fsl_explain.cli.from_settings import mosaics_of, sizes_of
from fsl_explain.config import MosaicsConfig
from fsl_explain.evaluation.mosaics.explained_mosaics import fitted_head
from fsl_explain.evaluation.mosaics.measured_mosaics import check_heads, measured_methods
from fsl_explain.evaluation.mosaics.mosaic_images import crop_area, cut, tile_masks
from fsl_explain.evaluation.mosaics.mosaic_store import draw_mosaics, embed_mosaics, picture_of
from fsl_explain.evaluation.mosaics.mosaic_table import mosaic_tables, summarize_mosaics

SIDE = 32


def settings_of(**mosaics):
    sizes = {"count": 6, "heads": ["none", "class-pca"]} | mosaics
    return MosaicsConfig.model_validate({"data": {"kind": "digit-scenes"}, "mosaics": sizes, "run": {"batch_size": 4}})


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=SIDE)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=SIDE, seed=4)


@pytest.fixture(scope="module")
def measured(encoder, dataset):
    settings = settings_of()
    return mosaics_of(settings.mosaics, settings.run, encoder, dataset)


@pytest.mark.parametrize("head", ["none", "class-pca"])
@pytest.mark.parametrize("method", ["fam", "exact", "contrast", "lafam", "grad-cam"])
def test_equals_the_public_functions_mosaic_by_mosaic(encoder, dataset, measured, method, head):
    store, figures = measured
    fitted = fitted_head(head, store).float()
    with_head = Encoder(encoder.network, layer=None, pooling=encoder.pooling, head=fitted, preprocess=encoder.transform)
    for number, mosaic in enumerate(draw_mosaics(dataset, sizes_of(settings_of().mosaics))[1]):
        picture = encoder.preprocess([picture_of(mosaic, dataset, "box", SIDE)])[0]
        supports = torch.stack([alone(encoder, dataset[int(index)]) for index in mosaic.references])[:, None]
        against = "others" if method == "contrast" else None
        first, second = (
            explain(with_head, picture, supports, method=method, target=target, against=against).saliency[None]
            for target in (mosaic.target, mosaic.other)
        )
        mask = tile_masks(SIDE, SIDE)[mosaic.target][None]
        found = figures[head].methods[method]
        with np.errstate(invalid="ignore"):  # a constant map has no correlation
            pearson = np.corrcoef(first.flatten().double(), second.flatten().double())[0, 1]
        expected = [metrics.pointing_game(first, mask), metrics.relevance_mass_accuracy(first, mask), pearson]
        values = [found.hit[number], found.energy[number], found.correlation[number]]
        np.testing.assert_allclose(values, [float(value) for value in expected], atol=1e-4)


def alone(encoder, labeled):
    return encoder.preprocess([cut(labeled.image, crop_area(labeled, "box"), SIDE)])[0]


@pytest.mark.parametrize("head", ["none", "class-pca"])
def test_the_ceilings_are_those_of_each_tile_shown_alone(encoder, dataset, measured, head):
    store, figures = measured
    fitted = fitted_head(head, store)
    for number, mosaic in enumerate(draw_mosaics(dataset, sizes_of(settings_of().mosaics))[1]):
        tiles, references = (
            fitted(encoder(torch.stack([alone(encoder, dataset[int(i)]) for i in row])).pooled.double())
            for row in (mosaic.tiles, mosaic.references)
        )
        similarity = nn.functional.cosine_similarity(tiles[:, None], references[None], dim=-1).tolist()
        own = [row[mosaic.target] for row in similarity]
        lead = [row[mosaic.target] - np.mean(np.delete(row, mosaic.target)) for row in similarity]
        assert bool(figures[head].one_reference[number]) == (own.index(max(own)) == mosaic.target)
        assert bool(figures[head].contrast[number]) == (lead.index(max(lead)) == mosaic.target)


def test_the_receipt_holds_and_baselines_are_at_chance(measured):
    for head in measured[1].values():
        assert float(head.methods["exact"].residual.max()) < 1e-5
        assert float(head.methods["contrast"].residual.max()) < 1e-5
        assert all(head.methods[name].residual.isnan().all() for name in ("fam", "grad-cam", "lafam"))
        assert head.methods["all-ones"].hit.tolist() == head.methods["centered-gaussian"].hit.tolist() == [0.25] * 6
        assert head.methods["all-ones"].correlation.isnan().all()
        assert float(head.methods["lafam"].correlation.min()) == pytest.approx(1)


class PlainColors:
    """Four classes of one color each, four brightnesses of each, no annotation."""

    name = "plain colors"
    classes = ("red", "green", "blue", "white")
    labels = np.repeat(np.arange(4), 4)
    paths = (None,) * 16

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        level = 255 - 20 * (position % 4)
        color = [level * part for part in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))[position // 4]]
        return LabeledImage(Image.new("RGB", (8, 8), tuple(color)), position // 4, self.classes[position // 4])


def color_encoder():
    """One channel fires on each of the four colors, on no other."""
    network = nn.Sequential(nn.Conv2d(3, 4, kernel_size=1), nn.ReLU())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])[..., None, None])
        network[0].bias.copy_(torch.tensor([0.0, 0, 0, -1.5]))
    return Encoder.wrap(network, "1", preprocess=direct_resize(8, (0.0,) * 3, (1.0,) * 3))


def test_every_map_that_looks_at_the_reference_is_right_where_one_channel_is_one_class():
    settings, encoder = (
        settings_of(count=20, heads=["none", "linear"], methods=["fam", "exact", "contrast"]),
        color_encoder(),
    )
    _, figures = mosaics_of(settings.mosaics, settings.run, encoder, PlainColors())
    plain = figures["none"]
    for method in ("fam", "exact", "contrast"):
        assert plain.methods[method].hit.tolist() == pytest.approx([1.0] * 20)
        assert float(plain.methods[method].energy.min()) > 0.8
        assert float(plain.methods[method].correlation.max()) < 0
    assert plain.one_reference.tolist() == plain.contrast.tolist() == [1.0] * 20
    assert figures["linear"].methods["contrast"].hit.tolist() == pytest.approx([1.0] * 20)


def test_heads_are_fitted_on_crops_that_appear_in_no_mosaic(encoder, dataset, measured):
    store, _ = measured
    parts, mosaics = draw_mosaics(dataset, sizes_of(settings_of().mosaics))
    shown = {int(index) for mosaic in mosaics for index in (*mosaic.tiles, *mosaic.references)}
    assert not shown & set(parts.fitting.tolist())
    pooled = encoder(torch.stack([alone(encoder, dataset[int(index)]) for index in parts.fitting])).pooled
    head = fitted_head("center", store)
    torch.testing.assert_close(head.bias, -pooled.double().mean(dim=0), atol=1e-5, rtol=1e-5)


def test_a_mosaic_may_be_larger_than_the_images_of_the_encoder(encoder, dataset, measured):
    settings = settings_of(side=2 * SIDE, heads=["none"])
    store, usual = embed_mosaics(encoder, dataset, sizes_of(settings.mosaics), batch_size=4), measured[0]
    torch.testing.assert_close(store.crops, usual.crops, equal_nan=True)
    assert store.masks.shape == (4, 2 * SIDE, 2 * SIDE)
    assert store.maps.shape[-1] == 2 * usual.maps.shape[-1]
    picture = picture_of(draw_mosaics(dataset, sizes_of(settings.mosaics))[1][0], dataset, "box", 2 * SIDE)
    assert picture.size == (2 * SIDE, 2 * SIDE)
    expected = encoder(torch.stack([encoder.transform.transforms[-1](to_tensor(picture))])).maps[0]
    torch.testing.assert_close(store.maps[0], expected, atol=1e-5, rtol=1e-4)


def test_a_larger_mosaic_needs_a_known_normalization(encoder, dataset):
    hidden = Encoder(encoder.network, preprocess=encoder.transform.__call__)
    with pytest.raises(
        ValueError, match=r"mosaics of 64 pixels need an encoder whose preprocessing .* drop mosaics.side"
    ):
        embed_mosaics(hidden, dataset, sizes_of(settings_of(side=64).mosaics))


def test_the_tables_show_every_method_and_head_and_the_ceilings(measured):
    summary = summarize_mosaics(measured[1])
    hit, energy, correlation = mosaic_tables(summary, "digits")
    methods = ["all-ones", "random-blurred", "centered-gaussian", "lafam", "grad-cam", "fam", "exact", "contrast"]
    assert hit.columns == ("method", "none (6)", "class-pca (4)")
    assert [row[0] for row in hit.rows] == [*methods, "tile alone, one reference", "tile alone, contrast"]
    assert [row[0] for row in energy.rows] == [row[0] for row in correlation.rows] == methods
    assert hit.rows[0][1] == "25.0 ± 0.0"
    assert correlation.rows[0][1] == "–"
    share = 100 * float(measured[1]["class-pca"].contrast.mean())
    assert hit.rows[-1][2].startswith(f"{share:.1f} ± ")
    assert "6 mosaics" in hit.notes[0]


def residual_notes(measured, **residuals):
    """Each method's residuals, one head each; None: it is not measured."""
    figures = {}
    for place, head in enumerate(measured.values()):
        methods = {"fam": head.methods["fam"]}
        for name, of_heads in residuals.items():
            methods[name] = replace(head.methods["fam"], residual=torch.full((6,), of_heads[place]))
        figures[f"head {place}"] = replace(head, methods=methods)
    notes = mosaic_tables(summarize_mosaics(figures), "digits")[0].notes
    return [note for note in notes if "up to the score" in note]


def test_only_measured_residuals_are_told(measured):
    largest = "up to the score: largest residual 3e-06 of the sum of the absolute terms."
    known, partly, unknown = (2e-6, 3e-6), (torch.nan, 3e-6), (torch.nan, torch.nan)
    assert residual_notes(measured[1], exact=known, contrast=known) == [f"Exact and contrast add {largest}"]
    assert residual_notes(measured[1], exact=partly) == [f"Exact adds {largest}"]
    assert residual_notes(measured[1], exact=unknown, contrast=unknown) == residual_notes(measured[1]) == []


def test_unknown_names_are_answered_before_anything_is_embedded():
    with pytest.raises(LookupError, match=r"unknown head 'pca-129'; did you mean 'pca-128'"):
        check_heads(["pca-129"])
    with pytest.raises(LookupError, match=r"unknown method 'exat'; did you mean 'exact'"):
        measured_methods(["exat"])
    with pytest.raises(ValueError, match=r"a class's score or its lead, but 'verification' explains another number"):
        measured_methods(["verification"])
    with pytest.raises(ValueError, match="but 'relax' asks the whole encoder about altered"):
        measured_methods(["relax"])
