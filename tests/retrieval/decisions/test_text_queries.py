"""A text as the query of a bank: the model's own order, and each image's cells add up to its similarity."""

import pytest
import torch
from tiny_clip import MODELS, own_cosines, tiny_clip, write_pictures

from episodes import read_image
from fsl_explain import Mistake
from retrieval_explain import MemoryBank, explain, explain_text, inspect_text, retrieve_text

TEXT = "a red bird"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("colors"))


@pytest.fixture(scope="module")
def asked(folder):
    model, encoder = tiny_clip("open_clip")
    return model, encoder, MemoryBank.build(encoder, folder)


def pixels(encoder, bank):
    return encoder.preprocess(list(bank.paths))


@pytest.mark.parametrize("kind", MODELS)
def test_a_bank_is_searched_by_text_as_the_model_itself_would(folder, kind):
    model, encoder = tiny_clip(kind)
    bank = MemoryBank.build(encoder, folder)
    found = retrieve_text(encoder, TEXT, bank).neighbors
    theirs = own_cosines(kind, model, encoder.text, pixels(encoder, bank), [TEXT])[:, 0]
    assert found.indices.tolist() == theirs.argsort(descending=True).tolist()
    torch.testing.assert_close(found.similarities.float(), theirs.sort(descending=True).values, atol=1e-6, rtol=0)
    assert bank.search(encoder.embed_text([TEXT])).indices[0].tolist() == found.indices.tolist()


PROMPTS = ("a photo of a red bird", "bird on grass", "a cat")


@pytest.mark.parametrize("kind", MODELS)
def test_several_prompts_are_the_mean_of_their_embeddings_of_norm_one(folder, kind):
    _, encoder = tiny_clip(kind)
    bank = MemoryBank.build(encoder, folder)
    found = retrieve_text(encoder, PROMPTS, bank)
    alone = [encoder.embed_text([prompt])[0].double() for prompt in PROMPTS]
    mean = sum(one / one.norm() for one in alone) / len(alone)
    torch.testing.assert_close(found.embedding, mean / mean.norm(), rtol=1e-6, atol=1e-6)
    assert found.text == "a photo of a red bird | bird on grass | a cat"
    why = explain(encoder, text=PROMPTS, bank=bank)
    assert float(why.score) == pytest.approx(float(found.neighbors.similarities[0]), abs=1e-5)
    assert float(why.cells.sum() + why.bias) == pytest.approx(float(why.score), abs=1e-5)


def test_prompts_that_come_twice_or_not_at_all_are_refused(asked):
    _, encoder, bank = asked
    with pytest.raises(Mistake, match=r"several that differ, but got 'a cat' 2 times; name each once"):
        retrieve_text(encoder, ["a cat", TEXT, "a cat"], bank)
    with pytest.raises(Mistake, match="expected a prompt, or several that differ, but got none"):
        retrieve_text(encoder, [], bank)
    with pytest.raises(Mistake, match="expected other texts than 'a cat' to compare it with"):
        explain_text(encoder, [TEXT, "a cat"], bank, method="contrast", against="a cat")


def test_filters_leave_images_out(asked):
    _, encoder, bank = asked
    found = retrieve_text(encoder, TEXT, bank, k=2, classes=["second"])
    assert set(bank.labels[found.neighbors.indices].tolist()) == {bank.classes.index("second")}
    assert int(found.allowed.sum()) == 3


@pytest.mark.parametrize("kind", MODELS)
def test_every_image_adds_up_to_its_similarity(folder, kind):
    _, encoder = tiny_clip(kind)
    bank = MemoryBank.build(encoder, folder)
    found = retrieve_text(encoder, TEXT, bank)
    for rank, similarity in enumerate(found.neighbors.similarities.tolist()):
        why = explain(encoder, text=TEXT, bank=bank, target=rank)
        assert float(why.score) == pytest.approx(similarity, abs=1e-5)
        assert float(why.cells.sum() + why.bias) == pytest.approx(similarity, abs=1e-5)
        assert float(why.residual) <= 1e-5 * float(why.absolute_sum)
        assert why.decision.classes == (TEXT,)


def test_an_image_is_named_by_rank_path_or_id(asked):
    _, encoder, bank = asked
    found = retrieve_text(encoder, TEXT, bank).neighbors
    row = int(found.indices[2])
    by_rank = explain_text(encoder, TEXT, bank, target=2)
    for target in (bank.paths[row], f"id:{int(bank.ids[row])}"):
        assert torch.equal(explain_text(encoder, TEXT, bank, target=target).cells, by_rank.cells)
    first = explain_text(encoder, TEXT, bank)
    assert float(first.score) == pytest.approx(float(found.similarities[0]), abs=1e-5)


def test_other_texts_are_contrasted_for_one_image(asked):
    model, encoder, bank = asked
    why = explain(encoder, text=TEXT, bank=bank, target=1, method="contrast", against=["grass", "a dog"])
    row = int(retrieve_text(encoder, TEXT, bank).neighbors.indices[1])
    image = pixels(encoder, bank)[row : row + 1]
    first, *others = own_cosines("open_clip", model, encoder.text, image, [TEXT, "grass", "a dog"])[0].tolist()
    assert float(why.score) == pytest.approx(first - sum(others) / 2, abs=1e-5)
    assert float(why.residual) <= 1e-5 * float(why.absolute_sum)


def test_an_inspection_explains_the_first_images(asked):
    _, encoder, bank = asked
    found = inspect_text(retrieve_text(encoder, TEXT, bank, k=5), explained=3, gallery=4)
    assert [one.rank for one in found.gallery] == [1, 2, 3, 4]
    assert [pair.shown.rank for pair in found.matches] == [1, 2, 3]
    for pair in found.matches:
        assert pair.agrees
        alone = explain_text(encoder, TEXT, bank, target=pair.shown.rank - 1)
        torch.testing.assert_close(pair.explanation.cells, alone.cells, atol=1e-5, rtol=1e-5)


def test_an_image_that_changed_says_so(asked):
    _, encoder, bank = asked
    last = bank.paths[int(retrieve_text(encoder, TEXT, bank).neighbors.indices[-1])]
    changed = inspect_text(retrieve_text(encoder, TEXT, bank, k=2), read=lambda _: read_image(last))
    assert not any(pair.agrees for pair in changed.matches)


def test_images_that_cannot_be_read_are_shown_without_maps(asked):
    _, encoder, bank = asked

    def unreadable(path):
        raise OSError(f"{path} is gone")

    found = inspect_text(retrieve_text(encoder, TEXT, bank, k=2), read=unreadable)
    assert found.matches == ()
    assert "is gone" in found.gallery[0].fault


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({}, Mistake, "expected a query image or a text, but got none of them"),
        ({"text": TEXT, "query": torch.zeros(3, 32, 32)}, Mistake, "expected a query image or a text, but got both"),
        ({"text": TEXT, "rule": "majority-vote"}, Mistake, "expected no rule, k or temperature beside a text"),
        ({"text": TEXT, "k": 3}, Mistake, "expected no rule, k or temperature beside a text"),
        ({"text": TEXT, "method": "contrast", "against": TEXT}, Mistake, "expected other texts than 'a red bird'"),
        ({"text": TEXT, "target": 6}, Mistake, "expected a rank from 0 to 5, but got 6"),
        ({"text": TEXT, "target": "first"}, Mistake, "expected one image, but first is a class of the bank"),
        ({"text": " "}, Mistake, "expected prompts that say something"),
    ],
    ids=str,
)
def test_what_cannot_be_explained_is_refused(asked, options, error, sentence):
    _, encoder, bank = asked
    with pytest.raises(error, match=sentence):
        explain(encoder, bank=bank, **options)


def test_an_image_without_a_file_is_not_explained(asked):
    _, encoder, bank = asked
    rows = encoder(pixels(encoder, bank)).embedding
    with pytest.raises(FileNotFoundError, match="expected a file to explain, but the bank has no path for its row"):
        explain_text(encoder, TEXT, MemoryBank.from_embeddings(rows))
