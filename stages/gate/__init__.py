"""gate: decides who must agree before an action may run, and counts their signatures.

`policy` is the rule book as pure functions, `proposals` applies it, `signing` counts votes, `ending` lets time and the end of
an incident take back what still waits.
"""

from __future__ import annotations

from stages.gate.options import Cooldown, FreezeWindow, GateOptions, RiskTable, SignatureTable
from stages.gate.stage import Gate
from stages.gate.votes import VoteKeys, sign_vote

__all__ = ["Cooldown", "FreezeWindow", "Gate", "GateOptions", "RiskTable", "SignatureTable", "VoteKeys", "sign_vote"]
