"""Stands in for docker on the test's host. What it knows lies in @STATE@, and it really acts on that.

containers/NAME.json   a container; a restart gives it a new start time. `project` and `service` are its compose labels
docker/                the data root, with the containers' log files
images, volumes        names of images without a name, and of volumes that no container uses, one a line
hold                   while it is there, what changes something waits before it does anything, having made `entered`
away                   while it is there, the daemon does not answer, and this is what is said of it
failing                while it is there, a prune deletes the first half and then fails
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

STATE = Path("@STATE@")
FOLDER = STATE / "containers"


def fail(text: str, status: int = 1) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(status)


def wait() -> None:
    (STATE / "entered").touch()
    deadline = time.monotonic() + 30
    while (STATE / "hold").exists():
        if time.monotonic() > deadline:
            fail("the stand-in waited for too long")
        time.sleep(0.01)
    if (STATE / "over").exists():
        sys.exit(1)


def containers() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]


def find(word: str) -> dict[str, Any] | None:
    return next((one for one in containers() if word in (one["id"], one["name"].removeprefix("/"))), None)


def restart(container: dict[str, Any]) -> None:
    container |= {"status": "running", "started": datetime.now(UTC).isoformat()}
    (FOLDER / f"{container['name'].removeprefix('/')}.json").write_text(json.dumps(container))
    with (STATE / "restarted").open("a") as log:
        log.write(f"{container['name'].removeprefix('/')}\n")


def of_service(folder: str, service: str) -> list[dict[str, Any]]:
    project = Path(folder).name
    services = (Path(folder) / "services").read_text().split() if (Path(folder) / "services").exists() else []
    if not services:
        fail("no configuration file provided: not found", 14)
    if service not in services:
        fail(f"no such service: {service}")
    return [one for one in containers() if (one["project"], one["service"]) == (project, service)]


def compose(folder: str, verb: str, words: list[str]) -> None:
    if verb == "config":
        print((Path(folder) / "services").read_text())
    elif verb == "ps":
        print("\n".join(one["id"] for one in of_service(folder, words[0])))
    elif verb == "restart":
        wait()
        for one in of_service(folder, words[0]):
            restart(one)
    else:
        fail(f"unknown docker command: compose {verb}")


def lines(name: str) -> list[str]:
    return (STATE / name).read_text().split() if (STATE / name).exists() else []


def prune(kind: str) -> None:
    wait()
    gone = []
    for name in ("volumes",) if kind == "volume" else ("images",):
        known = lines(name)
        kept = known[len(known) // 2 :] if (STATE / "failing").exists() else []
        gone += [one for one in known if one not in kept]
        (STATE / name).write_text("\n".join(kept))
    if kind == "system":
        for one in containers():
            if one["status"] in ("exited", "created", "dead"):
                (FOLDER / f"{one['name'].removeprefix('/')}.json").unlink()
                gone.append(one["name"])
    if (STATE / "failing").exists():
        fail("Error response from daemon: a prune operation is already running")
    print("Deleted:", *gone, "\nTotal reclaimed space: 42MB", sep="\n")


def inspect(form: str, names: list[str]) -> int:
    failed = False
    for name in names:
        container = find(name)
        if container is None:
            print(f"Error: No such container: {name}", file=sys.stderr)
            failed = True
        elif ".LogPath" in form:
            print(json.dumps({key: container[key] for key in ("id", "log", "driver")}))
        else:
            print(json.dumps({key: value for key, value in container.items() if key not in ("log", "driver")}))
    return int(failed)


verb, options = sys.argv[1], [word for word in sys.argv[2:] if word.startswith("-")]
names = [word for word in sys.argv[2:] if not word.startswith("-")]
if (STATE / "away").exists():
    fail((STATE / "away").read_text())
if verb == "compose":
    if sys.argv[2] != "--project-directory":
        fail("the folder must be named")
    compose(names[0], names[1], names[2:])
elif verb == "ps":
    wanted = [option.removeprefix("--filter=status=") for option in options if option.startswith("--filter=status=")]
    print("\n".join(one["name"].removeprefix("/") for one in containers() if not wanted or one["status"] in wanted))
elif verb in ("image", "volume", "system") and names[0] == "prune":
    if "-f" not in options:
        fail("there is no terminal to ask on")
    prune(verb)
elif verb in ("image", "volume") and names[0] == "ls":
    print("\n".join(lines(f"{verb}s")))
elif verb == "restart":
    wait()
    for name in names:
        container = find(name)
        if container is None:
            fail(f"Error: No such container: {name}")
        restart(container)
        print(name)
elif verb == "inspect":
    sys.exit(inspect(next(option for option in options if option.startswith("--format=")), names))
else:
    fail(f"docker: '{verb}' is not a docker command.")
