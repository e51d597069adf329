"""Hosts over SSH: looked at with ordinary tools, restarted by validated names, never spoken to in shell text."""
