"""A server that behaves as told, for the life-cycle tests: `python -m … --behaviour B`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--home", "--host", "--port", "--behaviour"):
        parser.add_argument(option)
    options = parser.parse_args()
    if options.behaviour == "fails":
        sys.exit("the cellar is flooded")
    if options.behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.behaviour == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(options.home, "child").write_text(str(child.pid))
    with socket.create_server((options.host, int(options.port))):
        if options.behaviour != "mute":
            endpoint = Path(options.home, "stub", "endpoint.json")
            endpoint.write_text(json.dumps({"host": options.host, "port": options.port, "pid": os.getpid()}))
        time.sleep(60)


if __name__ == "__main__":
    main()
