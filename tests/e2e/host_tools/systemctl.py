"""Stands in for systemctl on the test's host: a unit is a real process, its state is read from /proc, its files lie in @STATE@.

units/NAME.json   what it runs, on which port it serves, its pid, its invocation, and other properties as `show` prints them;
                  one of type `oneshot` is run to its end by a restart
hold              while it is there, a restart waits before it does anything, having made `entered`
over              the test has ended: a restart that still waits must not start anything
broken            while it is there, a restart stops the unit and fails to start it
denied            while it is there, a restart changes nothing and fails
silent            while it is there, `show` never answers
"""

import fnmatch
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = Path("@STATE@")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("the stand-in waited for too long")
        time.sleep(0.01)


def is_serving(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def show(names: list[str], properties: list[str]) -> None:
    if (STATE / "silent").exists():
        wait_until(lambda: not (STATE / "silent").exists())
    files = {file.stem: file for file in sorted((STATE / "units").glob("*.json"))}
    blocks = []
    for name in names:
        matched = fnmatch.filter(files, name) if "*" in name else [name if "." in name else f"{name}.service"]
        blocks += [block(unit, files.get(unit), properties) for unit in matched]
    print("\n\n".join(blocks))


def block(name: str, file: Path | None, properties: list[str]) -> str:
    if file is None:
        values = {"Id": name, "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "InvocationID": ""}
    else:
        unit: dict[str, Any] = json.loads(file.read_text())
        active, sub, result = state(unit)
        values = {
            "Id": name,
            "LoadState": unit["load"],
            "ActiveState": active,
            "SubState": sub,
            "Type": unit["type"],
            "Result": result,
            "ExecMainCode": "0" if unit["status"] is None else "1",
            "ExecMainStatus": str(unit["status"] or 0),
            "RemainAfterExit": "yes" if unit["stays"] else "no",
            "TriggeredBy": unit["triggered_by"],
            "InvocationID": unit["invocation"],
            "StateChangeTimestamp": "Mon 2024-01-01 00:00:00 UTC",
            "StateChangeTimestampMonotonic": f"{unit['changed']}{int(active == 'active')}",
            "NRestarts": str(unit["restarts"]),
            "RequiredBy": unit["required_by"],
        }
    return "\n".join(f"{key}={values[key]}" for key in properties if key in values)


def state(unit: dict[str, Any]) -> tuple[str, str, str]:
    """Active, sub and result. What serves and is gone has crashed; what runs to its end is as it ended."""
    if is_alive(unit["pid"]):
        return "active", "running", "success"
    if unit["status"] == 0:
        return ("active", "exited", "success") if unit["stays"] else ("inactive", "dead", "success")
    return ("failed", "failed", "exit-code") if unit["invocation"] else ("inactive", "dead", "success")


def restart(name: str) -> int:
    file = STATE / "units" / f"{name}.json"
    if not file.exists():
        print(f"Failed to restart {name}: Unit {name} not found.", file=sys.stderr)
        return 5
    if (STATE / "denied").exists():
        print(f"Failed to restart {name}: Interactive authentication required.", file=sys.stderr)
        return 1
    (STATE / "entered").touch()
    wait_until(lambda: not (STATE / "hold").exists())
    if (STATE / "over").exists():
        return 1
    unit = json.loads(file.read_text())
    if is_alive(unit["pid"]):
        os.kill(unit["pid"], signal.SIGTERM)
        wait_until(lambda: not is_alive(unit["pid"]))
    unit |= {"invocation": uuid.uuid4().hex, "changed": time.monotonic_ns() // 1000, "pid": 0}
    failed = (STATE / "broken").exists()
    null = subprocess.DEVNULL
    if not failed and unit["type"] == "oneshot":
        unit["status"] = subprocess.run(unit["command"], stdin=null, stdout=null, stderr=null, check=False).returncode
        failed = unit["status"] != 0
    elif not failed:
        unit["pid"] = subprocess.Popen(unit["command"], start_new_session=True, stdin=null, stdout=null, stderr=null).pid
        wait_until(lambda: is_serving(unit["port"]))
    file.write_text(json.dumps(unit))
    with (STATE / "restarts").open("a") as log:
        log.write(f"{name}\n")
    if failed:
        print(f"Job for {name} failed because the control process exited with error code.", file=sys.stderr)
    return int(failed)


def reload(name: str) -> int:
    """Only nginx can: by the command that its unit names."""
    (STATE / "entered").touch()
    wait_until(lambda: not (STATE / "hold").exists())
    with (STATE / "reloads").open("a") as log:
        log.write(f"systemctl reload {name}\n")
    return subprocess.run(["nginx", "-s", "reload"], check=False).returncode


verb, arguments = sys.argv[1], sys.argv[2:]
if verb == "reload":
    sys.exit(reload(arguments[0]))
if verb == "restart":
    sys.exit(restart(arguments[0]))
wanted = next(word for word in arguments if word.startswith("--property=")).removeprefix("--property=").split(",")
show([word for word in arguments if not word.startswith("-")], wanted)
