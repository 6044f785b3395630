"""Why the expected image is not the first: its exact rank, what holds it back, and the edit that would bring it up."""

import json
from itertools import combinations

import pytest
import torch
from colors import BLUE, GREEN, PREPROCESS, RED, SIDE, Colors
from tiny_encoder import IMAGE, tiny_encoder
from torchvision.transforms import v2
from torchvision.utils import save_image

from fsl_explain import Encoder
from fsl_explain.explainers.analysis.counterfactual import edited_image
from fsl_explain.report import Page
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run
from retrieval_explain.decisions.expected_rows import expected_rows
from retrieval_explain.decisions.explained_neighbors import retrieve
from retrieval_explain.inspection.expected import why_not_first
from retrieval_explain.inspection.inspected import inspect_neighbors
from retrieval_explain.inspection.page import write_inspection
from retrieval_explain.inspection.rank_change import rank_change
from retrieval_explain.ranking.exact_ranks import ranks_of, rows_ahead


class RedWhereBlack(Colors):
    """Sees red wherever an image is black, so that removing red pixels removes no red."""

    def forward(self, images):
        black = (images == 0).all(dim=1, keepdim=True)
        return self.cells(torch.where(black, torch.tensor(RED)[:, None, None], images))


def striped(*colors):
    """An image of vertical stripes of one cell each."""
    stripes = [torch.tensor(color)[:, None, None].expand(3, SIDE, 4) for color in colors]
    return torch.cat(stripes, dim=2)


QUERY = striped(RED, RED, RED, GREEN)
PICTURES = {
    "a/red.png": striped(RED, RED, RED, RED),
    "a/purple.png": striped(RED, RED, BLUE, BLUE),
    "b/blue.png": striped(BLUE, BLUE, BLUE, BLUE),
    "b/green.png": striped(GREEN, GREEN, GREEN, GREEN),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stripes")
    for name, pixels in PICTURES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        save_image(pixels, folder / name)
    return folder


def bank_of(root, network):
    encoder = Encoder.wrap(network, "cells", preprocess=PREPROCESS)
    embeddings = encoder(torch.stack(list(PICTURES.values()))).embedding
    bank = MemoryBank.from_embeddings(
        embeddings,
        labels=["warm", "warm", "cold", "cold"],
        paths=[root / name for name in PICTURES],
        ids=[10, 11, 12, 13],
    )
    return bank, encoder


@pytest.fixture
def retrieved(root):
    bank, encoder = bank_of(root, Colors())
    return retrieve(encoder, QUERY, bank, k=2)


def test_the_red_cells_hold_green_back_and_nine_of_them_must_go(retrieved):
    """Twelve cells are red and four green: green leads when fewer than four are red."""
    found = why_not_first(retrieved, "green.png")
    assert (found.expected.rank, found.first.rank, found.among) == (3, 1, 4)
    assert found.first.path.endswith("red.png")
    red = torch.tensor([[1.0, 1.0, 1.0, 0.0]] * 4).bool()
    assert torch.equal(found.contrast.cells > 1e-6, red)
    assert torch.equal(found.contrast.cells < -1e-6, ~red)
    assert float(found.contrast.score) == pytest.approx(found.margin, abs=1e-6)
    assert found.contrast.support_images is not None
    change = found.changes[0]
    assert len(change.cells) == 9
    assert not (change.mask & ~red).any()
    assert change.minimal
    assert change.confirmed
    assert change.rank_at_pixels == 1
    assert "Removing 9 cells of 16" in str(found)
    assert "no fewer do" in str(found)
    assert found.last.rank == 2
    assert "less than the last of 2 neighbors" in str(found)
    second = found.changes[1]
    assert (second.goal, second.rank_at_pixels <= 2) == (2, True)
    assert len(second.cells) < 9


def test_no_eight_cells_bring_it_up(retrieved):
    green = 3
    embed = retrieved.encoder
    columns = [
        torch.arange(16)[torch.arange(16) % 4 < 3][list(chosen)] for chosen in list(combinations(range(12), 8))[::60]
    ]
    for cells in columns:
        embedding = embed(edited_image(QUERY, (4, 4), cells)[None]).embedding[0]
        ahead = rows_ahead(embedding, retrieved.bank.rows, "cosine", green)
        assert len(ahead) or float(embedding[0]) == pytest.approx(float(embedding[1]))


def test_an_edit_that_a_forward_pass_contradicts_opens_with_that(root):
    bank, _encoder = bank_of(root, Colors())
    blind = Encoder.wrap(RedWhereBlack(), "cells", preprocess=PREPROCESS)
    found = why_not_first(retrieve(blind, QUERY, bank), "green.png")
    change = found.changes[0]
    assert change.rank_at_features == 1
    assert change.rank_at_pixels == 3
    assert not change.confirmed
    assert str(change).startswith("A forward pass contradicts what follows: for the edited image it stands at rank 3.")
    assert found.sentences[1] == str(change)


def test_what_cannot_be_is_said(retrieved):
    """Blue is in no cell of the query."""
    found = why_not_first(retrieved, 12)
    assert found.expected.rank == 4
    assert not found.changes[0].found
    assert "does not bring it to rank 1, whichever they are" in str(found)


def test_a_class_stands_by_its_best_image_and_its_vote(retrieved):
    found = why_not_first(retrieved, "cold")
    assert found.expected.path.endswith("green.png")
    assert (found.standing.voters, found.standing.neighbors, found.standing.share) == (0, 2, 0.0)
    assert "cold has 0 of 2 neighbors, 0.0% of the vote, and does not win the vote, which goes to warm." in str(found)
    assert why_not_first(retrieved, "warm").is_first


def test_the_first_is_said_to_be_the_first(retrieved):
    found = why_not_first(retrieved, "red.png")
    assert found.is_first
    assert found.contrast is None
    assert found.changes == ()
    assert str(found) == "red.png is at rank 1 of 4: it is the first already."


@pytest.mark.parametrize("reference", ["green.png", "b/green.png", "id:13", "13", 13, "path:b/green.png"])
def test_an_image_is_named_by_its_path_or_id(retrieved, reference):
    assert expected_rows(retrieved.bank, reference).rows.tolist() == [3]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("grene.png", "unknown image or class 'grene.png'; did you mean 'green.png'"),
        ("class:hot", "unknown class 'hot'"),
        ("id:14", "expected the id of an image of the bank, from 10 to 13, but got 14"),
        ("9" * 5000, "unknown image or class"),
        ("", "unknown image or class"),
    ],
)
def test_what_is_not_in_the_bank_is_one_sentence(retrieved, reference, words):
    with pytest.raises(LookupError, match=words):
        why_not_first(retrieved, reference)


def test_what_is_left_open_is_asked_for():
    bank = MemoryBank.from_embeddings(torch.eye(3), labels=[0, 1, 1], paths=["x/1.png", "y/1.png", None])
    with pytest.raises(ValueError, match="'1' is an id and a class of the bank; write id:1 or class:1"):
        expected_rows(bank, "1")
    with pytest.raises(ValueError, match=r"'1\.png' names 2 of the bank"):
        expected_rows(bank, "1.png")
    assert expected_rows(bank, "class:1").rows.tolist() == [1, 2]
    with pytest.raises(TypeError, match="expected a path, an id or a class of the bank, but got bool"):
        expected_rows(bank, True)


def test_filters_hold(root):
    bank, encoder = bank_of(root, Colors())
    among = retrieve(encoder, QUERY, bank, classes=["cold"])
    found = why_not_first(among, "blue.png")
    assert (found.expected.rank, found.among) == (2, 2)
    with pytest.raises(ValueError, match=r"but the filters leave red\.png out; drop them"):
        why_not_first(among, "red.png")


def test_a_changed_file_leaves_the_query_side_alone(root, tmp_path):
    bank, encoder = bank_of(root, Colors())
    found = why_not_first(
        retrieve(encoder, QUERY, bank),
        "green.png",
        read=lambda path: v2.functional.to_pil_image(PICTURES["b/blue.png"]),
    )
    assert found.contrast.support_images is None
    assert float(found.contrast.score) == pytest.approx(found.margin, abs=1e-6)
    assert "an image is not the one of the bank any more" in found.notes[0]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_rank_is_that_of_a_full_search_for_every_similarity(similarity):
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.rand(40, 3, generator=generator)
    embeddings[7] = embeddings[31]  # a tie, which the lower row wins
    bank = MemoryBank.from_embeddings(embeddings, similarity=similarity)
    encoder = Encoder.wrap(Colors(), "cells", preprocess=PREPROCESS)
    query = torch.rand(3, SIDE, SIDE, generator=generator)
    order = bank.search(encoder(query[None]).embedding[0], 40).indices.tolist()
    found = retrieve(encoder, query, bank, k=3)
    for row in (order[0], order[36], 7, 31):
        answer = why_not_first(found, row)
        assert answer.expected.rank == order.index(row) + 1
        for change in answer.changes:
            assert change.rank_before == answer.expected.rank
            assert not change.found or change.rank_at_features <= change.goal


def test_an_index_does_not_make_the_rank_approximate():
    generator = torch.Generator().manual_seed(2)
    bank = MemoryBank.from_embeddings(torch.rand(64, 3, generator=generator))
    encoder = Encoder.wrap(Colors(), "cells", preprocess=PREPROCESS)
    query = torch.rand(3, SIDE, SIDE, generator=generator)
    order = bank.search(encoder(query[None]).embedding[0], 64).indices.tolist()
    found = why_not_first(retrieve(encoder, query, bank.indexed("hnsw", k=5), k=5), order[36])
    assert found.expected.rank == 37
    assert "all 64 images were compared, without the index" in str(found)


def test_the_page_answers_first_and_the_answer_is_plain_values(retrieved, tmp_path):
    found = why_not_first(retrieved, "green.png")
    page = tmp_path / "page.html"
    inspection = inspect_neighbors(retrieved)
    write_inspection(inspection, Page(title="Why?"), v2.functional.to_pil_image(QUERY), page, expected=found)
    text = page.read_text()
    assert "Why is green.png only at rank 3?" in text
    assert text.index('id="expected"') < text.index("What came back")
    assert "A forward pass of the edited image confirms it" in text
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["expected"]["rank"] == 3
    assert plain["changes"][0]["rank_at_pixels"] == 1


def test_the_command_answers_and_writes(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    for name in ("red", "blue"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            save_image(torch.rand(3, 84, 84, generator=generator), tmp_path / "images" / name / f"{number}.png")
    network = ("--bank", str(tmp_path / "bank"), "--encoder", "conv4net")
    assert run(["build", str(tmp_path / "images"), *network]) == 0
    query = str(tmp_path / "images" / "red" / "0.png")
    asked = ("inspect", query, *network, "--out", str(tmp_path / "page.html"), "--explained", "1", "--leave-self-out")
    capsys.readouterr()
    assert run([*asked, "--expected", "blue", "--json", str(tmp_path / "why.json")]) == 0
    assert "The best of 2 images of blue" in capsys.readouterr().out
    assert json.loads((tmp_path / "why.json").read_text())["class"]["name"] == "blue"
    assert run([*asked, "--expected", "green"]) == 2
    assert "unknown image or class 'green'" in capsys.readouterr().err
    assert run([*asked, "--json", str(tmp_path / "why.json")]) == 2
    assert "add --expected" in capsys.readouterr().err


def test_a_goal_that_was_reached_on_the_way_is_not_said_to_be_out_of_reach():
    """Of a goal beyond the first some rivals may stay, and others may go: the best rank on the way says whether."""
    encoder, reached = tiny_encoder(), 0
    images = torch.rand(60, 3, *IMAGE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    bank = MemoryBank.from_embeddings(encoder(images[1:]).embedding)
    found = retrieve(encoder, images[0], bank, k=5)
    for row in range(0, 59, 3):
        ahead = rows_ahead(found.features.embedding, bank.rows, bank.similarity, row, None)
        for goal in [goal for goal in (3, 8, 15) if goal <= len(ahead)]:
            change = rank_change(found, row, ahead, goal)
            assert change.found == (change.rank_at_features <= goal)
            reached += change.found
    assert reached > 5


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_ranks_of_several_rows_are_those_of_each_alone_ties_included(similarity):
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(30, 6, generator=generator)
    rows[10:15] = rows[3]  # equal rows stand in the order of the bank
    bank, query = MemoryBank.from_embeddings(rows, similarity=similarity), torch.randn(6, generator=generator).double()
    allowed = torch.arange(30) != 7
    for left in (None, allowed):
        wanted = [3, 12, 14, 0, 29]
        alone = [len(rows_ahead(query, bank.rows, similarity, row, left)) + 1 for row in wanted]
        assert ranks_of(query, bank.rows, similarity, wanted, left) == alone
    order = bank.search(query[None], 30).indices[0].tolist()
    assert ranks_of(query, bank.rows, similarity, range(30)) == [order.index(row) + 1 for row in range(30)]
