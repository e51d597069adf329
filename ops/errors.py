"""What can be wrong on this machine or in its settings; each message says what to do."""

from __future__ import annotations

from collections.abc import Sequence


class OpsError(Exception):
    """The root of this package's errors; the CLI prints the message and exits with 1."""


class EmbeddedStoreFailed(OpsError):
    """An embedded server did not start: its log says why. Free the folder, or give a URL in the settings instead."""


class SettingsWrong(OpsError):
    """Something in `mend.toml` or in a `MEND_…` variable is wrong; each of `problems` is a sentence with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DataFolderUnusable(OpsError):
    """The data folder cannot be made or written: change its owner, or set `data.folder`."""


class AlreadyRunning(OpsError):
    """Another `mend up` has this data folder: stop it, or set another `data.folder`."""


class NotRunning(OpsError):
    """A command needs a running `mend up` or the URLs of its stores, and there is neither."""


class CommandFailed(OpsError):
    """A command was understood and could not do what it was asked; the message says why."""


class NoSuchApproval(CommandFailed):
    """No approval has this id: `mend approvals ls` lists those that wait."""


class NoSuchIncident(CommandFailed):
    """No incident has this id: `mend incidents ls` lists them."""


class NoSuchProblem(CommandFailed):
    """No incident was ever about this anomaly key or incident key: `mend incidents show ID` tells of what one is."""


class NoSuchEntry(CommandFailed):
    """The knowledge base has no entry with this id: `mend knowledge search WORDS` lists those that there are."""


class NotAllowed(OpsError):
    """This person may not do this, or has not proved to be that person; the message says what would."""


class PortTaken(OpsError):
    """A port that the settings name cannot be listened on: free it, or set another."""


class NoCluster(OpsError):
    """There is neither a Kubernetes cluster nor a host to heal: name one in the settings, or try `--sandbox`."""


class PartitionsChanged(OpsError):
    """`redis.partitions` is not what it was when the first event came; the message says what it was."""


class StoppedEarly(OpsError):
    """The process was told to stop before it had found its stores and its clusters."""


class StageCrashed(OpsError):
    """A stage ended by an exception that nobody expected; the log has its traceback, and a supervisor should start it again."""
