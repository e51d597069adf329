"""Stands in for journalctl on the test's host: prints @STATE@/journal; where `endless` lies beside it, without an end."""

import itertools
import sys
from pathlib import Path

FOLDER = Path("@STATE@")
text = (FOLDER / "journal").read_text()
for _ in itertools.count() if (FOLDER / "endless").exists() else range(1):
    sys.stdout.write(text)
