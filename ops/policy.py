"""The policy of the gate, as the settings name it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ops.errors import SettingsWrong

if TYPE_CHECKING:
    from ops.settings import Settings
    from stages.failure_watch.valves import Valves
    from stages.gate.rules import Policy


def policy_of(settings: Settings) -> Policy:
    """The policy that `gate.policy` names, else the one that comes with Mendstream. Raises SettingsWrong."""
    from stages.gate.policy_file import default_policy

    return read_file(Path(settings.gate.policy).expanduser()) if settings.gate.policy else default_policy()


def read_file(file: Path) -> Policy:
    """The policy in a file. Raises SettingsWrong with every fault, each with file and line."""
    from stages.gate.policy_file import PolicyWrong, read_policy

    try:
        return read_policy(file.read_text("utf-8"), str(file))
    except PolicyWrong as error:
        raise SettingsWrong(list(error.faults)) from None
    except UnicodeDecodeError:
        raise SettingsWrong([f"gate.policy: {file} is not UTF-8 text"]) from None
    except OSError as error:
        raise SettingsWrong([f"gate.policy: {file} cannot be read: {error.strerror}"]) from None


def valves_of(settings: Settings) -> Valves:
    """The cooldowns of the gate, for whoever asks them before the gate does."""
    from stages.failure_watch.valves import Limit, Valves

    gate = settings.gate
    anywhere, target = (Limit(actions=one.actions, seconds=one.seconds) for one in (gate.cooldown, gate.target_cooldown))
    return Valves(anywhere=anywhere, target=target)
