"""Commands with an encoder whose class token is read out, whether methods are named or not."""

import json

import pytest

from fsl_explain.cli.app import run

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


@pytest.mark.parametrize("command", ["evaluate", "mosaics"])
def test_fam_that_is_named_is_refused_by_its_name(tmp_path, capsys, command):
    section = "[explanation]\n{more}" if command == "evaluate" else MOSAICS
    code, _ = written(
        tmp_path, command, EPISODES * (command == "evaluate") + section.format(more='methods = ["fam"]\n')
    )
    assert code == 2
    error = capsys.readouterr().err
    assert "fam needs an embedding that is pooled from the maps, but this encoder reads it out as 'class'" in error
