"""A stored bank searched in an evaluation gives what embedding its images again gives."""

import pytest
import torch

from episodes import DigitScenes, select
from fsl_explain import Encoder
from retrieval_explain import MemoryBank
from retrieval_explain.cli.evaluate import bank_of
from retrieval_explain.evaluation.bank_gallery import BankGallery
from retrieval_explain.evaluation.evaluation_tables import summarize_bank
from retrieval_explain.settings import BankData, BankEvaluationConfig


def settings_of(**decision):
    return BankEvaluationConfig.model_validate(
        {
            "data": {"kind": "digit-scenes", "per_class": 4},
            "decision": {"rules": ["knn-vote"], "k": 7, **decision},
            "explanation": {"methods": ["exact"]},
        }
    )


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=4, size=32)


@pytest.fixture(scope="module")
def searched(dataset):
    return select(dataset, dataset.classes[:3])


def test_equals_a_gallery_of_the_same_images(encoder, dataset, searched, tmp_path):
    MemoryBank.build(encoder, searched, directory=tmp_path / "bank")
    gallery = BankGallery(MemoryBank.load(tmp_path / "bank"), "bank")
    assert (len(gallery), gallery.classes) == (len(searched), tuple(searched.classes))
    embedded = summarize_bank(bank_of(settings_of(), encoder, dataset, searched))
    stored = summarize_bank(bank_of(settings_of(), encoder, dataset, gallery))
    assert stored["retrieval"] == embedded["retrieval"]
    assert stored["rules"]["knn-vote"]["accuracy"] == embedded["rules"]["knn-vote"]["accuracy"]
    exact = [one["rules"]["knn-vote"]["methods"]["exact"]["average_drop"]["mean"] for one in (stored, embedded)]
    assert exact[0] == pytest.approx(exact[1], rel=1e-4)


def test_refuses_a_bank_without_class_names_and_one_of_another_encoder_or_similarity(encoder, dataset, searched):
    with pytest.raises(ValueError, match=r"class names, but x has numbers instead of class names; import it again"):
        BankGallery(MemoryBank.from_embeddings(torch.eye(3), labels=[0, 1, 2]), "x")
    with pytest.raises(ValueError, match=r"class names, but x has 1 images without a class"):
        BankGallery(MemoryBank.from_embeddings(torch.eye(3), labels=["a", "b", None]), "x")
    gallery = BankGallery(MemoryBank.build(encoder, searched), "x")
    with pytest.raises(ValueError, match=r"the bank x is of cosine similarity, but decision.similarity is 'euclidean'"):
        bank_of(settings_of(similarity="euclidean"), encoder, dataset, gallery)
    other = Encoder.named("conv4net", channels=6, size=32, seed=5)
    with pytest.raises(ValueError, match=r"the bank was built with encoder"):
        bank_of(settings_of(), other, dataset, gallery)
    with pytest.raises(ValueError, match=r"row 0 of the bank x has no path; build the bank from images"):
        gallery[0]


def test_a_configuration_names_the_folder_of_a_bank():
    settings = settings_of().model_dump() | {"gallery": {"kind": "bank", "directory": "banks/npid"}}
    assert isinstance(BankEvaluationConfig.model_validate(settings).gallery, BankData)
