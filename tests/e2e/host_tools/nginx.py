"""The nginx of the test's host is the real one, with @STATE@/nginx.conf in place of the configuration in /etc.

hold      while it is there, a reload waits before it is told to nginx, having made `entered`
reloads   a line for each time that nginx was told to reload
"""

import os
import sys
import time
from pathlib import Path

STATE = Path("@STATE@")

if sys.argv[1:] == ["-s", "reload"]:
    (STATE / "entered").touch()
    while (STATE / "hold").exists():
        time.sleep(0.01)
    with (STATE / "reloads").open("a") as log:
        log.write("nginx -s reload\n")
os.execv("@NGINX@", ["nginx", "-e", f"{STATE}/nginx.log", "-c", f"{STATE}/nginx.conf", *sys.argv[1:]])
