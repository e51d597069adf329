"""What people run: the CLI, settings, logging, the wiring of a process and the sandbox."""
