"""Programs under measurement: pinned to a core, watched through /proc, ended by their own pid.

Nothing but what was started here is ever signalled. Every wait has a bound.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A program did not come up; the message holds what it said."""


class Child:
    """One started program. Owns the process and the file that its output goes to.

    Arguments:
        command: what to run.
        core: the only core that it may use.
        output: a file for all it prints.
    """

    def __init__(self, command: Sequence[str], core: int, output: Path) -> None:
        self.output = output
        with output.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned_to(core),  # before exec, so that every thread inherits it
            )
        self.pid = self._process.pid

    def __repr__(self) -> str:
        return f"<Child {self.pid} {'running' if self.is_running else 'ended'}>"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for `ready`; raises NotStarted when the program ends or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT
        while not ready():
            if not self.is_running or time.monotonic() > deadline:
                self.stop()
                said = self.output.read_text(errors="replace")[-2000:]
                raise NotStarted(f"{self._process.args!r} did not come up:\n{said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it: politely, then not."""
        if not self.is_running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)


def keep_awake(core: int, output: Path) -> Child:
    """A program that spins on the core whenever nobody else wants it (SCHED_IDLE).

    A virtual machine's idle core is halted, and waking it costs whoever writes to a socket tens of
    microseconds; that is the hypervisor's time, not the proxy's.
    """
    spin = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    return Child([sys.executable, "-c", spin], core, output)


def pinned_to(core: int) -> Callable[[], None]:
    """What a child does before it becomes its program."""

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    return pin


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time that these processes have used so far, all threads, user and system."""
    return sum(_ticks(pid) for pid in pids) / TICKS_PER_SECOND


def _ticks(pid: int) -> int:
    # The name, in brackets, may hold anything; utime and stime are the 14th and 15th field.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_bytes(pid: int) -> int:
    """Memory that the process holds now (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def children_of(pid: int) -> list[int]:
    """The pids of a process's children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets this process and its children have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
