"""An explanation leaves the network behind when it is saved, pickled or copied, and says the same afterwards."""

import copy
import pickle
import pickletools
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from decision_parts import BY_NAMED, OPTIONS
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_encoder import HEADS, OF_MAPS, images, random_head, tiny_encoder

from fsl_explain import Explanation, correspondence, explain, load_explanation, support_audit
from fsl_explain.classifiers import RULES, KnnVote, LogisticRegression
from fsl_explain.evaluation.chosen_methods import named_methods
from fsl_explain.evaluation.figures import find_figures
from fsl_explain.explainers import evidence
from fsl_explain.pictures.linked_regions import draw
from fsl_explain.pictures.shown_figure import as_png
from fsl_explain.registries import TRANSDUCTIVE_RULES
from fsl_explain.report import Case, Page, render_page
from fsl_explain.similarities import SIMILARITIES, Mahalanobis, cosine

PUBLIC = (
    *("score", "contributions", "cells", "bias", "saliency", "support_cells", "support_bias", "similarities"),
    *(
        "support_weights",
        "support_shares",
        "support_biases",
        "image",
        "support_images",
        "residual",
        "absolute_sum",
        "target",
        "against",
    ),
)
SUPPORTS = {"crow": images(2, seed=2), "jay": images(1, seed=3), "wren": images(2, seed=4)}


def made(method="exact", head="linear", query=None, supports=None, **options):
    given = images(seed=1) if query is None else query
    return explain(tiny_encoder(random_head(head)), given, supports or SUPPORTS, method=method, **options)


def assert_same(found, expected):
    for name in PUBLIC:
        one, other = getattr(found, name), getattr(expected, name)
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype, name
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        else:
            assert one == other, name
    assert (found.method, found.signed, found.addends, found.ranks) == (
        *(expected.method, expected.signed, expected.addends, expected.ranks),
    )
    assert found.decision.classes == expected.decision.classes
    assert torch.equal(found.decision.scores, expected.decision.scores)


def assert_answers_the_same(found, expected):
    assert found.receipt() == expected.receipt()
    assert str(found.receipt()) == str(expected.receipt())
    assert str(support_audit(found)) == str(support_audit(expected))
    for label, name in enumerate(expected.decision.classes):
        for shot in range(int((~expected.similarities[label].isnan()).sum())):
            one, other = (correspondence(each, label=name, shot=shot) for each in (found, expected))
            assert torch.equal(one.table, other.table)
            assert (one.shape, one.support_shape, one.weight) == (other.shape, other.support_shape, other.weight)


@pytest.fixture
def again(tmp_path):
    def again(explanation):
        explanation.save(tmp_path / "one.safetensors")
        return load_explanation(tmp_path / "one.safetensors")

    return again


@pytest.mark.parametrize("method", OF_MAPS)
def test_every_method_comes_back_without_its_network(method, again):
    explanation = made(method, **OPTIONS.get(method, {}))
    found = again(explanation)
    assert_same(found, explanation)
    assert_answers_the_same(found, explanation)
    assert found.question is None
    assert explanation.question is not None


@pytest.mark.parametrize("way", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_pickle_and_a_copy_say_the_same(way):
    explanation = made("contrast", rule=KnnVote(k=3), similarity="euclidean")
    found = way(explanation)
    assert_same(found, explanation)
    assert_answers_the_same(found, explanation)
    assert as_png(found.plot()) == as_png(explanation.plot())
    assert found.question is None


@pytest.mark.parametrize(
    "rule", [*BY_NAMED, KnnVote(k=3, temperature=0.5), LogisticRegression(inverse_penalty=0.5)], ids=str
)
def test_every_rule_comes_back(rule, again):
    together = {"unlabeled": images(4, seed=3)} if rule in TRANSDUCTIVE_RULES else {}
    explanation = made("contrast", rule=rule, **together)
    found = again(explanation)
    assert_answers_the_same(found, explanation)
    assert found.evidence.rule == (explanation.evidence.rule if isinstance(rule, str) else rule)


@pytest.mark.parametrize("similarity", [*SIMILARITIES, "mahalanobis", Mahalanobis(2 * torch.eye(3).double())], ids=str)
def test_every_similarity_comes_back(similarity, again):
    explanation = made("contrast", similarity=similarity)
    assert_answers_the_same(again(explanation), explanation)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_comes_back_as_what_it_makes_of_the_cells(head, again):
    explanation = made("contrast", head)
    assert_answers_the_same(again(explanation), explanation)


def test_a_batch_comes_back_and_can_be_indexed(again):
    explanation = made("contrast", query=images(2, seed=1))
    found = again(explanation)
    assert_same(found, explanation)
    assert_same(found[1], explanation[1])
    assert str(found[1].receipt()) == str(explanation[1].receipt())
    assert str(support_audit(found[1])) == str(support_audit(explanation[1]))
    torch.testing.assert_close(correspondence(found[1]).table, correspondence(explanation[1]).table)


def test_constants_keep_their_names_and_their_order(again):
    explanation = made("log-probability", rule="knn-vote", scale=3.0)
    assert len(explanation.constants) == 2
    found = again(explanation)
    assert list(found.constants) == list(explanation.constants)
    assert str(found.receipt()) == str(explanation.receipt())


def test_the_page_of_a_loaded_explanation_is_the_same(again):
    explanations = {method: made(method) for method in ("contrast", "exact", "fam", "lafam")}
    pages = [
        render_page(Page("page", cases=[Case("case", each)]))
        for each in (explanations, {name: again(one) for name, one in explanations.items()})
    ]
    assert pages[0] == pages[1]
    assert as_png(draw(again(explanations["contrast"]))) == as_png(draw(explanations["contrast"]))


READER = """
import sys
from fsl_explain import Explanation, support_audit
loaded = Explanation.load(sys.argv[1])
print(loaded.receipt(), support_audit(loaded), loaded.saliency.sum().item(), sep="\\n", end="")
"""


def test_another_process_reads_it(tmp_path):
    explanation = made("contrast")
    explanation.save(tmp_path / "one.safetensors")
    command = [sys.executable, "-c", READER, tmp_path / "one.safetensors"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = (explanation.receipt(), support_audit(explanation), explanation.saliency.sum().item())
    assert told == "\n".join(map(str, parts))


def test_neither_file_nor_pickle_holds_the_network(tmp_path):
    explanation = made()
    explanation.save(tmp_path / "one.safetensors")
    weight = explanation.question.pixels.encoder.network.conv.weight.detach().numpy().tobytes()
    for content in ((tmp_path / "one.safetensors").read_bytes(), pickle.dumps(explanation)):
        assert weight not in content
    names = {str(argument) for _, argument, _ in pickletools.genops(pickle.dumps(explanation)) if argument}
    assert not [name for name in names if "nn.modules" in name]


class OwnSimilarity:
    """The cosine in another object, which has no name."""

    pairwise, contributions = staticmethod(cosine.pairwise), staticmethod(cosine.contributions)
    form, prototype_weights = staticmethod(cosine.form), staticmethod(cosine.prototype_weights)


class OwnRule:
    """The mean similarity likewise."""

    def __init__(self):
        rule = RULES["mean-similarity"]
        self.class_scores, self.decision_scores = rule.class_scores, rule.decision_scores
        self.weights, self.voters = rule.weights, rule.voters


def test_what_has_no_name_says_so_when_it_is_asked_for(again):
    found = again(made(similarity=OwnSimilarity()))
    assert_same(found, made())
    assert str(found.receipt()) == str(made().receipt())
    for ask in (support_audit, correspondence):
        with pytest.raises(ValueError, match=r"^the decision's own similarity OwnSimilarity has no name and was n"):
            ask(found)
        with pytest.raises(ValueError, match=r"^the decision's own similarity OwnSimilarity has no name and was n"):
            ask(again(found))
    found = again(made(rule=OwnRule()))
    assert torch.equal(correspondence(found).table, correspondence(made()).table)
    with pytest.raises(ValueError, match=r"^the decision's own rule OwnRule has no name and was not saved; ask bef"):
        support_audit(found)


def test_supports_without_maps_have_no_correspondence_afterwards_either(again):
    explanation = made()
    question = explanation.question
    blind = replace(question, supports=replace(question.supports, features=None))
    found = again(replace(explanation, evidence=replace(explanation.evidence, asked=blind)))
    assert str(support_audit(found)) == str(support_audit(explanation))
    with pytest.raises(ValueError, match=r"^a correspondence needs the supports' activation maps, but only embeddings"):
        correspondence(found)


def test_only_one_kind_of_file_is_written_and_nothing_else_is_left(tmp_path):
    with pytest.raises(ValueError, match=r"^expected a file name that ends in \.safetensors, but got one\.pt; add it"):
        made().save(tmp_path / "one.pt")
    made().save(tmp_path / "one.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def test_a_file_that_is_no_explanation_is_one_sentence(tmp_path):
    path = tmp_path / "one.safetensors"
    with pytest.raises(FileNotFoundError, match=r"^the explanation .*one\.safetensors does not exist; check the path"):
        Explanation.load(path)
    made().save(path)
    content, tensors = path.read_bytes(), load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"one\.safetensors is damaged, or no safetensors file \(.*\); save the"):
        Explanation.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"one\.safetensors is damaged, or no safetensors file"):
        Explanation.load(path)
    path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    with pytest.raises(ValueError, match=r"one\.safetensors is damaged: its content is not what was written; save it"):
        Explanation.load(path)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"^expected an explanation that save\(\) wrote, but .* holds something else"):
        Explanation.load(path)
    save_file(tensors, path, metadata | {"format": "2"})
    with pytest.raises(ValueError, match=r"has format 2, but this version reads up to 1; install the version that wr"):
        Explanation.load(path)
    save_file({name: value for name, value in tensors.items() if name != "score"}, path, metadata)
    with pytest.raises(ValueError, match=r"one\.safetensors is damaged: its content is not what was written; save it"):
        Explanation.load(path)


def test_numbers_come_as_arrays():
    explanation = made("contrast")
    found = explanation.to_numpy()
    assert set(PUBLIC) <= set(found)
    for name in PUBLIC:
        torch.testing.assert_close(
            torch.from_numpy(found[name]), torch.as_tensor(getattr(explanation, name)), rtol=0, atol=0, equal_nan=True
        )
    assert "against" not in made().to_numpy()


def test_a_similarity_that_is_not_registered_here_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(SIMILARITIES, "mine", Mahalanobis(torch.eye(3).double()))
        patch.setattr(evidence, "Mahalanobis", type(None))  # so that it goes by its name, as any other object
        made("contrast", similarity=SIMILARITIES["mine"]).save(tmp_path / "one.safetensors")
    with pytest.raises(LookupError, match="unknown similarity 'mine'"):
        load_explanation(tmp_path / "one.safetensors")


@pytest.mark.parametrize("wrong", ["figures", "methods"])
def test_a_text_is_no_list(wrong):
    ask = find_figures if wrong == "figures" else named_methods
    with pytest.raises(TypeError, match=rf"expected a list of {wrong}, but got 'auc'; write \['auc'\]"):
        ask("auc", (), "it") if wrong == "figures" else ask("auc")
