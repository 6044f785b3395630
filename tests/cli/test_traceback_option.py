"""A mistake is one sentence, or with --traceback where it was found; a fault of ours always keeps its traceback."""

import pytest

from episodes.errors import Mistake
from fsl_explain.cli import app as fsl
from retrieval_explain.cli import app as retrieval

APPS = pytest.mark.parametrize("app", [fsl, retrieval], ids=["fsl-explain", "retrieval-explain"])
WRONG = ["evaluate", "--config", "nowhere.toml"]


@APPS
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_mistake_shows_its_traceback_where_that_is_asked_for(app, capsys, place):
    assert app.run(WRONG) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert app.run([*WRONG[:place], "--traceback", *WRONG[place:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "MissingFile: expected a configuration file, but nowhere.toml does not exist" in said


@APPS
def test_the_help_names_the_option(app, capsys):
    assert app.run(["--help"]) == 0
    assert "--traceback" in capsys.readouterr().out


@APPS
@pytest.mark.parametrize(
    ("error", "code"), [(Mistake("no"), 2), (FileNotFoundError(2, "No such file", "x.png"), 2), (OSError("no"), None)]
)
def test_only_mistakes_and_named_files_become_a_sentence(app, capsys, monkeypatch, error, code):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(f"{app.evaluate.__module__}.read_config", fail)
    if code is None:
        with pytest.raises(type(error)):
            app.run(WRONG)
    else:
        assert app.run(WRONG) == code
        assert len(capsys.readouterr().err.splitlines()) == 1


@APPS
def test_a_fault_of_ours_keeps_its_traceback(app, monkeypatch):
    def fail(*_arguments):
        raise ValueError("not the user's")

    monkeypatch.setattr(f"{app.evaluate.__module__}.read_config", fail)
    with pytest.raises(ValueError, match="not the user's"):
        app.run(WRONG)
