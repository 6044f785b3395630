"""What is printed of an explanation obeys no name of a class."""

import pytest
from tiny_encoder import images, tiny_encoder

from fsl_explain import counterfactual, explain, support_audit

NAMES = ("\x1b[31mred", "a\nb", "\u202egpj", "[bold]x[/]")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_class_is_printed_and_not_obeyed(name):
    supports = {name: images(2, seed=1), f"{name} too": images(1, seed=2)}
    query = images(1, seed=3)[0]
    explanation = explain(tiny_encoder(), query, supports, method="contrast")
    edited = counterfactual(tiny_encoder(), query, supports)
    for printed in (str(explanation.receipt()), str(support_audit(explanation)), str(edited)):
        assert not set(printed) & {"\x1b", "\u202e"}
        assert name.encode("unicode_escape").decode()[-3:] in printed
        assert "\nb" not in printed
