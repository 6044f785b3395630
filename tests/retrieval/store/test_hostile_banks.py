"""Banks whose hashes are right and whose values are not: each is refused in one sentence that names the file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from faults.forged_banks import CHANNELS, REFUSED, ROWS, TAKEN, forged, use

from episodes.errors import Mistake, TooLarge
from retrieval_explain import MemoryBank


@pytest.mark.parametrize("case", REFUSED)
def test_a_forged_bank_is_refused_in_one_sentence(tmp_path, case):
    with pytest.raises(Mistake, match=r"^[^\n]+\.$"):
        use(forged(tmp_path / "bank", **REFUSED[case]))


@pytest.mark.parametrize("case", TAKEN)
def test_a_bank_of_odd_values_that_mean_something_is_taken(tmp_path, case):
    assert len(use(forged(tmp_path / "bank", **TAKEN[case]))[0]) == ROWS


@pytest.mark.parametrize("name", ["manifest.json", "rows.parquet", "embeddings.safetensors"])
def test_a_link_out_of_the_bank_is_refused(tmp_path, name):
    path = next(forged(tmp_path / "bank").glob(f"version-*/{name}"))
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    with pytest.raises(Mistake, match="is a link that leads out of the bank"):
        use(tmp_path / "bank")


@pytest.mark.parametrize("size", [40_000, 3_000_000])
def test_texts_that_repeat_are_measured_before_they_are_written_out(tmp_path, size):
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array(["x" * size]))
    file = pa.BufferOutputStream()
    table = pa.table({"id": range(100), "label": once, "path": once})
    pq.write_table(table, file, compression="zstd", store_schema=False, dictionary_pagesize_limit=1 << 30)
    bank = forged(tmp_path / "bank", table=file.getvalue().to_pybytes(), embeddings=np.ones((100, CHANNELS)))
    with pytest.raises(
        TooLarge, match=rf"at most 32768 bytes in each label of .*rows\.parquet, but got {size}; restore"
    ):
        use(bank)


@pytest.mark.parametrize("what", ["labels", "paths"])
def test_no_text_is_written_that_would_not_be_read(tmp_path, what):
    texts = {what: ["x" * 40_000, "y"]}
    with pytest.raises(
        ValueError, match=rf"expected at most 32768 bytes in each {what[:-1]}, but one has 40000; shorten"
    ):
        MemoryBank.from_embeddings(torch.eye(2), **texts).save(tmp_path / "bank")
    assert not (tmp_path / "bank" / "CURRENT").exists()
