"""The completion of shells, tried in the shells that are there."""

import json
import shutil
import subprocess

import pytest

from fsl_explain.cli.app import run as run_explain
from retrieval_explain.cli.app import run as run_retrieval

RUNS = {"fsl-explain": run_explain, "retrieval-explain": run_retrieval}
COMPLETE = r"""
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
read -r _ _ function _ <<< "$(complete -p "$2")"
$function "$2" "${COMP_WORDS[COMP_CWORD]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(params=RUNS)
def program(request):
    return request.param


def script(program, shell, capsys):
    assert RUNS[program](["completion", shell]) == 0
    return capsys.readouterr().out


def completed(file, *words):
    """What bash would offer for the last word."""
    command = ["bash", "--norc", "-c", COMPLETE, "bash", str(file), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_and_options(program, tmp_path, capsys):
    file = tmp_path / "completion.bash"
    file.write_text(script(program, "bash", capsys))
    subprocess.run(["bash", "-n", file], check=True)
    assert "evaluate" in completed(file, program, "ev")
    assert {"serve", "config", "completion"} <= set(completed(file, program, ""))
    assert completed(file, program, "evaluate", "--lim") == ["--limit"]
    assert "--lim" not in json.dumps(completed(file, program, "completion", "--lim"))


@pytest.mark.parametrize(("shell", "says"), [("zsh", "#compdef {}"), ("fish", "complete -c {}")])
def test_the_other_shells_get_a_script_of_theirs(program, shell, says, tmp_path, capsys):
    written = script(program, shell, capsys)
    assert says.format(program) in written
    if shutil.which(shell):
        (tmp_path / "completion").write_text(written)
        subprocess.run([shell, "-n", tmp_path / "completion"], check=True)


def test_an_unknown_shell_is_one_sentence(program, capsys):
    assert RUNS[program](["completion", "bsh"]) == 2
    said = capsys.readouterr().err
    assert said == f"{program}: unknown shell 'bsh'; did you mean 'bash' or 'zsh'? Known: bash, zsh, fish\n"
