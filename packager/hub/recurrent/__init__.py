"""Recurrent layers by a Scan over single steps: one cell a file."""
