"""One order of arguments in all packages: encoder, query, what it is compared with; every option by its keyword."""

import importlib
import inspect
from dataclasses import MISSING, fields, is_dataclass

import pytest
import torch
from tiny_encoder import images, tiny_encoder
from unchecked import loaded_without_shape_checks

from retrieval_explain import MemoryBank

PACKAGES = ("fsl_explain", "retrieval_explain", "episodes", "fsl_explain.metrics")
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
DATA = 3

MAY_BE_POSITIONAL = {
    "integrated_gradients_method": {"options"},  # its only argument
    "occlusion_method": {"options"},
    "smoothgrad_method": {"options"},
    "relax_method": {"options"},  # what the method is made of
    "Encoder.wrap": {"layer"},  # what is read of the network
    "RelationNetwork.load": {"shots"},  # of which its file is
    "explain": {"query", "bank"},  # data; a text takes the place of the query
    "MemoryBank.from_embeddings": {"labels"},  # data, as long as the embeddings
    "MemoryBank.append": {"labels"},
    "MemoryBank.update": {"embeddings"},  # data, one for each id
    "MemoryBank.search": {"k"},  # as faiss and scikit-learn have it
    "Cub200": {"part"},  # which images of the folder: data
    "DigitScenes": {"part"},
    "ImageNetS": {"part"},
    "MiniImageNet": {"part"},
    "Omniglot": {"part"},
    "TieredImageNet": {"part"},
    "average_drop_excluded": {"masked_scores"},  # data, as long as the scores
    "Mahalanobis.fit": {"labels"},  # data, as long as the embeddings
    "Correspondence.strongest": {"count"},  # how many: its only argument
    "Correspondence.strongest_regions": {"count"},
    "Correspondence.parts": {"count"},
    "KnnVote": {"k", "temperature"},  # its two settings, in the order of NPID
    "MajorityVote": {"k"},  # its only setting
    "LogisticRegression": {"inverse_penalty"},
    "FewShotClassifier": {"rule", "similarity"},  # what it is
    "supports_by_class": {"names"},  # data, one for each class
}
MAY_HAVE_MORE = {"center_crop"}  # resize, crop, mean, std: all of it is what the transform is
ROLES = ("weights",)  # methods whose arguments are those of every rule, and no options


def public_callables():
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isclass(found) and issubclass(found, Exception):
                continue  # raised by the library, never called by a user
            if inspect.isclass(found):
                if not is_record(found):
                    yield name, found
                for method, member in vars(found).items():
                    function = getattr(member, "__func__", member)
                    if inspect.isfunction(function) and method not in ROLES and is_public(method):
                        yield f"{name}.{method}", function
            elif callable(found):
                yield name, found


def is_public(method):
    return not method.startswith("_") or method == "__call__"


def is_record(kind):
    """A frozen result, which the library makes and a user reads; options, all with defaults, are none."""
    return is_dataclass(kind) and any(
        field.default is MISSING and field.default_factory is MISSING for field in fields(kind)
    )


CALLABLES = dict(public_callables())


@pytest.mark.parametrize("name", CALLABLES)
def test_options_are_keyword_only_after_the_data(name):
    parameters = [
        parameter
        for parameter in inspect.signature(CALLABLES[name]).parameters.values()
        if parameter.kind in POSITIONAL and parameter.name not in ("self", "cls")
    ]
    with_default = {parameter.name for parameter in parameters if parameter.default is not parameter.empty}
    assert with_default == MAY_BE_POSITIONAL.get(name, set())
    assert (len(parameters) > DATA) == (name in MAY_HAVE_MORE)


def test_the_exceptions_exist():
    assert {*MAY_BE_POSITIONAL, *MAY_HAVE_MORE} <= set(CALLABLES)


@pytest.mark.parametrize("name", ["explain", "retrieve"])
def test_another_order_is_one_sentence(name):
    call = getattr(loaded_without_shape_checks("retrieval_explain.decisions.explained_neighbors"), name)
    encoder, query, bank = tiny_encoder(), images(seed=1), MemoryBank.from_embeddings(torch.eye(4))
    with pytest.raises(
        TypeError, match=r"^expected an Encoder first, but got MemoryBank; the order is encoder, query, b"
    ):
        call(bank, encoder, query)
    with pytest.raises(
        TypeError, match=r"^expected a MemoryBank third, but got Tensor; the order is encoder, query, ba"
    ):
        call(encoder, bank, query)


@pytest.mark.parametrize(
    ("module", "name", "data"),
    [
        ("explaining", "explain", (images(1), images(1, 1), tiny_encoder())),
        ("explaining", "saliency", (images(), tiny_encoder())),
        ("methods.relax", "relax", (images(), tiny_encoder())),
        ("analysis.counterfactual", "counterfactual", (images(), images(1, 1), tiny_encoder())),
    ],
)
def test_an_encoder_comes_first(module, name, data):
    call = getattr(loaded_without_shape_checks(f"fsl_explain.explainers.{module}"), name)
    with pytest.raises(TypeError, match=r"^expected an Encoder first, but got Tensor; the order is encoder, "):
        call(*data)
