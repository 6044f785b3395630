"""Banks of images seen at several scales: what they keep, and that their neighbors are those of every row compared."""

import pytest
import torch
from tiny_encoder import tiny_encoder

from episodes import direct_resize
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain import MemoryBank
from retrieval_explain.decisions.explained_neighbors import retrieve

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
QUERIES = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def by_hand(queries, rows, similarity):
    parts = zip(queries.double().chunk(2, dim=-1), rows.double().chunk(2, dim=-1), strict=True)
    return sum(a * SIMILARITIES[similarity].pairwise(*part) for a, part in zip((0.25, 0.75), parts, strict=True))


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("index", [None, "flat", "hnsw"])
def test_neighbors_are_those_of_every_row_compared(similarity, index):
    bank = MemoryBank.from_embeddings(ROWS, similarity=f"{similarity}@5:0.25,7:0.75")
    searched = bank if index is None else bank.indexed(index, k=4)
    found = searched.search(QUERIES, k=4)
    expected = by_hand(QUERIES, ROWS, similarity).topk(4)
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.similarities, expected.values)


def test_a_row_that_is_zero_at_one_scale_has_no_cosine():
    rows = ROWS.clone()
    rows[3, 3:] = 0
    with pytest.raises(
        ValueError, match=r"1 of 40 embeddings are zero or not finite, first row 3; they have no cosine@"
    ):
        MemoryBank.from_embeddings(rows, similarity="cosine@5,7")
    assert len(MemoryBank.from_embeddings(rows, similarity="euclidean@5,7")) == 40


def test_a_bank_keeps_its_scales_and_refuses_another_encoder(tmp_path, small_images):
    plain = tiny_encoder(dtype=torch.float32, preprocess=direct_resize(8, (0.5,) * 3, (0.5,) * 3))
    encoder = plain.at_scales((8, 12))
    MemoryBank.build(encoder, small_images, directory=tmp_path / "bank")
    again = MemoryBank.load(tmp_path / "bank")
    assert again.similarity == "cosine@8,12"
    assert again.rows.shape[1] == 8
    again.expect_encoder(encoder)
    for other in (plain, plain.at_scales((8, 16)), plain.at_scales((8, 12), (1.0, 2.0))):
        with pytest.raises(ValueError, match=r"the bank was built with encoder '.*at scales 8 and 12 #"):
            again.expect_encoder(other)
    in_memory = MemoryBank.build(encoder, small_images)
    torch.testing.assert_close(in_memory.rows.read(0, 2), again.rows.read(0, 2))
    image = encoder.preprocess([small_images[0].image])[0]
    found = retrieve(encoder, image, again, k=3)
    assert found.neighbors.indices[0] == 0
    assert found.neighbors.similarities[0] == pytest.approx(1)


@pytest.fixture
def small_images(tmp_path):
    from PIL import Image

    from episodes import ImageFolder

    for number in range(4):
        folder = tmp_path / "images" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(number)
        pixels = torch.randint(0, 255, (20, 24, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return ImageFolder(tmp_path / "images")
