"""Files by which others' platforms serve a bundle: one module a platform, each with a function `files`."""
