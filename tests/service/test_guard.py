"""What a test run or a demo started does not outlive it, however it ends."""
import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack")]

import guard  # noqa: E402
import stack  # noqa: E402

RUN = """
import sys
sys.path[:0] = [sys.argv[1]]
import stack
made = [stack.Process("sleeper", ["sh", "-c", "sleep 600 & sleep 600"], sys.argv[2]).start() for _ in range(2)]
print(*(process.pid for process in made), flush=True)
sys.stdin.read()
"""


def test_what_a_killed_run_started_ends(tmp_path):
    run = subprocess.Popen([sys.executable, "-c", RUN, ROOT / "tools" / "stack", tmp_path / "log"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pids = run.stdout.readline().split()
    assert len(pids) == 2 and all(guard.began(pid) for pid in pids)
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    stack.wait_until("its processes to end", 60, lambda: not any(guard.began(pid) for pid in pids))
