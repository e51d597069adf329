"""Playbooks as a source of proposals: which one fits an incident, how much and why, and the typed action that it says."""

from stages.propose.playbooks.source import PlaybookSource

__all__ = ["PlaybookSource"]
