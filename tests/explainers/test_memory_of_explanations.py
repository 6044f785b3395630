"""A thousand explanations in a row leave nothing behind."""

import gc
import itertools

import pytest
import torch
from decision_parts import OPTIONS
from tiny_encoder import OF_MAPS, images, random_head, tiny_encoder

from fsl_explain import explain, saliency
from fsl_explain.explainers import METHODS
from fsl_explain.explainers.methods.class_logit import FORMULAS


def live():
    """The numbers of tensors and of all objects that the collector knows."""
    gc.collect()
    objects = gc.get_objects()
    return sum(issubclass(type(one), torch.Tensor) for one in objects), len(objects)


def repeat(makers, count):
    for make in itertools.islice(itertools.cycle(makers), count):
        make()
    return live()


def explanations():
    """One function for every method with supports and without, and those that ask the network again apart."""
    encoder, query = tiny_encoder(random_head("linear")), images(seed=1)
    features = encoder(images(2, seed=2)).unflatten(2, 1)
    quick, perturbing = [lambda name=name: saliency(encoder, query, method=name) for name in ("lafam", *FORMULAS)], []
    for name, method in ((name, METHODS[name]) for name in OF_MAPS):
        options = OPTIONS.get(name, {})
        made = lambda name=name, options=options: explain(encoder, query, features, method=name, **options)  # noqa: E731
        (perturbing if method.perturbs else quick).append(made)
    return quick, perturbing


@pytest.mark.slow
def test_a_thousand_explanations_leave_nothing_behind():
    quick, perturbing = explanations()
    repeat(perturbing, len(perturbing))
    tensors, objects = repeat(quick, 3 * len(quick))
    after = repeat(quick, 1000)
    assert after[0] == tensors
    assert after[1] - objects < 200
    assert repeat(perturbing, len(perturbing))[0] == tensors


def test_what_is_left_behind_would_be_seen():
    kept = []
    tensors, objects = live()
    after = repeat([lambda: kept.append([torch.zeros(1)])], 300)
    assert after[0] == tensors + 300
    assert after[1] - objects > 200
