"""What is resumed is told apart by what it was made of: pixels, boxes and masks, and the code of the network."""

import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import episodes
from fsl_explain import Encoder
from fsl_explain.engine import Part
from fsl_explain.engines.shards import Shards
from fsl_explain.evaluation import evaluate_episodes
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.run_identity import contents_hash, run_hash
from retrieval_explain.evaluation.retrieval_evaluation import evaluate_bank

SIDE = 32


def few(encoder, data, partial):
    sampler = episodes.EpisodeSampler(data.labels, n_way=3, n_shot=1, n_query=1, seed=0)
    return evaluate_episodes(encoder, data, sampler=sampler, episodes=1, methods=["fam"], partial=partial)


ROADS = {
    "episodes": few,
    "comparison": lambda e, d, p: compare_maps(e, d, methods=["fam"], shots=1, sample=2, steps=1, partial=p),
    "label-free": lambda e, d, p: compare_label_free(e, d, methods=["lafam"], sample=2, partial=p),
    "bank": lambda e, d, p: evaluate_bank(e, d, methods=["fam"], k=1, partial=p),
}


@pytest.fixture
def encoder():
    return Encoder.named("conv4net", channels=4, size=SIDE)


def photographs(root, seed):
    rng, lines = np.random.default_rng(seed), ["file,class,xmin,ymin,xmax,ymax"]
    (root / "images").mkdir(parents=True)
    for name in "abc":
        for number in range(3):
            file = f"{name}{number}.png"
            PIL.Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(root / "images" / file)
            lines.append(f"{file},{name},2,2,20,20")
    (root / "annotations.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def opened(root):
    return episodes.CsvBoxes(root, table="annotations.csv", images="images")


def other_photographs(root, place):
    return photographs(place, seed=1)


def other_boxes(root, place):
    shutil.copytree(root, place)
    table = place / "annotations.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("2,2,20,20", "2,2,20,21"), encoding="utf-8")
    return place


@pytest.mark.parametrize("change", [other_photographs, other_boxes])
@pytest.mark.parametrize("road", ROADS)
def test_another_root_of_the_same_names_is_measured_again(road, change, encoder, tmp_path, capsys):
    root = photographs(tmp_path / "one", seed=0)
    ROADS[road](encoder, opened(root), tmp_path / "parts")
    ROADS[road](encoder, opened(change(root, tmp_path / "two")), tmp_path / "parts")
    said = capsys.readouterr().err
    assert "of other images" in said
    assert "is measured again" in said


@pytest.mark.parametrize("road", ROADS)
def test_a_copy_elsewhere_is_the_same(road, encoder, tmp_path, capsys):
    root = photographs(tmp_path / "one", seed=0)
    ROADS[road](encoder, opened(root), tmp_path / "parts")
    shutil.copytree(root, tmp_path / "two")
    ROADS[road](encoder, opened(tmp_path / "two"), tmp_path / "parts")
    assert not capsys.readouterr().err


def test_masks_count(tmp_path):
    scenes = episodes.DigitScenes(part="novel", per_class=1)

    class Edited(episodes.DigitScenes):
        def __getitem__(self, position):
            found = super().__getitem__(position)
            found.mask[0, 0] = ~found.mask[0, 0]
            return found

    assert contents_hash(scenes, [0]) == contents_hash(scenes, [0])
    assert contents_hash(scenes, [0]) != contents_hash(Edited(part="novel", per_class=1), [0])


def test_the_code_of_a_network_counts():
    def made(slope):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.convolution = nn.Conv2d(3, 4, 3)

            def forward(self, images):
                return self.convolution(images) * slope

        torch.manual_seed(0)
        return Encoder(Net())

    data = episodes.DigitScenes(part="novel", per_class=1)
    one, same, other = (run_hash(made(slope), data, {}, contents="") for slope in (1, 1, 2))
    assert one == same != other


def test_a_run_says_what_differs(tmp_path):
    said = []
    part = Part("one", {})
    Shards(tmp_path, "images=1 encoder=2", said.append).save(part, {"z": torch.ones(1)})
    assert Shards(tmp_path, "images=1 encoder=3", said.append).load(part) is None
    assert said == ["The finished part one.safetensors is of another run, of other encoder; it is measured again."]
