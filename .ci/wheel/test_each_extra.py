"""Each extra alone, really installed beside the wheel, brings all that its feature asks for."""

import pytest
from extras import EXPLAINED, NEEDING

USING = """
from episodes.errors import MissingPackage, Mistake
try:
    exec({use!r})
except MissingPackage:
    raise
except Mistake as other:  # an empty folder of weights, or a server that is not there
    print(other)
"""


@pytest.mark.parametrize("extra", NEEDING)
def test_the_extra_brings_what_its_feature_needs(extra, installed):
    installed.install(extra)
    (installed.work / "empty").mkdir(exist_ok=True)
    (installed.work / "empty" / "config.json").write_text("{}")
    use = NEEDING[extra].replace("{folder}", "empty")
    installed.run("python", "-c", (EXPLAINED if "explained" in use else "") + USING.format(use=use))
