"""The same images under several models: which are chosen, and that the maps are those of the decisions."""

import numpy as np
import pytest
import torch

from episodes import DigitScenes, EpisodeSampler, prepare, select
from fsl_explain import Encoder, explain
from fsl_explain.cli.from_settings import grid_of
from fsl_explain.config import FigureConfig
from fsl_explain.evaluation import map_grid as map_grid_module
from fsl_explain.report import draw_grid, write_figure
from retrieval_explain import MemoryBank


def settings_of(decision=None, **shown):
    return FigureConfig.model_validate(
        {
            "data": {"kind": "digit-scenes"},
            "models": [{"title": "first", "encoder": {}}, {"title": "second", "encoder": {}}],
            "episodes": {"n_way": 3, "n_shot": 2, "n_query": 1, "seed": 1},
            "decision": decision or {},
            "shown": {"images": 4, "among": 30} | shown,
        }
    )


def grid_of_models(encoders, dataset, gallery, settings):
    return grid_of(settings, list(encoders), dataset, gallery)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=32)


@pytest.fixture(scope="module")
def encoders():
    return [Encoder.named("conv4net", channels=channels, size=32, seed=2) for channels in (6, 12)]


def pixels(encoder, dataset, index):
    return prepare(dataset[int(index)], encoder.transform).pixels


def explained(encoder, dataset, image, episode, method, target=None):
    supports = {
        dataset.classes[label]: torch.stack([pixels(encoder, dataset, i) for i in row])
        for label, row in zip(episode.classes, episode.support, strict=True)
    }
    return explain(encoder, pixels(encoder, dataset, image), supports, method=method, target=target)


@pytest.mark.parametrize(("decisions", "method"), [("correct", "fam"), ("wrong", "exact")])
def test_shows_decisions_that_all_models_share(encoders, dataset, decisions, method):
    grid = grid_of_models(encoders, dataset, None, settings_of(decisions=decisions, method=method))
    sampler = EpisodeSampler(dataset.labels, n_way=3, n_shot=2, n_query=1, seed=1)
    expected: dict[str, list[list[torch.Tensor]]] = {}
    for episode in sampler.episodes(10):
        for query in episode.query[:, 0]:
            truth = dataset.classes[dataset.labels[query]]
            found = [explained(encoder, dataset, query, episode, method) for encoder in encoders]
            right = [one.decision.name == truth for one in found]
            if all(right) if decisions == "correct" else not any(right):
                maps = [one.saliency for one in found]
                if decisions == "wrong":
                    true_ones = [explained(e, dataset, query, episode, method, truth).saliency for e in encoders]
                    maps = [maps[0], true_ones[0], maps[1], true_ones[1]]
                expected.setdefault(truth, []).append(maps)
    assert grid.signed == (method == "exact")
    assert len(set(grid.truths)) == min(4, len(expected))
    seen: dict[str, int] = {}
    for column, truth in enumerate(grid.truths):
        maps = expected[truth][seen.get(truth, 0)]
        seen[truth] = seen.get(truth, 0) + 1
        for place, (row, saliency) in enumerate(zip(grid.rows, maps, strict=True)):
            torch.testing.assert_close(row[column].saliency, saliency, rtol=1e-4, atol=1e-4)
            assert (row[column].explained == truth) == (decisions == "correct" or place % 2 == 1)
    titles = ("first", "second")
    pairs = tuple(f"{title}, {which} class" for title in titles for which in ("predicted", "true"))
    assert grid.titles == (titles if decisions == "correct" else pairs)


def test_a_gallery_votes_without_the_image_itself(encoders, dataset):
    decision = {"supports": "gallery", "rule": "majority-vote", "k": 3}
    grid = grid_of_models(encoders, dataset, None, settings_of(decision, method="exact", among=len(dataset)))
    banks = [MemoryBank.build(encoder, dataset) for encoder in encoders]
    order = np.random.default_rng(0).permutation(len(dataset))
    right = []
    for index in order:
        votes = []
        for encoder, bank in zip(encoders, banks, strict=True):
            found = bank.search(
                encoder(pixels(encoder, dataset, index)[None]).embedding, 3, leave_out=torch.tensor([index])
            )
            votes.append(int(torch.bincount(found.labels[0], minlength=5).argmax()))
        if all(vote == dataset.labels[index] for vote in votes):
            right.append(index)
    classes = [dataset.classes[dataset.labels[index]] for index in right]
    assert set(grid.truths) <= set(classes)
    first = right[classes.index(grid.truths[0])]
    shown = grid.rows[0][0].image
    mean, std = (torch.tensor(values)[:, None, None] for values in encoders[0].normalization)
    torch.testing.assert_close(shown, pixels(encoders[0], dataset, first) * std + mean, rtol=1e-4, atol=1e-4)


def test_an_own_gallery_and_a_class_without_a_vote(encoders, dataset):
    gallery = select(dataset, dataset.classes[:2])
    decision = {"supports": "gallery", "rule": "nearest-neighbor"}
    grid = grid_of_models(
        encoders, dataset, gallery, settings_of(decision, decisions="wrong", method="exact", among=30)
    )
    for predicted, true in (grid.rows[:2], grid.rows[2:]):
        for column, truth in enumerate(grid.truths):
            assert predicted[column].explained in gallery.classes
            if truth not in gallery.classes:
                assert true[column].explained == f"{truth} (no vote)"
                assert not true[column].saliency.any()


def test_says_when_there_is_nothing_to_show(encoders, dataset):
    decision = {"supports": "gallery", "rule": "nearest-neighbor"}
    one_class = select(dataset, dataset.classes[:1])
    with pytest.raises(ValueError, match=r"expected decisions that every model of the figure gets right, or wrong"):
        grid_of_models(encoders, one_class, None, settings_of(decision, decisions="wrong"))


def test_a_figure_has_a_row_for_each_model(encoders, dataset, tmp_path):
    grid = grid_of_models(encoders, dataset, None, settings_of())
    figure = draw_grid(grid)
    assert len(figure.axes) == 3 * len(grid.truths)
    for ending in ("png", "pdf", "svg"):
        write_figure(figure, tmp_path / "new" / f"figure.{ending}")
        assert (tmp_path / "new" / f"figure.{ending}").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"expected a figure that ends in .png, .pdf, .svg, but got"):
        write_figure(figure, tmp_path / "figure.jpg")
    write_figure(figure, str(tmp_path / "text.png"))
    with pytest.raises(ValueError, match=r"expected .*text.png to be a folder, but it is a file"):
        write_figure(figure, tmp_path / "text.png" / "figure.png")


def test_a_gallery_is_searched_in_blocks(encoders, dataset, monkeypatch):
    decision = {"supports": "gallery", "rule": "knn-vote", "k": 4}
    settings = settings_of(decision, decisions="wrong", method="exact", among=len(dataset))
    whole = grid_of_models(encoders, dataset, None, settings)
    monkeypatch.setattr(map_grid_module, "ROWS_AT_ONCE", 7)
    pieces = grid_of_models(encoders, dataset, None, settings)
    assert pieces.truths == whole.truths
    for row, expected in zip(pieces.rows, whole.rows, strict=True):
        for shown, same in zip(row, expected, strict=True):
            torch.testing.assert_close(shown.saliency, same.saliency)


def test_a_unanimous_vote_has_no_rival_to_contrast_with(encoders, dataset):
    decision = {"supports": "gallery", "rule": "knn-vote", "k": 1}
    grid = grid_of_models(
        [encoders[1]] * 2, dataset, None, settings_of(decision, method="contrast", among=len(dataset))
    )
    for row in grid.rows:
        assert all(shown.explained.endswith("(no rival)") and not shown.saliency.any() for shown in row)
