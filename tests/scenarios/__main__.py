"""`python -m tests.scenarios [NAME…]`: runs the scenarios, prints the table, writes docs/scenarios.md when all were run."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.sshd import SSHD
from tests.scenarios.load import address
from tests.scenarios.run import catalogue, play
from tests.scenarios.scenario import Result
from tests.scenarios.table import page, plain

_PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"
_BAD = (Result.WRONG, Result.MISSED)


def main() -> None:
    kubeconfig = os.environ.get("MEND_TEST_KUBECONFIG", "")
    if not kubeconfig:
        sys.exit("MEND_TEST_KUBECONFIG is not set: start a control plane and name its kubeconfig")
    wanted = sys.argv[1:]
    names = [name for name in catalogue() if not wanted or any(word in name for word in wanted)]
    if SSHD is None and any(catalogue()[name].host for name in names):
        sys.exit("sshd is not installed, and some scenarios play on a host: apt-get install openssh-server")
    if not address() and any(catalogue()[name].metrics for name in names):
        sys.exit("this machine has loopback addresses only, and some scenarios serve metrics to the control plane: give it another one")
    reports = list(asyncio.run(play(names, kubeconfig)).values())
    print(plain(reports))
    if not wanted:
        _PAGE.write_text(page(reports, datetime.now(UTC)), "utf-8")
    sys.exit(any(one.result in _BAD for one in reports))


if __name__ == "__main__":
    main()
