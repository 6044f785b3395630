"""A warning is one line on stderr, as a mistake is, and the command goes on."""

import subprocess
import sys

PROGRAM = """
import sys, warnings
from fsl_explain.cli import manners

app = manners.new_app("a-command", "Tries warnings.", "try")


@app.command(name="try")
def warn() -> None:
    warnings.warn("the network goes on\\nto something else", stacklevel=1)
    print("done")


before = warnings.formatwarning
code = manners.run(app, ["try"], "nothing is left.")
assert warnings.formatwarning is before
sys.exit(code)
"""


def test_a_warning_is_one_line_without_its_place_in_the_code():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert done.stderr == "a-command: the network goes on to something else\n"
