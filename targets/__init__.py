"""One module or folder per target; its file name is the target's name. The protocol stands in `targets._target`."""
