"""Runs a command to its end and measures its time, its processor time and the memory of its largest process."""
import os, signal, subprocess, tempfile, time
from dataclasses import dataclass
from statistics import median


class Failed(Exception):
    """A command that failed, with the last lines of its output."""


@dataclass(frozen=True)
class Sample:
    """One run: wall seconds, processor seconds (user and system), peak resident bytes of the largest process."""
    seconds: float
    cpu: float
    peak: int


def middle(samples):
    """Returns the medians of the times, and the highest peak."""
    return Sample(median(s.seconds for s in samples), median(s.cpu for s in samples), max(s.peak for s in samples))


def run(command, **more):
    """Runs a command (argv, or text for sh) and returns its Sample.

    The peak is wait4's ru_maxrss: of the process and of all that were waited for below it. It is never less than
    what this program itself has (some 20 MB), since the kernel counts from the fork on.
    """
    argv = ["sh", "-euc", command] if isinstance(command, str) else [str(part) for part in command]
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   start_new_session=True, **more)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()[-2000:]
            raise Failed(f"{' '.join(argv)} ended with {process.returncode}:\n{said}")
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
