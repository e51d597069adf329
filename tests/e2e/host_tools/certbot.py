"""Stands in for certbot on the test's host: @STATE@/certificates has a file for each, whose text is `due` or `fresh`.

hold      while it is there, a renewal waits, having made `entered`
failing   while it is there, the last certificate that is due is not renewed, and certbot fails
"""

import sys
import time
from pathlib import Path

STATE = Path("@STATE@")

if sys.argv[1:] == ["--version"]:
    print("certbot 2.1.0")
    sys.exit(0)
if sys.argv[1:] != ["renew", "-n", "--no-random-sleep-on-renew"]:
    sys.exit("there is no terminal to ask on, and nobody sleeps here")
(STATE / "entered").touch()
while (STATE / "hold").exists():
    time.sleep(0.01)
with (STATE / "renewals").open("a") as log:
    log.write("renew\n")
due = [file for file in sorted((STATE / "certificates").iterdir()) if file.read_text() == "due"]
failing = due[-1:] if (STATE / "failing").exists() else []
for file in due:
    if file not in failing:
        file.write_text("fresh")
if failing:
    print(f"Failed to renew certificate {failing[0].name}: urn:ietf:params:acme:error:unauthorized", file=sys.stderr)
    sys.exit(1)
print(f"Congratulations, all renewals succeeded: {len(due)}" if due else "No renewals were attempted.")
