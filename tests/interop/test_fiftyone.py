"""A bank as a FiftyOne data set, and an inspection as a view, in a MongoDB that FiftyOne starts."""

import os
import sys
from dataclasses import replace

import jaxtyping
import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from episodes import Mistake
from fsl_explain import Encoder
from retrieval_explain import MemoryBank, fiftyone_dataset, fiftyone_view, inspect_neighbors, retrieve


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory):
    """FiftyOne reads where its database lies when it is imported."""
    folder = tmp_path_factory.mktemp("fiftyone")
    os.environ["FIFTYONE_DATABASE_DIR"] = str(folder)
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
    yield
    del os.environ["FIFTYONE_DATABASE_DIR"], os.environ["FIFTYONE_DO_NOT_TRACK"]


@pytest.fixture
def found(needs, tmp_path):
    """A bank of eight images, and an inspection of the third one's neighbors."""
    needs("fiftyone")
    for number in range(8):
        picture = PIL.Image.new("RGB", (70, 50), (30 * number, 200 - 20 * number, 90))
        picture.paste((250, 250, 40), (6 * number, 8, 6 * number + 20, 30))
        (tmp_path / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / "images" / "ab"[number % 2] / f"{number}.png")
    encoder = Encoder.named("conv4net")
    bank = MemoryBank.build(encoder, tmp_path / "images")
    query = encoder.preprocess([bank.paths[2]])[0]
    return inspect_neighbors(retrieve(encoder, query, bank, k=5, without=torch.tensor([2])), explained=2)


def test_the_page(run_page):
    names, printed = run_page("fiftyone", "fiftyone")
    bank, view, retrieved = names["bank"], names["view"], names["retrieved"]
    assert view.values("bank_row") == [int(names["itself"]), *retrieved.neighbors.indices.tolist()]
    assert view.values("why_rank") == [None, *range(1, 9)]
    assert view.values("why_similarity")[1:] == retrieved.neighbors.similarities.tolist()
    assert view.values("ground_truth.label") == [bank.classes[bank.labels[row]] for row in view.values("bank_row")]
    expected = bank.search(torch.from_numpy(names["embeddings"][:1]), k=5).indices[0].tolist()
    assert names["nearest"].values("bank_row") == expected
    assert sum(line.endswith(("True", "False")) for line in printed.splitlines()) == 9


def test_maps_are_the_cells_of_each_side(found):
    bank = found.retrieved.bank
    view = fiftyone_view(fiftyone_dataset(bank), found, bank.paths[2])
    samples = [*view]
    assert [sample.why_map is not None for sample in samples] == [True, True, True, False, False, False]
    for sample, pair in zip(samples[1:], found.pairs, strict=False):
        cells = pair.explanation.support_cells[int(pair.explanation.target), 0]
        enlarged = F.interpolate(cells[None, None].float(), size=(50, 70), mode="bilinear")[0, 0].numpy()
        assert sample.why_map.map.shape == (50, 70)
        assert np.corrcoef(sample.why_map.map.ravel(), enlarged.ravel())[0, 1] > 0.98
        assert sample.why_map.range[1] == -sample.why_map.range[0] == pytest.approx(np.abs(sample.why_map.map).max())
    query = samples[0]
    photograph = PIL.Image.open(bank.paths[2])
    for drawn, explanation in ((query.why_map, found.pairs[0].explanation), (query.why_margin, found.margin)):
        expected = explanation.saliency_on(photograph).numpy()
        np.testing.assert_allclose(drawn.map, expected, atol=1e-6 * np.abs(expected).max())
    assert query.tags == ["query"]


def test_a_later_query_clears_what_an_earlier_one_wrote(found):
    bank, encoder = found.retrieved.bank, found.retrieved.encoder
    dataset = fiftyone_dataset(bank)
    fiftyone_view(dataset, found, bank.paths[2])
    fiftyone_view(dataset, found, bank.paths[2], prefix="kept")
    query = encoder.preprocess([bank.paths[5]])[0]
    later = inspect_neighbors(retrieve(encoder, query, bank, k=3, without=torch.tensor([5])), explained=1)
    view = fiftyone_view(dataset, later, bank.paths[5])
    ranked = dataset.exists("why_rank").values("bank_row")
    assert sorted(ranked) == sorted(later.retrieved.neighbors.indices.tolist())
    assert len(dataset.exists("why_map")) == 2
    assert len(dataset.exists("kept_rank")) == 5
    assert dataset.match_tags("query").values("bank_row") == [5]
    assert view.values("bank_row") == [5, *later.retrieved.neighbors.indices.tolist()]


def test_a_query_from_elsewhere_becomes_a_sample(found, tmp_path):
    PIL.Image.open(found.retrieved.bank.paths[2]).save(tmp_path / "elsewhere.png")
    dataset = fiftyone_dataset(found.retrieved.bank)
    view = fiftyone_view(dataset, found, tmp_path / "elsewhere.png")
    fiftyone_view(dataset, found, tmp_path / "elsewhere.png")
    assert len(dataset) == 9
    assert view.first().bank_row is None
    assert view.first().filepath == str(tmp_path / "elsewhere.png")


def test_a_large_photograph_has_a_small_map_of_its_shape(found, tmp_path):
    PIL.Image.open(found.retrieved.bank.paths[2]).resize((1400, 1000)).save(tmp_path / "large.png")
    view = fiftyone_view(fiftyone_dataset(found.retrieved.bank), found, tmp_path / "large.png")
    assert view.first().why_map.map.shape == (366, 512)


def test_what_cannot_be_shown_is_refused(found, tmp_path):
    bank = found.retrieved.bank
    without = MemoryBank.from_embeddings(torch.eye(3), paths=["a.png", None, None])
    with pytest.raises(Mistake, match="a path for every image of the bank, but 2 of 3 have none"):
        fiftyone_dataset(without)
    fiftyone_dataset(bank, name="taken")
    with pytest.raises(Mistake, match="FiftyOne has a data set 'taken'; choose another or overwrite it"):
        fiftyone_dataset(bank, name="taken")
    other = fiftyone_dataset(MemoryBank.from_embeddings(torch.eye(8), paths=[f"{row}.png" for row in range(8)]))
    with pytest.raises(Mistake, match=r"expected a data set of this bank, but .* has not its rows"):
        fiftyone_view(other, found, bank.paths[2])
    hidden = Encoder.wrap(found.retrieved.encoder.network, preprocess=lambda image: image)
    unknown = replace(found, retrieved=replace(found.retrieved, encoder=hidden))
    with pytest.raises(Mistake, match="give resize="):
        fiftyone_view(fiftyone_dataset(bank), unknown, bank.paths[2])


def test_its_absence_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)  # an import of it fails
    with pytest.raises(Mistake, match=r"FiftyOne cannot be imported .* pip install fiftyone"):
        fiftyone_dataset(MemoryBank.from_embeddings(torch.eye(3), paths=["a", "b", "c"]))


@pytest.mark.parametrize("given", [[], "retrieved"])
def test_it_shows_one_inspection(monkeypatch, given):
    monkeypatch.setitem(sys.modules, "fiftyone", None)  # a wrong type is told without it
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside the tests
    with pytest.raises(TypeError, match=r"expected one Inspection, but got \w+; give several one by one"):
        fiftyone_view(None, given, "query.png")
