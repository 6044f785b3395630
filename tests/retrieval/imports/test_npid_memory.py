import zipfile

import numpy as np
import pytest
import torch
from live_npid import NCEAverage, save_npid
from torch import nn

from retrieval_explain.imports import embedding_sources
from retrieval_explain.imports.importing import import_embeddings


@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
def test_the_memory_of_a_live_object_becomes_a_bank_and_nothing_is_run(tmp_path, monkeypatch, zipped):
    memory = nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
    save_npid(tmp_path / "lemniscate.pth.tar", memory, {"module.fc.weight": torch.ones(4, 3)}, zipped)
    monkeypatch.setattr(NCEAverage, "marker", str(tmp_path / "was-here"))
    bank = import_embeddings(tmp_path / "lemniscate.pth.tar")
    np.testing.assert_array_equal(bank.rows.read(0, len(bank)).numpy(), memory.numpy())
    assert not (tmp_path / "was-here").exists()
    named = import_embeddings(tmp_path / "lemniscate.pth.tar", key="lemniscate.memory")
    np.testing.assert_array_equal(named.rows.read(0, len(named)).numpy(), memory.numpy())
    with pytest.raises(LookupError, match=r"did you mean 'lemniscate.memory'"):
        import_embeddings(tmp_path / "lemniscate.pth.tar", key="lemniscate.memry")


def test_a_mapping_inside_itself_is_read_once(tmp_path):
    content = {"queue": torch.eye(3)}
    content["again"] = content
    torch.save(content, tmp_path / "self.pth")
    assert len(import_embeddings(tmp_path / "self.pth")) == 3


def doubled(levels):
    """A mapping that holds the one below twice, and so names its matrix 2**levels times."""
    content = {"x": torch.eye(3)}
    for _ in range(levels):
        content = {"a": content, "b": content}
    return content


def test_mappings_that_are_shared_are_walked_once(tmp_path):
    torch.save(doubled(40), tmp_path / "shared.pth")
    assert len(import_embeddings(tmp_path / "shared.pth")) == 3
    assert len(import_embeddings(tmp_path / "shared.pth", key=".".join("a" * 40 + "x"))) == 3
    with pytest.raises(LookupError, match=r"unknown tensor of shared.pth"):
        import_embeddings(tmp_path / "shared.pth", key=".".join("b" * 40 + "x"))


def test_a_tensor_of_two_names_has_both(tmp_path):
    bank = torch.eye(3)
    torch.save({"first": bank, "second": bank}, tmp_path / "tied.pth")
    with pytest.raises(ValueError, match=r"it holds 2; name one of them"):
        import_embeddings(tmp_path / "tied.pth")
    assert len(import_embeddings(tmp_path / "tied.pth", key="second")) == 3


def deep_pickle(levels):
    """Nested dictionaries, as torch.save cannot write them."""
    return b"\x80\x02" + levels * b"}X\x01\x00\x00\x00a" + b"N" + levels * b"s" + b"."


def test_mappings_that_are_nested_without_end_are_refused(tmp_path):
    path = tmp_path / "deep.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", deep_pickle(20_000))
    with pytest.raises(ValueError, match=r"deep.pth, but its content is nested too deeply or holds more than"):
        import_embeddings(path)
    torch.save({"x" * 2000: {"queue": torch.eye(3)}}, path)
    with pytest.raises(ValueError, match=r"deep.pth, but its content is nested too deeply or holds more than"):
        import_embeddings(path)


def test_a_mapping_inside_very_many_objects_is_not_copied_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_sources, "MOST", 100)
    torch.save({f"{number}": {} for number in range(102)}, tmp_path / "many.pth")
    with pytest.raises(ValueError, match=r"holds more than 100 entries; save the matrix by itself"):
        import_embeddings(tmp_path / "many.pth")
