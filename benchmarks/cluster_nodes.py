"""Three Ray nodes in one machine, each in a network namespace of its own, joined by a bridge in a fourth.

Needs Linux, root and ``ip``; where namespaces are not permitted, ``possible`` says so. Every process of a node is known
by its namespace, so that a node is removed as a machine that loses its power: all at once, and without a word.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PORT = 6399
NETWORK = "10.77.0"


def possible() -> str:
    """Say why there can be no namespaces, or nothing."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return "network namespaces need root and the command ip"
    name = f"fsl-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces are not permitted here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return ""


class Nodes:
    """Nodes by number; 0 is the head, on which drivers run."""

    def __init__(self, count: int = 3) -> None:
        self.name, self.count = f"fsl-{os.getpid()}", count
        self.folder = Path(tempfile.mkdtemp(prefix="fsl-ray-", dir="/tmp"))
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "disabled",  # nobody else is in these namespaces
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": f"{NETWORK}.1:{PORT}",
            "OMP_NUM_THREADS": "1",
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",  # Ray's own is 15, so that workers starve beside other programs
        }

    def __enter__(self) -> "Nodes":
        self._ip("netns", "add", f"{self.name}-hub")
        self._ip("-n", f"{self.name}-hub", "link", "add", "br0", "type", "bridge")
        self._ip("-n", f"{self.name}-hub", "link", "set", "br0", "up")
        for number in range(self.count):
            self._join(number)
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self.count):
            self.remove(number)
            self._ip("netns", "del", f"{self.name}-{number}")
        self._ip("netns", "del", f"{self.name}-hub")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, number: int) -> None:
        """Start the Ray of a node with one processor, and wait until it is there."""
        own = f"--node-ip-address={NETWORK}.{number + 1}"
        head = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        role = head if number == 0 else [f"--address={NETWORK}.1:{PORT}"]
        options = ["--num-cpus=1", "--object-store-memory=300000000", "--disable-usage-stats"]
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        done = subprocess.run(
            self.within(number, [sys.executable, "-m", "ray.scripts.scripts", "start", own, *role, *options]),
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"node {number} did not start:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")

    def remove(self, number: int) -> None:
        """Kill every process of a node."""
        for _ in range(50):
            found = self.processes(number)
            if not found:
                return
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    def processes(self, number: int, beginning: str = "") -> list[int]:
        """Return the processes of a node, those whose command begins so."""
        listed = subprocess.run(
            ["ip", "netns", "pids", f"{self.name}-{number}"], capture_output=True, text=True, check=False
        )
        found = []
        for process in map(int, listed.stdout.split()):
            with suppress(OSError):
                command = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
                if command.startswith(beginning):
                    found.append(process)
        return found

    def within(self, number: int, command: list[str]) -> list[str]:
        """Return a command that runs on a node."""
        return ["ip", "netns", "exec", f"{self.name}-{number}", *command]

    def _join(self, number: int) -> None:
        space, hub = f"{self.name}-{number}", f"{self.name}-hub"
        self._ip("netns", "add", space)
        self._ip("-n", space, "link", "set", "lo", "up")
        self._ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"b{number}", "netns", hub)
        self._ip("-n", hub, "link", "set", f"b{number}", "master", "br0", "up")
        self._ip("-n", space, "addr", "add", f"{NETWORK}.{number + 1}/24", "dev", "eth0")
        self._ip("-n", space, "link", "set", "eth0", "up")

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)
