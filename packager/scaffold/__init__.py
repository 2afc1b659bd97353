"""What `pack init` writes: a project that trains, registers and packs a model as it stands."""
