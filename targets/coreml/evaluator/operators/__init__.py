"""One small function for each MIL operator; a file for each family. The file's decorators register them."""
