"""`python -m tests.chaos`: one storm, 30 minutes long unless told otherwise, judged; docs/reliability.md is written from it.

Without --page the page is printed and the file left alone. It ends with 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.storm.judgement import Judgement, judge, told
from tests.chaos.storm.page import PAGE, page
from tests.chaos.storm.run import Plan, Storm


async def main(plan: Plan, *, write: bool, logs: Path | None) -> Judgement:
    """Raises a storm, tells how it goes, and judges it."""
    async with Storm.raised(plan) as storm:
        telling = asyncio.create_task(_tell(storm))
        try:
            await storm.rage()
            found = await judge(storm)
        finally:
            telling.cancel()
            if logs is not None:
                shutil.copytree(storm.folder / "logs", logs, dirs_exist_ok=True)
        text = page(storm, found, command=command_of(sys.argv[1:]))
        if write:
            PAGE.write_text(text)
    print(text if not write else told(found.wrong) or "everything held")
    return found


def command_of(words: Sequence[str]) -> str:
    """The command as the page names it: without --logs, whose folder is of this machine."""
    places = [number for number, word in enumerate(words) if word == "--logs"]
    left = [word for number, word in enumerate(words) if number not in places and number - 1 not in places]
    return shlex.join(["python", "-m", "tests.chaos", *(word for word in left if not word.startswith("--logs="))])


async def _tell(storm: Storm) -> None:
    """A line every half a minute."""
    while True:
        await asyncio.sleep(30)
        waiting = {group: beat.waiting for group, beat in storm.pulse.beats.items() if beat.waiting}
        print(f"{len(storm.accepted):,} alerts, {sum(storm.killed.values())} killed, waiting: {waiting or 'nothing'}", flush=True)


def _plan(words: argparse.Namespace) -> Plan:
    return Plan(seed=words.seed, seconds=words.minutes * 60, alerts=words.alerts, every=words.every, plane=words.plane)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long alerts come in and blows fall")
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--every", type=float, default=8.0, help="seconds between two blows, about")
    parser.add_argument("--plane", type=int, default=12, help="Deployments on the control plane of MEND_TEST_KUBECONFIG")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--page", action="store_true", help="write docs/reliability.md")
    parser.add_argument("--logs", type=Path, default=None, help="a folder for what the processes wrote")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = _words()
    print(f"seed {chosen.seed}", flush=True)
    sys.exit(1 if asyncio.run(main(_plan(chosen), write=chosen.page, logs=chosen.logs)).wrong else 0)
