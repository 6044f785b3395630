"""captum and Quantus read our maps, and agree with what is computed here."""

import numpy as np
import PIL.Image
import torch


def test_captum(run_page, tmp_path):
    names, _ = run_page("captum", "captum")
    explanation, theirs = names["explanation"], names["theirs"].detach()
    assert theirs.max() > 0
    torch.testing.assert_close(explanation.cells[0].relu(), theirs, rtol=1e-4, atol=1e-7)
    scores = names["model"](names["query"]).detach()[0]
    torch.testing.assert_close(explanation.decision.scores[0].float(), scores, rtol=0, atol=1e-5)
    assert float(names["captums"]) > 0
    torch.testing.assert_close(names["ours"].largest_change.float(), names["captums"].float(), rtol=1e-5, atol=0)
    assert len(np.unique(np.asarray(PIL.Image.open(tmp_path / "captum.png")))) > 50


def test_quantus(run_page):
    names, printed = run_page("quantus", "quantus")
    assert len(names["table"]) == len(printed.splitlines()) == 4
    for theirs, ours in names["table"].values():
        expected = torch.from_numpy(np.asarray(theirs, dtype=float))
        assert expected.std() > 0
        torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-5)  # Quantus adds 1e-7 to every pixel
