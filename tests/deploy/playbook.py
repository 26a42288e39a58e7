"""What tests of playbooks share: a page's commands, and the machines that they are given to. systemctl, ssh and the editor are stand-ins: systemctl asks
the test to start and stop processes, ssh runs a line as another user with another machine's units, the editor does what the page tells a person to write."""
import http.server
import os
import re
import subprocess
import threading
import urllib.parse

from conftest import ROOT

SYSTEMCTL = """#!/usr/bin/python3
import os, sys, urllib.request
verb, *units = [word for word in sys.argv[1:] if word != "--now"]
assert verb not in ("enable", "disable") or "--now" in sys.argv, "it would neither start nor stop"
for unit in units:
    urllib.request.urlopen("/".join([os.environ["HARNESS"], {"enable": "start", "disable": "stop"}.get(verb, verb), os.environ.get("SITE", "old"), unit.replace("weir@", "")]))
"""
SSH = """#!/bin/bash
user=${1%%@*}  # or the machine, where nobody is named
export SITE=${1##*@}
[ "$user" != "$SITE" ] && [ "$(id -u)" = 0 ] || exec bash -euo pipefail -c "${*:2}"
exec setpriv --reuid="$user" --regid="$user" --init-groups -- bash -euo pipefail -c "${*:2}"
"""
EDITOR = '#!/bin/bash\ncp "$EDITED" "$1"\n'


def blocks(page):
    """The page's code blocks by the heading that they stand under ("" without one), in order."""
    found, heading = {}, ""
    for title, block in re.findall(r"(?ms)^### (.*?)$|^```sh\n(.*?)^```$", (ROOT / "docs" / "runbook" / f"{page}.md").read_text()):
        heading = title or heading
        if block:
            found.setdefault(heading, []).append(block)
    return found


class Machines:
    """act(verb, site, unit) does what systemctl is asked for."""

    def __init__(self, folder, act):
        self.tools = folder / "bin"
        self.tools.mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("ssh", SSH), ("editor", EDITOR)):
            (self.tools / name).write_text(text)
            (self.tools / name).chmod(0o755)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    act(*urllib.parse.unquote(self.path).split("/")[1:])
                    self.send_response(200)
                except (OSError, RuntimeError, AssertionError) as error:
                    self.send_response(500, str(error)[:200].replace("\n", " "))
                self.end_headers()

            def log_message(self, *_):
                pass

        # One thread for all of them: PostgreSQL is told to end with the thread that started it.
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.environment = {"EDITOR": "editor", "HARNESS": f"http://127.0.0.1:{self.server.server_address[1]}"}

    def link(self, *paths):
        """Programs that the commands find by their names."""
        for path in paths:
            (self.tools / path.name).symlink_to(path)

    def run(self, text, environment, folders=()):
        """The commands as they stand, up to the first that fails; what they said."""
        path = ":".join(map(str, (self.tools, *folders, os.environ["PATH"])))
        out = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env={"PATH": path, **self.environment, **environment}, capture_output=True, text=True,
                             check=False, timeout=180)
        assert out.returncode == 0, f"{text}\n{out.stdout}\n{out.stderr}"
        return out.stdout

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
