"""A server of one bundle as a container: a build context, an inventory, and the image where its base is given."""
