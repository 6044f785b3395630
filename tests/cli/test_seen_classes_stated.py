"""Every measuring command refuses classes that the weights learned, or says so beside its figures."""

import json

import pytest
from safetensors.torch import save_file

from fsl_explain.backbones import Conv4Net
from fsl_explain.cli.app import run

DATA = '[data]\nkind = "digit-scenes"\nper_class = 6\n'
COMMANDS = {  # settings, and the tables that are made of them
    "compare": (DATA + '[maps]\nmethods = ["exact"]\nshots = 2\nsample = 3\nsteps = 2\n', 7),
    "mosaics": (DATA + '[mosaics]\ncount = 2\nheads = ["none"]\nmethods = ["exact"]\n', 3),
    "evaluate": (DATA + '[episodes]\ncount = 2\nn_query = 2\n[explanation]\nmethods = ["exact"]\n', 1),
}
STATED = "The encoder was trained on 2 of the 5 classes"


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.safetensors"
    learned = [{"data": "digit-scenes", "split": None, "classes": ["6", "8"]}]
    manifest = {"network": "conv4net", "settings": {}, "trained_on": learned}
    save_file(Conv4Net().state_dict(), path, metadata={"fsl_explain": json.dumps(manifest)})
    return path


@pytest.mark.parametrize(
    ("command", "settings", "tables"), [(name, *of) for name, of in COMMANDS.items()], ids=COMMANDS
)
def test_classes_of_the_training_are_refused_or_stated(command, settings, tables, weights, tmp_path, capsys):
    config, out = tmp_path / "small.toml", tmp_path / "out"
    config.write_text(settings + f'[encoder]\ncheckpoint = "{weights.as_posix()}"\n')
    call = [command, "--config", str(config), "--out", str(out)]
    assert run(call) == 2
    assert "expected classes in [data] that are not in the training of w.safetensors, but 2 of the 5" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert not out.exists()
    assert run([*call, "--set", "encoder.seen_classes=allow"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    page = (out / "index.html").read_text()
    assert printed.count(STATED) == page.count(STATED) == tables
    recorded = json.loads((out / "summary.json").read_text())["provenance"]
    assert recorded["classes_seen_in_training"] == ["6", "8"]
    if command != "mosaics":  # it writes no table of queries
        assert run(["table", str(out), "--figure", "proportion", "--format", "markdown"]) == 0
        assert STATED in capsys.readouterr().out
