"""One module for each family of operators; each small function emits one."""
