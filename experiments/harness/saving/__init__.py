"""Checkpoints, event files, and the session that a command is."""
