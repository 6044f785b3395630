"""Every command with a folder of results keeps those that are there, unless it is told otherwise."""

import pytest
from small_settings import DATA, SETTINGS, SMALL

from fsl_explain.cli.app import run
from retrieval_explain.cli.app import run as run_retrieval


@pytest.fixture(params=SETTINGS)
def command(request, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(DATA + SMALL + SETTINGS[request.param], encoding="utf-8")
    runner, name = (run_retrieval, "evaluate") if request.param == "retrieval" else (run, request.param)

    def called(*options):
        return runner([name, "--config", str(config), *options])

    return called


def test_results_stay_unless_told_otherwise(command, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text("mine")
    assert command("--out", str(out)) == 2
    assert "or replace them with --overwrite." in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["summary.json"]
    assert (out / "summary.json").read_text() == "mine"
    assert command("--out", str(out), "--overwrite") == 0
    assert (out / "summary.json").read_text() != "mine"


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_an_option_about_a_folder_wants_the_folder(command, option, capsys):
    assert command(option) == 2
    assert f"expected --out with {option}" in capsys.readouterr().err


def test_a_refusal_leaves_nothing(command, tmp_path, monkeypatch):
    def refused(*_args, **_options):
        raise LookupError("refused")

    monkeypatch.setattr("fsl_explain.encoder.Encoder.__call__", refused)
    with pytest.raises(LookupError, match="refused"):
        command("--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_audit_keeps_results_too(tmp_path, capsys):
    (tmp_path / "summary.json").write_text("mine")
    assert run_retrieval(["audit", "--bank", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["demo", "--out", str(tmp_path)]) == 2
