import numpy as np
import pytest
import torch
from tiny_training import SIZE, NoiseImages

from episodes import direct_resize
from fsl_explain.config.training import AugmentationConfig
from fsl_explain.training import image_batches, processes
from fsl_explain.training.augmentation import augmentation_of
from fsl_explain.training.image_batches import ImageBatches

AUGMENTATION = augmentation_of(
    AugmentationConfig(erasing=0.5), SIZE, direct_resize(SIZE, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
)
# A machine of one core warns of two processes.
few_cores = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class Pairs:
    """Four units of two images; views are two."""

    views = 2

    def draw(self, step):
        return np.random.default_rng(step).integers(0, 20, (4, 2))

    def forward(self, batch):
        return batch.pixels.sum()


def batches(seed=0, dataset=None, augmentation=AUGMENTATION):
    return ImageBatches(dataset or NoiseImages(), Pairs(), augmentation, seed)


def assert_same(one, other):
    assert torch.equal(one.pixels, other.pixels)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)


def test_a_batch_holds_the_images_of_its_units_and_their_labels():
    dataset, batch = NoiseImages(), batches()[3]
    assert batch.pixels.shape == (2, 4, 2, 3, SIZE, SIZE)
    assert batch.images.tolist() == Pairs().draw(3).tolist()
    assert batch.labels.tolist() == dataset.labels[Pairs().draw(3)].tolist()
    assert batch.pixels.dtype == torch.float32


@few_cores
@pytest.mark.parametrize("workers", [0, 2])
def test_a_step_is_the_same_whatever_was_asked_before(workers):
    alone = {step: batches()[step] for step in (4, 2, 3)}
    for step, batch in zip(range(2, 5), batches().steps(2, 5, workers), strict=True):
        assert_same(batch, alone[step])


def test_seeds_steps_places_and_views_differ():
    """All images are one, so that only chance tells them apart."""
    dataset = NoiseImages()
    one_image = ImageBatches(dataset, Pairs(), AUGMENTATION, 0)
    object.__setattr__(one_image.objective, "draw", lambda _step: np.zeros((4, 2), dtype=np.int64))
    seen = [*one_image[0].pixels.flatten(0, 2), *one_image[1].pixels.flatten(0, 2)]
    other = batches(seed=1)
    object.__setattr__(other.objective, "draw", lambda _step: np.zeros((4, 2), dtype=np.int64))
    seen += [*other[0].pixels.flatten(0, 2)]
    assert len({pixels.numpy().tobytes() for pixels in seen}) >= len(seen) - 2


@few_cores
@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_random_state_stays(workers):
    state = torch.get_rng_state()
    list(batches().steps(0, 2, workers))
    assert torch.equal(torch.get_rng_state(), state)


def as_process(monkeypatch, rank, count):
    for module in (processes, image_batches):
        monkeypatch.setattr(module, "processes", lambda: count)
    monkeypatch.setattr(processes, "rank", lambda: rank)


def test_the_units_of_two_processes_are_disjoint_complete_and_have_the_pixels_of_one(monkeypatch):
    whole, shares = batches()[1], []
    for rank in range(2):
        as_process(monkeypatch, rank, 2)
        shares.append(batches()[1])
    assert [share.images.shape for share in shares] == [(2, 2), (2, 2)]
    for rank, share in enumerate(shares):
        assert torch.equal(share.pixels, whole.pixels[:, rank::2])
        assert torch.equal(share.images, whole.images[rank::2])
        assert torch.equal(share.labels, whole.labels[rank::2])


def test_units_that_cannot_be_shared_evenly_are_refused(monkeypatch):
    as_process(monkeypatch, 0, 3)
    with pytest.raises(ValueError, match=r"a batch that 3 processes can share, but it has 4 parts; change the obj"):
        batches()


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (3 * SIZE * SIZE, 3), (10**6, 20)])
def test_kept_images_change_no_pixel_and_stay_within_their_bound(monkeypatch, room, kept):
    expected = [batches()[step] for step in range(12)]
    monkeypatch.setattr(image_batches, "KEPT_PIXELS", room)
    dataset = NoiseImages()
    bounded = batches(dataset=dataset)
    for _ in range(2):
        for step in range(12):
            assert_same(bounded[step], expected[step])
    assert len(bounded.kept.images) == kept
    assert bounded.kept.pixels == kept * SIZE * SIZE
    assert (len(dataset.read) == 20) is (kept == 20)


def test_images_of_different_sizes_are_counted_by_their_pixels(monkeypatch):
    monkeypatch.setattr(image_batches, "KEPT_PIXELS", 3000)
    augmentation = augmentation_of(
        AugmentationConfig(crop="resized"), SIZE, direct_resize(SIZE, (0.5,) * 3, (1.0,) * 3)
    )
    bounded = batches(augmentation=augmentation)
    for step in range(12):
        bounded[step]
    sizes = [image.shape[-2] * image.shape[-1] for image in bounded.kept.images.values()]
    assert len(set(sizes)) > 1
    assert 3000 - 22 * 20 < sum(sizes) == bounded.kept.pixels <= 3000


@few_cores
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_its_own_sentence_from_any_process(workers):
    with pytest.raises(ValueError, match=r"^expected an image, but number 7 is broken; drop it\.$"):
        list(batches(dataset=NoiseImages(broken=7)).steps(0, 12, workers))
