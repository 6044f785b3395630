"""What a kernel reads first: a command of a notebook that fails, in any part of its pipe, stops the build."""

import subprocess


def run_checked(command: str) -> None:
    """Run a line behind ``!`` and print what it prints. Raises: ``RuntimeError`` for another exit code than 0."""
    expanded = get_ipython().var_expand(command, depth=1)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", expanded],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"expected a command that ends with 0, but {expanded!r} ended with {done.returncode}.")


get_ipython().system = run_checked
