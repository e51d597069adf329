"""Stands in for nginx on the test's host: what it serves is the text of @STATE@/nginx.conf when it was last told to reload.

nginx.conf   the configuration; one with the word `broken` in it does not pass the test
nginx.pid    is there while nginx runs
serving      what it serves now
hold         while it is there, a reload waits, having made `entered`
"""

import sys
import time
from pathlib import Path

STATE = Path("@STATE@")


def main(arguments: list[str]) -> int:
    conf = (STATE / "nginx.conf").read_text()
    if "broken" in conf:
        print('nginx: [emerg] unknown directive "broken" in /etc/nginx/nginx.conf:1', file=sys.stderr)
        return 1
    if arguments == ["-t"]:
        print("nginx: configuration file /etc/nginx/nginx.conf test is successful", file=sys.stderr)
        return 0
    if arguments != ["-s", "reload"]:
        return 2
    if not (STATE / "nginx.pid").exists():
        print('nginx: [error] invalid PID number "" in "/run/nginx.pid"', file=sys.stderr)
        return 1
    (STATE / "entered").touch()
    while (STATE / "hold").exists():
        time.sleep(0.01)
    (STATE / "serving").write_text(conf)
    with (STATE / "reloads").open("a") as log:
        log.write("nginx -s reload\n")
    return 0


sys.exit(main(sys.argv[1:]))
