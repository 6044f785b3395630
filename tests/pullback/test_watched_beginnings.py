"""Later passes are watched from the module in which the finer maps are made, and from nowhere else."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from fsl_explain import Encoder
from fsl_explain.pullback import detail
from fsl_explain.pullback.replay import Replay
from tests.pullback.followed_networks import network, strided
from tests.pullback.test_remembered_passes import as_if_first, drawn, images, wrapped


@pytest.fixture
def replays(monkeypatch):
    """Keep every comparison of a pass, with how many operations it saw."""
    kept, begin, see = [], Replay.__init__, Replay.__torch_dispatch__

    def begun(self, *given):
        begin(self, *given)
        self.seen = 0
        kept.append(self)

    def seen(self, *given):
        self.seen += 1
        return see(self, *given)

    monkeypatch.setattr(Replay, "__init__", begun)
    monkeypatch.setattr(Replay, "__torch_dispatch__", seen)
    return kept


def hooks(net):
    return [len(module._forward_pre_hooks) for module in net.modules()]


def assert_right(encoder, seed):
    torch.testing.assert_close(
        drawn(encoder, images(seed=seed)), as_if_first(encoder, images(seed=seed)), rtol=0, atol=0
    )


class Stem(nn.Sequential):
    """Many operations at grids that are finer than any that is asked for."""

    def __init__(self):
        super().__init__(strided(3, 4), *(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()) for _ in range(5)))


def deep(block):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential()
        net.stem, net.block = Stem(), block()
    return net.double()


class Plain(nn.Sequential):
    """A block that makes the grid coarser."""

    def __init__(self):
        super().__init__(strided(4, 4), nn.ReLU())


class Twice(nn.Module):
    """A block whose first layer is called twice before the finer maps and once behind them."""

    def __init__(self):
        super().__init__()
        self.layer, self.down = nn.Conv2d(4, 4, 1), strided(4, 4)

    def forward(self, maps):
        return self.layer(self.down(torch.relu(self.layer(self.layer(maps)))))


class Seeing(TorchDispatchMode):
    """A mode of the network's own, which counts what it sees."""

    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        Seeing.seen += 1
        return func(*args, **(kwargs or {}))


class UnderItsOwnMode(nn.Module):
    """A block whose finer maps are made by a module that begins under a mode of the block's own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(), strided(4, 4), nn.ReLU())

    def forward(self, maps):
        with Seeing():
            factor = torch.full((1,), 2.0, dtype=maps.dtype)
            found = self.layers(maps)
        return found * factor


@pytest.mark.parametrize("block", [Plain, Twice])
def test_what_lies_before_the_finer_maps_is_not_watched(block, replays):
    net = deep(block)
    encoder = wrapped(net)
    for seed in (1, 2, 3):
        assert_right(encoder, seed)
    of_this = [one for one in replays if one.done > 0]
    assert of_this
    for one in of_this:
        assert not one.differs
        assert one.seen < 12, "the stem was watched, too"


def test_a_mode_of_the_networks_own_sees_what_is_its_own():
    net = deep(UnderItsOwnMode)
    plain, encoder = Encoder.wrap(net, layer="block", tail="ignore"), wrapped(net)
    plain(images(seed=1))
    Seeing.seen = 0
    plain(images(seed=1))
    alone = Seeing.seen
    for seed in (1, 2, 3):
        Seeing.seen = 0
        encoder(images(seed=seed))
        assert Seeing.seen >= alone
        assert Seeing.seen % alone == 0
    assert_right(encoder, 4)
    assert _get_current_dispatch_mode_stack() == []


class Failing(Plain):
    """A block that raises when it is told to."""

    fails = False

    def forward(self, maps):
        found = super().forward(maps)
        if self.fails:
            raise RuntimeError("told to")
        return found


def test_hooks_and_modes_are_gone_after_every_pass_and_after_one_that_raises():
    net = deep(Failing)
    before, encoder = hooks(net), wrapped(net)
    for seed in (1, 2):
        drawn(encoder, images(seed=seed))
        assert hooks(net) == before
    net.block.fails = True
    with pytest.raises(RuntimeError, match="told to"):
        encoder(images(seed=3))
    assert hooks(net) == before
    assert _get_current_dispatch_mode_stack() == []
    net.block.fails = False
    assert_right(encoder, 4)


def test_a_network_without_modules_that_begin_is_watched_from_its_first_operation(monkeypatch, replays):
    monkeypatch.setattr(detail, "last_before", lambda *_: None)
    encoder = wrapped(network("residual"))
    for seed in (1, 2):
        assert_right(encoder, seed)
    assert any(one.done > 0 and one.seen == one.calls for one in replays)
