"""Playbooks as a source of proposals: which one fits an incident, how much and why, and the typed action that it says."""
