"""A copy of an encoder that has drawn finer maps, also by way of a file, draws those of its own network."""

import copy
import pickle

import pytest
import torch

from fsl_explain import Encoder
from fsl_explain.pullback import detail
from tests.pullback.test_remembered_passes import drawn


def through_a_file(encoder):
    return pickle.loads(pickle.dumps(encoder))


@pytest.mark.parametrize("copied", [copy.deepcopy, through_a_file])
@pytest.mark.parametrize("kept_bytes", [detail.KEPT_BYTES, 0], ids=["values are kept", "the network runs again"])
def test_a_copy_draws_the_maps_of_its_own_network(copied, kept_bytes, monkeypatch):
    monkeypatch.setattr(detail, "KEPT_BYTES", kept_bytes)
    seen = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    first = Encoder.named("conv4net").with_detail(1)
    for _ in range(2):
        of_first = drawn(first, seen)
    second, fresh = copied(first), Encoder.named("conv4net").with_detail(1)
    for encoder in (second, fresh):
        with torch.no_grad():
            next(encoder.network.parameters()).neg_()
    of_second = drawn(second, seen)
    assert all(map(torch.equal, of_second, drawn(fresh, seen)))
    assert not any(map(torch.equal, of_second, of_first))
