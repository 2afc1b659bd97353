"""Scoring a file of any size by a bundle: in chunks, on all cores or on a cluster, going on where it stopped."""
