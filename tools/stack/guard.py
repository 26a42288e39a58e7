"""Ends what a run started once the run itself is gone: a test run that is killed stops nothing any more.

A process of its own reads, from a pipe, what was started; the pipe ends with the run, however that ends. A process is known by its
number and the moment at which it began, so that nobody else's is ever hit.
"""
import os
import signal
import subprocess
import sys

_guard = None


def began(pid):
    """The kernel's clock when the process began (proc(5), stat's field 22); None: there is no such process, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
            return None if fields[0] == "Z" else fields[19]
    except OSError:
        return None


def watch(pid):
    """To be called after each start; pid leads a session of its own."""
    global _guard
    if _guard is None or _guard[0] != os.getpid():
        child = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 start_new_session=True)
        _guard = os.getpid(), child
    _guard[1].stdin.write(f"{pid} {began(pid)}\n".encode())
    _guard[1].stdin.flush()


def main():
    started = [line.split() for line in sys.stdin]
    for pid, moment in started:
        if began(pid) == moment:
            os.killpg(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main()
