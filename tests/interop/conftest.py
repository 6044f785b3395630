"""Pages that show this library beside another tool are run as they stand, with the real one."""

import importlib.util
import re
import warnings
from pathlib import Path

import jaxtyping
import pytest

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
OFFLINE = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "LIGHTLY_DID_VERSION_CHECK": "True",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "MPLBACKEND": "agg",
}


def pytest_addoption(parser):
    parser.addoption("--none-skipped", action="store_true", help="a test whose tool is not installed fails")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No tool asks a server for news; what it says of itself, and of others, is no fault of a page."""
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def needs(request):
    """Skip a test whose tool is not installed, or fail where none may be skipped."""

    def check(*packages):
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if not missing:
            return
        sentence = f"{' and '.join(missing)} is not installed; make interop has an environment with it"
        if request.config.getoption("--none-skipped", default=False):
            pytest.fail(sentence)
        pytest.skip(sentence)

    return check


@pytest.fixture
def run_page(monkeypatch, tmp_path, capsys, needs):
    """Run the Python of a page, block by block, in an empty folder; return its names and what it printed.

    ``needs`` is the tool of the page. The checks of annotations are the tests' alone, so they are off.
    """

    def run(page, *packages, known=None):
        needs(*packages)
        text = (PAGES / f"with-{page}.md").read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
        assert blocks, f"the page with-{page}.md shows no Python"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        names = {"__name__": "page", **(known or {})}
        capsys.readouterr()
        for number, block in enumerate(blocks, start=1):
            exec(compile(block, f"{page}, block {number}", "exec"), names)
        return names, capsys.readouterr().out

    return run
