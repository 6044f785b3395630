"""Relation Network's forward pass as its authors published it, in modules of PyTorch in eval mode."""

import torch
from torch import nn


def block(into, channels, padding, pooled):
    layers = [nn.Conv2d(into, channels, kernel_size=3, padding=padding), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, *[nn.MaxPool2d(2)] * pooled)


class CNNEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = block(3, 64, 0, True), block(64, 64, 0, True)
        self.layer3, self.layer4 = block(64, 64, 1, False), block(64, 64, 1, False)

    def forward(self, x):
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class RelationModule(nn.Module):
    def __init__(self, input_size=64, hidden_size=8):
        super().__init__()
        self.layer1, self.layer2 = block(input_size * 2, 64, 0, True), block(64, 64, 0, True)
        self.fc1, self.fc2 = nn.Linear(input_size * 3 * 3, hidden_size), nn.Linear(hidden_size, 1)

    def forward(self, x):
        out = self.layer2(self.layer1(x))
        out = out.view(out.size(0), -1)
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(out))))


def relations(encoder, module, samples, batch):
    """Relations (query, class) of a batch of images to samples (class, shot, 3, 84, 84), whose maps are summed."""
    ways, shots = samples.shape[:2]
    sample_features = encoder(samples.flatten(0, 1)).view(ways, shots, 64, 19, 19).sum(1)
    rows = []
    for features in encoder(batch):
        extended = features[None].repeat(ways, 1, 1, 1)
        rows.append(module(torch.cat((sample_features, extended), 1))[:, 0])
    return torch.stack(rows)
