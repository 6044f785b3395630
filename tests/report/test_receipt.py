import pytest
import torch
from written_explanations import written_explanation, written_fam, written_lafam

from fsl_explain.report.receipt import TOLERANCE, receipt
from fsl_explain.report.wording import description, marks, verdict


@pytest.mark.parametrize(("share", "adds_up"), [(0.5, True), (2.0, False)])
def test_rounding_adds_up_and_more_than_rounding_does_not(share, adds_up):
    exact = written_explanation()
    missed = written_explanation(
        contributions=exact.contributions.double(),
        bias=exact.bias.double(),
        score=exact.score.double() + share * TOLERANCE * float(exact.absolute_sum),
    )
    assert receipt(missed).adds_up == adds_up
    assert receipt(missed).verdict == ("Adds up to the score." if adds_up else "Does not add up to the score.")
    assert dict(receipt(missed).lines)["residual / Σ|terms|"] == ("5.0e−06" if adds_up else "2.0e−05")


def test_the_weights_of_fam_are_called_weights():
    shown = receipt(written_fam())
    assert shown.lines[0][0] == "Σ of 10 weights of Eq. 15"
    assert not shown.adds_up
    assert "By design" in shown.verdict
    by_chance = receipt(written_explanation("fam", signed=False))
    assert by_chance.verdict.startswith("Happens to add up")


def test_a_contrast_is_called_a_difference_and_no_split_has_no_receipt():
    against = torch.tensor([0.0, 1.0, 0.0])
    assert receipt(written_explanation("contrast", against=against)).lines[3][0] == "score (difference of class scores)"
    assert receipt(written_lafam()) is None


def test_decisions_in_words():
    explanation = written_explanation()
    assert verdict(explanation, None) == "Decided: gull."
    assert verdict(explanation, "gull") == "Decided: gull. This is right."
    assert verdict(explanation, "$tern$") == "Decided: gull. This is wrong: it is $tern$."
    assert verdict(explanation, "owl") == "Decided: gull. This is wrong: it is owl, which is not among the supports."
    assert marks(explanation, 0, "gull") == ("predicted", "true class")
    assert marks(explanation, 1, "gull") == ()


def test_a_method_the_page_does_not_know_has_no_description():
    assert description(written_explanation("new")) == ""
    assert description(written_explanation()) == "Each cell's share of the score of gull."
