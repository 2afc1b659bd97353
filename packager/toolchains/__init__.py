"""Environments for frameworks that are too heavy or too particular to stand beside ours, from locked lists of pins."""
