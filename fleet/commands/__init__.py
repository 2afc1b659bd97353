"""One file a command: read what was typed, call the library, print. Nothing heavy is imported before a command runs."""
