import os
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file

from fsl_explain import Encoder
from fsl_explain.backbones import Conv4Net
from fsl_explain.backbones.weights.checkpoint import check_finite, read_state, sha256_of
from fsl_explain.backbones.weights.loading import load_weights

SMALL = {"channels": 2}


def small(seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Conv4Net(**SMALL)


class WantsToRun:
    """Unpickling it would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def save(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt"])
def test_what_is_saved_comes_back(tmp_path, file):
    network, path = small(seed=7), tmp_path / file
    save(network.state_dict(), path)
    encoder = Encoder.named("conv4net", checkpoint=path, **SMALL)
    for name, value in network.state_dict().items():
        assert torch.equal(encoder.network.state_dict()[name], value), name
    assert encoder.description == f"conv4net (weights {file}, sha256 {sha256_of(path)[:12]})"


def test_a_state_dict_may_be_nested_and_may_lack_batch_counters(tmp_path):
    network = small(seed=7)
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    torch.save({"state_dict": state}, tmp_path / "nested.pt")
    fresh = small(seed=8)
    load_weights(fresh, tmp_path / "nested.pt")
    assert torch.equal(fresh.blocks.block1.conv.weight, network.blocks.block1.conv.weight)


def without(state):
    return {name: value for name, value in state.items() if "block2.conv" not in name}


def with_more(state):
    return state | {"classifier.weight": torch.zeros(2), "classifier.bias": torch.zeros(2)}


def of_other_shape(state):
    return state | {"blocks.block1.conv.bias": torch.zeros(3)}


def with_nan(state):
    return state | {"blocks.block1.conv.bias": torch.tensor([1.0, torch.nan])}


def with_infinity(state):
    return state | {"blocks.block3.norm.running_var": torch.tensor([1.0, torch.inf])}


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without, r"does not fit Conv4Net: 2 missing \(blocks.block2.conv.weight, blocks.block2.conv.bias\), 0 unexp"),
        (
            with_more,
            r"0 missing, 2 unexpected \(classifier.\w+, classifier.\w+\); check the encoder's name",
        ),
        (of_other_shape, r"expected blocks.block1.conv.bias of shape \(2,\), but .* holds \(3,\); check"),
        (with_nan, r"expected finite weights, but 1 NaN or infinite \(blocks.block1.conv.bias\) in .*weights"),
        (with_infinity, r"expected finite weights, but 1 NaN or infinite \(blocks.block3.norm.running_var\)"),
    ],
    ids=["missing", "unexpected", "shape", "NaN", "infinity"],
)
def test_weights_that_do_not_fit_are_refused_and_none_is_loaded(tmp_path, file, change, sentence):
    save(change(small(seed=7).state_dict()), tmp_path / file)
    network = small(seed=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=sentence):
        load_weights(network, tmp_path / file)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def dump(value, path):
    with path.open("wb") as file:
        pickle.dump(value, file)


@pytest.mark.parametrize("write", [torch.save, dump], ids=["zip", "bare pickle"])
@pytest.mark.parametrize("hide", [lambda x: x, lambda x: {"weight": torch.zeros(1), "x": x}], ids=["bare", "in a dict"])
def test_a_checkpoint_that_wants_to_run_code_is_refused_before_it_does(tmp_path, write, hide):
    trap = tmp_path / "was-here"
    write(hide(WantsToRun(trap)), tmp_path / "evil.pt")
    wanted = "torch" if write is dump and hide(0) != 0 else rf"{os.mkdir.__module__}\.mkdir"
    with pytest.raises(ValueError, match=rf"refused .*evil.pt: it is a pickle that asks for {wanted}.* could run code"):
        Encoder.named("conv4net", checkpoint=tmp_path / "evil.pt", **SMALL)
    assert not trap.exists()
    pickle.loads(pickle.dumps(WantsToRun(trap)))
    assert trap.exists(), "the trap works, so its absence above means something"


def test_a_whole_model_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(small(), tmp_path / "model.pt")
    with pytest.raises(
        ValueError, match=r"asks for fsl_explain.backbones.networks.conv4.Conv4Net, and loading that could run"
    ):
        read_state(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x89PNG\r\n\x1a\n1234", b"PK\x03\x04 no archive"], ids=repr)
@pytest.mark.parametrize(("suffix", "kind"), [(".pt", "a PyTorch checkpoint"), (".safetensors", "a safetensors file")])
def test_what_is_no_checkpoint_is_one_sentence(tmp_path, content, suffix, kind):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"expected {kind}, but {re.escape(str(path))} cannot be read.*download it"):
        read_state(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt", "old.pt"])
def test_a_truncated_file_is_one_sentence(tmp_path, file, share):
    path, state = tmp_path / file, small().state_dict()
    if file == "old.pt":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"weights.*cannot be read|old.pt cannot be read"):
        read_state(path)


def test_damaged_bytes_never_end_in_another_error(tmp_path):
    path = tmp_path / "old.pt"
    torch.save(small().state_dict(), path, _use_new_zipfile_serialization=False)
    whole, generator = path.read_bytes(), torch.Generator().manual_seed(0)
    refused = accepted = 0
    for attempt in range(60):
        damaged = bytearray(whole)
        positions = torch.randint(len(whole), (5,), generator=generator).tolist()
        for position in positions:
            damaged[position] = (damaged[position] + 101) % 256
        path.write_bytes(damaged if attempt % 2 else whole[: positions[0]])
        try:
            load_weights(small(), path)
        except ValueError as error:
            refused += str(path) in str(error)
        else:
            accepted += 1
    assert refused + accepted == 60
    assert refused > 30


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a checkpoint file, but .* is a folder"):
        read_state(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected a checkpoint file, but .*nowhere.pt does not exist"):
        Encoder.named("conv4net", checkpoint=tmp_path / "nowhere.pt")


@pytest.mark.parametrize("value", [[1, 2], {"weight": 3}], ids=["list", "numbers"])
def test_something_else_than_a_state_dict_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"expected a state dict .* got (list|dict); save model.state_dict\(\)"):
        read_state(tmp_path / "other.pt")


def test_a_network_with_nan_weights_cannot_be_wrapped():
    network = small()
    with torch.no_grad():
        network.blocks.block4.conv.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"1 NaN or infinite \(blocks.block4.conv.weight\) in Conv4Net; train again"):
        Encoder.wrap(network, "blocks.block4")


def test_many_broken_tensors_are_not_all_listed():
    with pytest.raises(ValueError, match=r"5 NaN or infinite \(0, 1, 2, …\) in here; train again"):
        check_finite({str(i): torch.tensor(torch.nan) for i in range(5)}, "here")
