"""The options that imitate another system reach what they are about."""

import elsewhere
import torch
from tiny_encoder import images, tiny_encoder

from fsl_explain import encoder as encoders
from fsl_explain.backbones.reading import Reading
from fsl_explain.devices import at_hand


def test_what_networks_compute_lies_on_the_imitated_device(monkeypatch):
    expected = tiny_encoder(dtype=torch.float32)(images(2, dtype=torch.float32))
    devices = []

    def watched(values):
        devices.append(values.device.type)
        return at_hand(values)

    monkeypatch.setattr(Reading, "maps", Reading.maps)
    monkeypatch.setattr(encoders, "at_hand", watched)
    elsewhere._compute_elsewhere()
    found = tiny_encoder(dtype=torch.float32)(images(2, dtype=torch.float32))
    assert devices
    assert "cpu" not in devices
    torch.testing.assert_close(found.embedding, expected.embedding)
