"""The package as a user meets it: from a folder to an episode's tensors."""

import torch

import episodes


def test_every_public_name_is_there_and_documented():
    for name in episodes.__all__:
        thing = getattr(episodes, name)
        assert name == "PIXEL_LIMIT" or thing.__doc__, name


def test_from_scenes_to_the_tensors_of_an_episode():
    scenes = episodes.DigitScenes(part="novel", per_class=4)
    chosen = episodes.select(scenes, episodes.Split.load("digit-scenes").novel[:3])
    episode = episodes.EpisodeSampler(chosen.labels, n_way=3, n_shot=1, n_query=2, seed=1)[0]
    transform = episodes.direct_resize(42, mean=(0.5,) * 3, std=(0.5,) * 3)
    prepared = [episodes.prepare(chosen[int(image)], transform) for image in episode.support.flatten()]
    assert torch.stack([image.pixels for image in prepared]).shape == (3, 3, 42, 42)
    assert all(image.target_mask.any() and image.target_box.max() <= 42 for image in prepared)
