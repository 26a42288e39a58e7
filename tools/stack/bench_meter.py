"""Measuring for the benches: CPU and memory of process trees, and cheap looks into PostgreSQL while somebody else works."""
import os
import pathlib
import subprocess
import threading

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
INTERVAL = 0.5  # the machine is the measured program's, and reading all of /proc costs; what a process had at most the kernel knows anyway


def processes():
    """{pid: (parent, CPU seconds with those of its ended children, resident bytes)}"""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                found[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICK, int(fields[21]) * PAGE)
            except (OSError, IndexError):
                pass
    return found


def trees(roots):
    """{name: (CPU seconds, resident bytes)} of each root and all that descends from it."""
    table, children = processes(), {}
    for pid, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(pid)
    answer = {}
    for name, root in roots.items():
        queue, cpu, resident = [root], 0.0, 0
        while queue:
            pid = queue.pop()
            queue += children.get(pid, [])
            if pid in table:
                cpu, resident = cpu + table[pid][1], resident + table[pid][2]
        answer[name] = (cpu, resident)
    return answer


def high_water(pid):
    """Most bytes that one process ever had resident, as the kernel counted; 0 when it is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Meter(threading.Thread):
    """CPU seconds since the start, and peak resident memory, of process trees. What began with the measurement is named in fresh:
    its CPU counts from zero."""

    def __init__(self, roots, fresh=()):
        super().__init__(daemon=True)
        self.roots, self.cpu, self.peak, self.done = roots, {}, {}, threading.Event()
        self._sample()
        self.base = {name: 0.0 if name in fresh else cpu for name, cpu in self.cpu.items()}
        self.start()

    def _sample(self):
        for name, (cpu, resident) in trees(self.roots).items():
            self.cpu[name] = max(self.cpu.get(name, 0.0), cpu)  # an ended root has none
            self.peak[name] = max(self.peak.get(name, 0), resident)

    def run(self):
        while not self.done.wait(INTERVAL):
            self._sample()

    def stop(self):
        """({name: CPU seconds}, {name: peak MB})"""
        self.done.set()
        self.join()
        self._sample()
        for name, pid in self.roots.items():
            self.peak[name] = max(self.peak[name], high_water(pid))
        return ({name: round(cpu - self.base[name], 2) for name, cpu in self.cpu.items()},
                {name: round(peak / 1e6, 1) for name, peak in self.peak.items()})


class Sql:
    """One psql that stays: a question costs a round trip, not a process and a connection."""

    def __init__(self, postgres, conninfo):
        self.child = subprocess.Popen([postgres.bin / "psql", "-XAtq", "-d", conninfo], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, cwd="/")
        self.child.stdin.write("\\set VERBOSITY terse\n")

    def one(self, sql):
        """The only value of a statement that gives one row; an error's text where it fails (a table that is not there yet)."""
        self.child.stdin.write(sql + ";\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()
