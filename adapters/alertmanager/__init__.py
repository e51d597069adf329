"""Alertmanager: the webhook that it sends, and its API that says what still fires."""
