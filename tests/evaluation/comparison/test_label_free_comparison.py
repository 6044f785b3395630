"""LaFAM's tables without any decision: the figures of each map, in a stream."""

import pytest
import torch

from episodes import DigitScenes, prepare
from fsl_explain import Encoder, metrics
from fsl_explain import saliency as without_supports
from fsl_explain.cli.from_settings import comparison_of
from fsl_explain.config import ComparisonConfig
from fsl_explain.evaluation.comparison.comparison_tables import (
    comparison_columns,
    comparison_tables,
    summarize_comparison,
)
from fsl_explain.evaluation.figures import LAYOUTS
from fsl_explain.explainers.methods.relax import RelaxOptions

LOCALIZATION = LAYOUTS["lafam"]
A_PLACE = 5e-3  # pixels that are equal but for rounding may change places in an order


def settings_of(methods=("relax", "eigen-cam"), batch_size=4):
    maps = {"methods": methods, "shots": 0, "sample": 5, "relax_masks": 8, "relax_variant": "lafam", "seed": 3}
    return ComparisonConfig.model_validate(
        {"data": {"kind": "digit-scenes"}, "maps": maps, "run": {"batch_size": batch_size}}
    )


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=3, size=32)


@pytest.fixture(scope="module")
def measured(encoder, dataset):
    return comparison_of(settings_of(), encoder, dataset)


def test_equals_the_figures_of_single_maps(encoder, dataset, measured):
    options = RelaxOptions(masks=8, variant="lafam", seed=3)
    for image in range(len(dataset)):
        prepared = prepare(dataset[image], encoder.transform)
        for method, how in (
            ("lafam", {"interpolation": "nearest"}),
            ("eigen-cam", {}),
            ("relax", {"options": options}),
        ):
            row = measured.methods.index(method)
            found = {name: float(measured.figures[name][row, image]) for name in LOCALIZATION}
            if method == "relax" and not bool(measured.sampled[image]):
                assert all(value != value for value in found.values())
                continue
            saliency = without_supports(encoder, prepared.pixels[None], method=method, **how)
            expected = vars(metrics.map_figures(saliency, prepared.target_mask[None]))
            assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=A_PLACE)


def test_batches_and_an_interruption_change_nothing(encoder, dataset, measured, tmp_path):
    whole = comparison_of(settings_of(), encoder, dataset, tmp_path)
    kept = sorted(tmp_path.glob("*.safetensors"))
    for file in kept[::2]:
        file.unlink()
    again = comparison_of(settings_of(), encoder, dataset, tmp_path)
    single = comparison_of(settings_of(batch_size=1), encoder, dataset)
    for name in LOCALIZATION:
        assert torch.equal(whole.figures[name].nan_to_num(-1), measured.figures[name].nan_to_num(-1))
        assert torch.equal(again.figures[name].nan_to_num(-1), measured.figures[name].nan_to_num(-1))
        torch.testing.assert_close(single.figures[name], measured.figures[name], rtol=0, atol=A_PLACE, equal_nan=True)


def test_tables_hold_no_decision(dataset, measured):
    assert not measured.decided
    tables = comparison_tables(measured, "lafam", "conv4net")
    assert [table.title for table in tables][:2] == [
        "lafam: as LaFAM's tables, 15 images",
        "lafam: as LaFAM's tables, 5 images",
    ]
    assert not any("tells maps apart" in table.title for table in tables)
    assert summarize_comparison(measured)["accuracy"] is None
    columns = comparison_columns(measured, dataset.classes, dataset.paths)
    assert not {"predicted", "correct"} & set(columns)
    assert "class" in columns


def test_refuses_a_method_that_explains_a_decision(encoder, dataset):
    with pytest.raises(ValueError, match=r"no class is decided, but 'exact' explains a decision; drop it"):
        comparison_of(settings_of(("exact",)), encoder, dataset)
