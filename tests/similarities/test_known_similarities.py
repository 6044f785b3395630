import pytest
import torch

from fsl_explain.similarities import SIMILARITIES, euclidean

QUERY = torch.tensor([[3.0, 4.0]])
GALLERY = torch.tensor([[3.0, 4.0], [6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cosine", [1, 1, 0, -1]),
        ("inner-product", [25, 50, 0, -25]),
        ("euclidean", [0, -25, -50, -100]),
    ],
)
def test_values_known_by_heart(name, expected):
    assert SIMILARITIES[name].pairwise(QUERY, GALLERY)[0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"), [("cosine", [-0.48, 0.48]), ("inner-product", [-12, 12]), ("euclidean", [-49, -1])]
)
def test_addends_known_by_heart(name, expected):
    assert SIMILARITIES[name].contributions(QUERY[0], GALLERY[2]).tolist() == pytest.approx(expected)


def test_a_rounding_error_never_makes_a_squared_distance_negative():
    near = torch.full((1, 3), 1000.1)
    euclidean = SIMILARITIES["euclidean"]
    assert euclidean.pairwise(near, near + 1e-4).max() <= 0


def test_the_contributions_of_the_euclidean_similarity_have_a_gradient():
    query, support = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaf = query.clone().requires_grad_()
    euclidean.contributions(leaf, support).sum().backward()
    torch.testing.assert_close(leaf.grad, -2 * (query - support))
    given = query.clone()
    assert torch.equal(euclidean.contributions(given, support), -((query - support) ** 2))
    assert torch.equal(given, query)
