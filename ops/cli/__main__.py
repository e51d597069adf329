"""`python -m ops.cli` is `mend`."""

from ops.cli import main

main()
