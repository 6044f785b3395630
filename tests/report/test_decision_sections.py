"""The page's sections on supports and counterfactuals."""

from dataclasses import replace

import pytest
import torch
from page_reader import PageReader
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import counterfactual, explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.report import Case, Page
from fsl_explain.report.counterfactual_view import FRAME, WIDTH, counterfactual_view, framed
from fsl_explain.report.heatmap import picture
from fsl_explain.report.html import render_page
from fsl_explain.report.numbers import decimals, fixed
from fsl_explain.report.support_view import SHOWN_SUPPORTS, support_receipt

SUPPORTS = {"a<b": images(3, seed=23), "c": images(2, seed=22)}


def explained(method="contrast", rule=None, supports=None, **choice):
    encoder = tiny_encoder(random_head("linear"))
    return explain(encoder, images(seed=10), supports or SUPPORTS, method=method, rule=rule or KnnVote(k=4), **choice)


def test_bars_are_the_addends_of_the_receipt_largest_first():
    explanation = explained()
    view = support_receipt(Case("why", {"contrast": explanation}))
    receipt = explanation.receipt()
    lines = receipt.largest_first()
    labels = [f"{line.class_name}, support {line.shot + 1}" for line in lines]
    assert [bar.label for bar in view.bars.bars] == [*labels, *receipt.constants]
    assert [bar.positive for bar in view.bars.bars][: len(lines)] == [line.amount > 0 for line in lines]
    assert "lead of" in view.title
    assert f"{receipt.score:+.3f}".replace("-", "−")[:5] in view.total


def test_every_bar_is_its_amount_and_together_they_are_the_sum():
    """The constant of a vote and the bias of the head belong to the sum."""
    explanation = explained("exact", KnnVote(k=5, temperature=0.5))
    receipt, view = explanation.receipt(), support_receipt(Case("why", {"exact": explanation}))
    amounts = [*(line.amount for line in receipt.largest_first()), *receipt.constants.values()]
    assert all(abs(part) > 0.1 for part in (receipt.bias, *receipt.constants.values()))
    assert len(receipt.constants) == 1
    places = decimals([*amounts, receipt.score], 4)
    assert [bar.text for bar in view.bars.bars] == [fixed(amount, places, plus=True) for amount in amounts]
    widest = max(map(abs, amounts))
    assert [bar.width for bar in view.bars.bars] == pytest.approx([50 * abs(amount) / widest for amount in amounts])
    total = fixed(receipt.score, places, plus=True)
    assert view.total.startswith(f"Together {total}; the model's own score is {total} (residual ")


def test_the_contrast_is_shown_wherever_there_is_one():
    both = {"exact": explained("exact"), "contrast": explained()}
    assert "over" in support_receipt(Case("why", both)).title
    assert support_receipt(Case("why", {"exact": both["exact"]})).title.startswith(
        "How the supports add up to the score"
    )


def test_many_supports_are_summed_up_in_one_bar():
    many = {"a": images(SHOWN_SUPPORTS + 3, seed=5), "b": images(1, seed=6)}
    explanation = explained("exact", "mean-similarity", many, target="a")
    bars = support_receipt(Case("why", {"exact": explanation})).bars.bars
    assert len(bars) == SHOWN_SUPPORTS + 1
    assert bars[-1].label == "the other 3 together"
    lines = explanation.receipt().largest_first()
    rest = sum(line.amount for line in lines[SHOWN_SUPPORTS:])
    assert bars[-1].width == pytest.approx(50 * abs(rest) / max(abs(rest), *(abs(line.amount) for line in lines)))
    assert len(bars[-1].text.strip("+−").split(".")[1]) >= 4
    assert float(bars[-1].text.replace("−", "-")) == pytest.approx(rest, abs=1e-4)


def test_a_support_whose_absence_flips_the_decision_is_marked():
    red, green = torch.eye(3)[:2, :, None, None].expand(2, 3, 6, 8).double()
    supports = {"red": red[None], "mixed": (0.6 * red + 0.8 * green)[None]}
    found = explain(tiny_encoder(), red, supports, method="contrast")
    marks = {bar.label: bar.marks for bar in support_receipt(Case("why", {"contrast": found})).bars.bars}
    assert marks == {"red, support 1": ("without it: mixed",), "mixed, support 1": ()}


def test_the_page_says_what_would_have_to_be_different():
    found = counterfactual(tiny_encoder(random_head("linear")), images(seed=10), SUPPORTS)
    page = Page("why", cases=(Case("why", {"contrast": explained()}, counterfactuals=(found,)),))
    texts = PageReader(render_page(page)).texts
    assert "What would have to be different" in texts
    assert str(found) in texts
    assert "What would have to be different" not in render_page(Page("why", cases=(Case("why", {"x": explained()}),)))


def test_a_counterfactual_is_shown_before_and_after_where_it_was_found():
    found = counterfactual(tiny_encoder(random_head("linear")), images(seed=10), SUPPORTS)
    assert found.found
    view = counterfactual_view(found)
    before, after = (framed(image, found.mask) for image in (found.image_before, found.image_after))
    assert view.before == picture(before, "query with the cells that change", WIDTH)
    assert view.after == picture(after, "query after: replace", WIDTH)
    assert view.before.source != view.after.source
    assert counterfactual_view(replace(found, cells=())).after is None
    assert counterfactual_view(replace(found, image_after=None)).after is None


def test_frames_run_along_the_changed_cells():
    image, mask = torch.zeros(3, 40, 40), torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 1] = mask[1, 2] = True
    yellow = (framed(image, mask) == FRAME).all(dim=-1)
    assert yellow[10, 10:30].all()
    assert yellow[19, 10:30].all()
    assert yellow[10:20, 10].all()
    assert not yellow[13:17, 13:27].any()
    assert not yellow[:10].any()
    assert not yellow[:, 30:].any()


def test_a_class_that_takes_part_in_the_lead_alone_is_said_to():
    exact, contrast = explained("exact"), explained()
    case = Case("why", {"exact": exact, "contrast": contrast}, main="exact")
    text = render_page(Page("why", cases=(case,)))
    target = exact.decision.classes[int(exact.target)]
    assert f"no part in the score of {target}, but in its lead below" in text
    alone = render_page(Page("why", cases=(Case("why", {"exact": exact}),)))
    assert "no part in the explained score" in alone
    assert "its lead below" not in alone


def test_a_support_has_one_name_in_bars_and_beside_its_picture():
    found = explained()
    name = found.decision.classes[int(found.target)]
    files = [f"{number}.jpg" for number in range(len(SUPPORTS[name]))]
    case = Case("why", {"contrast": found}, support_names={name: files})
    assert f"{name}, support 1 (0.jpg)" in {bar.label for bar in support_receipt(case).bars.bars}
    assert "1 0.jpg" in PageReader(render_page(Page("why", cases=(case,)))).texts
    without_files = Case("why", {"contrast": found}, support_names={name: [""] * len(files)})
    assert f"{name}, support 1" in {bar.label for bar in support_receipt(without_files).bars.bars}


def test_an_edit_that_a_forward_contradicts_opens_with_that():
    found = counterfactual(tiny_encoder(random_head("linear")), images(seed=10), SUPPORTS)
    contradicted = replace(found, scores_at_pixels=found.scores_before)
    opening = f"A forward of the edited image contradicts this: {found.classes[found.target]} stays. Replacing"
    assert str(contradicted).startswith(opening)
    confirmed = replace(found, scores_at_pixels=found.scores_at_features)
    assert "contradicts" not in str(confirmed)
