import numpy as np
import pytest
import torch
from live_npid import NCEAverage, save_npid
from torch import nn

from retrieval_explain.bank_imports import import_embeddings


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
