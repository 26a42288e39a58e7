"""The only process of a pod, contained as the chart's security contexts say: run by cluster.py with a file of JSON, as root.

Own mount, process, network, host name and IPC namespaces; the root file system read-only; user and group without any capability, and no way to
new ones; limits of memory and CPU by a control group where this machine has one to give. It prints the process' id, waits for a line (meanwhile
its network is made), and ends with the program's exit status. Not reproduced: the container runtime's seccomp profile.
"""
import ctypes
import json
import os
import pathlib
import signal
import sys

NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mount, host name, IPC, process, network: sched.h
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18  # mount(2)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG = 24, 38, 1
libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind, flags, data=None):
    must(libc.mount(source and str(source).encode(), str(target).encode(), kind and kind.encode(), flags, data and data.encode()), f"mount {target}")


def read_only(source, target, flags=0):
    mount(source, target, None, BIND | REC)
    mount(None, target, None, BIND | REMOUNT | RDONLY | NOSUID | flags)


def contain(spec):
    root = pathlib.Path(spec["root"])
    mount(None, "/", None, REC | PRIVATE)
    mount(root, root, None, BIND | REC)
    for source, target in spec["mounts"]:
        read_only(source, root / target.lstrip("/"), NODEV | NOEXEC)
    mount("proc", root / "proc", "proc", NOSUID | NODEV | NOEXEC)
    mount("dev", root / "dev", "tmpfs", NOSUID, "mode=755,size=64k")
    for device in ("null", "zero", "random", "urandom"):
        (root / "dev" / device).touch()
        mount(f"/dev/{device}", root / "dev" / device, None, BIND)
    mount(None, root / "dev", None, REMOUNT | RDONLY | NOSUID)
    mount(None, root, None, BIND | REMOUNT | RDONLY | NOSUID | NODEV)
    must(libc.sethostname(spec["name"].encode(), len(spec["name"])), "sethostname")
    os.chroot(root)
    os.chdir("/")
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(spec["user"], spec["user"], spec["user"])
    os.setresuid(spec["user"], spec["user"], spec["user"])
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def main():
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
    for group in spec["groups"]:
        (pathlib.Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    must(libc.unshare(NEW_NAMESPACES), "unshare")
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        sys.stdin.readline()  # the network is there
        log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open("/dev/null", os.O_RDONLY)
        contain(spec)
        for number, file in enumerate((null, log, log)):
            os.dup2(file, number)
        os.closerange(3, 64)
        os.execve(spec["command"][0], spec["command"], spec["environment"])
    print(child, flush=True)
    sys.stdin.close()
    status = os.waitpid(child, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


main()
