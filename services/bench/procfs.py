"""CPU time and memory of processes, from Linux's /proc. Reading costs microseconds."""

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_microseconds(pids: Iterable[int]) -> int:
    """User and system time of these processes, in steps of 10 ms on most kernels. An ended process counts 0."""
    return sum(parse_stat(stat)[1] * _TICK for pid in pids if (stat := _read(PROC / str(pid) / "stat")))


def peak_megabytes(pids: Iterable[int]) -> float:
    """The sum of each process's peak resident memory."""
    return _megabytes(pids, "VmHWM:")


def megabytes(pids: Iterable[int]) -> float:
    """The sum of each process's resident memory now."""
    return _megabytes(pids, "VmRSS:")


def _megabytes(pids: Iterable[int], which: str) -> float:
    kilobytes = 0
    for pid in pids:
        for line in _read(PROC / str(pid) / "status").splitlines():
            if line.startswith(which):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


def tree(roots: Iterable[int]) -> set[int]:
    """These processes and all their descendants."""
    parents = {
        int(folder.name): parse_stat(stat)[0]
        for folder in PROC.iterdir()
        if folder.name.isdigit() and (stat := _read(folder / "stat"))
    }
    found: set[int] = set()
    grown = set(roots) & parents.keys()
    while grown:
        found |= grown
        grown = {pid for pid, parent in parents.items() if parent in found} - found
    return found


def parse_stat(stat: str) -> tuple[int, int]:
    """The parent's process id and the clock ticks of CPU in a line of /proc/PID/stat."""
    # The name, in brackets, may contain brackets and blanks itself.
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]) + int(fields[12])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
