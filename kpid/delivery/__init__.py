"""Outbox to receivers: claim, send, remember."""
