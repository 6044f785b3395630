"""Archives of PyTorch whose tensors stay in the file, and archives that are not what PyTorch writes."""

import zipfile

import pytest
import torch
from test_checkpoint_pickles import tensors

from fsl_explain.backbones.weights.checkpoint import read_content

KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tensors_that_stay_in_the_file_are_those_that_are_read(tmp_path, kind):
    torch.save(tensors(kind) | {"none": torch.empty(0, dtype=kind)}, tmp_path / "views.pth")
    mapped, read = (read_content(tmp_path / "views.pth", mapped) for mapped in (True, False))
    assert list(mapped) == list(read)
    for key, value in read.items():
        assert torch.equal(mapped[key], value), key
        assert mapped[key].dtype == kind


def test_to_write_into_a_tensor_that_stays_in_the_file_leaves_the_file(tmp_path):
    torch.save({"weight": torch.ones(3)}, tmp_path / "one.pth")
    before = (tmp_path / "one.pth").read_bytes()
    read_content(tmp_path / "one.pth", mapped=True)["weight"].zero_()
    assert (tmp_path / "one.pth").read_bytes() == before


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Write an archive again, its entries changed by name."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in entries.items():
            kind = name.split("/", 1)[1]
            archive.writestr(name, change.get(kind, value))
    return path


CHANGES = {
    "a storage that ends early": ({"data/0": b"\0" * 11}, zipfile.ZIP_STORED, "the storage 0 ends early"),
    "another byte order": ({"byteorder": b"big"}, zipfile.ZIP_STORED, "it was written on a machine of another byte o"),
    "compressed zeros": ({}, zipfile.ZIP_DEFLATED, "it is no checkpoint of PyTorch"),
}


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("change", list(CHANGES))
def test_archives_that_pytorch_does_not_write_are_refused(tmp_path, change, mapped):
    path, (parts, compression, wrong) = tmp_path / "other.pth", CHANGES[change]
    torch.save({"weight": torch.zeros(3)}, path)
    assert read_content(rewritten(path, {}), mapped)["weight"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=rf"other.pth cannot be read: {wrong}.*; download it again"):
        read_content(rewritten(path, parts, compression), mapped)
