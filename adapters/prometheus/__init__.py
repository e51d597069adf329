"""Prometheus: metrics of a target before and after, what is usual for them, and whether an alert still holds. It only reads."""
