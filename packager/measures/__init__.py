"""What is measured of a shipped file, in the worker that made it: one quantity a file."""
