"""The languages that clients are written in: one module a language, named as the command line names it."""
