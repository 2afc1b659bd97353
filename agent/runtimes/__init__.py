"""One module a runtime; its name is what a manifest's ``runtime.kind`` says. The protocol stands in `_runtime`.

Imported by applications, by the self-test, and by the packager's targets to run what they ship. The daemon imports
nothing here.
"""
