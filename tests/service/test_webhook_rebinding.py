"""DNS rebinding of webhooks, in a network namespace with its own resolver: names that first answer with a public address and then with a private one, and
redirects, never lead to a connection inside. What is tried stands in webhook_rebinding.py."""
import pathlib
import shutil
import subprocess
import sys

import pytest

NAMESPACES = ["unshare", "--net", "--mount", "--propagation", "private", "--fork", "--kill-child"]


def impossible():
    """Why that network cannot be made here, or None."""
    for program in ("unshare", "ip", "mount"):
        if not shutil.which(program):
            return f"{program} is not installed: run tools/deps deploy"
    probe = "ip link set lo up && ip addr add 10.0.0.5/32 dev lo && ip addr add fd00::1/128 dev lo && mount --bind /etc/hosts /etc/hosts"
    out = subprocess.run([*NAMESPACES, "sh", "-c", probe], capture_output=True, text=True, check=False)
    return None if out.returncode == 0 else f"this machine lets us make no network namespaces: {out.stderr.strip()[-200:]}"


def test_no_name_and_no_redirect_leads_inside(tmp_path):
    if why := impossible():
        pytest.skip(why)
    script = pathlib.Path(__file__).with_name("webhook_rebinding.py")
    out = subprocess.run([*NAMESPACES, sys.executable, script, tmp_path], capture_output=True, text=True, timeout=400, check=False)
    assert out.returncode == 0, out.stdout[-2000:] + out.stderr[-4000:]
