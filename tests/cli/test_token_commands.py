"""Commands with an encoder whose class token is read out, whether methods are named or not."""

import json
import re

import pytest

from fsl_explain.cli.app import run
from retrieval_explain.cli.app import run as run_retrieval

DATA = """
[data]
kind = "digit-scenes"
digits = "base"
per_class = 4
[encoder]
name = "demo-vit"
seen_classes = "allow"
"""
EPISODES = "[episodes]\ncount = 1\nn_way = 3\nn_query = 1\n"
MOSAICS = "[mosaics]\ncount = 2\n{more}"
COMPARISON = '[maps]\nshots = 2\nsample = 1\nsteps = 2\nrelax_masks = 4\n{more}[mosaics]\ncount = 2\nheads = ["none"]\n'
OF_TOKENS = ("attention", "rollout", "chefer", "legrad", "value-path", "exact", "contrast")
NAMED = f"methods = {json.dumps(OF_TOKENS)}\n"


def written(tmp_path, command, text):
    config, out = tmp_path / "settings.toml", tmp_path / "results"
    config.write_text(DATA + text)
    return run([command, "--config", str(config), "--out", str(out)]), out / "index.html"


@pytest.mark.parametrize("more", ["", NAMED], ids=["usual", "named"])
@pytest.mark.parametrize(
    ("command", "settings"),
    [("evaluate", EPISODES + "[explanation]\n{more}"), ("mosaics", MOSAICS), ("compare", COMPARISON)],
)
def test_a_class_token_is_measured(tmp_path, command, settings, more):
    """FAM, of which a class token has none, is left out of the usual methods."""
    code, page = written(tmp_path, command, settings.format(more=more))
    assert code == 0
    assert "exact" in page.read_text()


REFUSED_OF_A_BANK = {
    "ablation-cam": "expected an embedding that is pooled|needs an embedding that is pooled",
    "hirescam": "expected gradient times activation to differ from 0 in some cell, but it sums to 0 in all of them",
    "rollout": "expected explainers of features, but 'rollout' asks the network again; drop it",
}


@pytest.mark.parametrize(
    "more", [(), ('explanation.methods=["contrast","layercam"]',), ("encoder.readout=mean",)], ids=str
)
def test_a_bank_read_by_tokens_is_evaluated(tmp_path, capsys, more):
    """By the usual methods, or those that are named."""
    changes = [part for change in more for part in ("--set", change)]
    assert evaluated(tmp_path, *changes) == 0
    assert ("contrast" if "explanation" in str(more) else "exact") in capsys.readouterr().out


@pytest.mark.parametrize("name", REFUSED_OF_A_BANK)
def test_what_features_of_a_class_token_do_not_tell_is_refused(tmp_path, capsys, name):
    """Derivatives are taken at tokens that are read again, where they say something; attention is not asked for."""
    assert evaluated(tmp_path, "--set", f'explanation.methods=["{name}"]') == 2
    assert re.search(REFUSED_OF_A_BANK[name], capsys.readouterr().err)


def evaluated(tmp_path, *changes):
    config = tmp_path / "settings.toml"
    config.write_text(DATA)
    return run_retrieval(["evaluate", "--config", str(config), "--limit", "1", *changes])


@pytest.mark.parametrize("command", ["evaluate", "mosaics"])
def test_fam_that_is_named_is_refused_by_its_name(tmp_path, capsys, command):
    section = "[explanation]\n{more}" if command == "evaluate" else MOSAICS
    code, _ = written(
        tmp_path, command, EPISODES * (command == "evaluate") + section.format(more='methods = ["fam"]\n')
    )
    assert code == 2
    error = capsys.readouterr().err
    assert "fam needs an embedding that is pooled from the maps, but this encoder reads it out as 'class'" in error
