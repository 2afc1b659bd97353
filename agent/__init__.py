"""`pack-agent`: the daemon on the device, and the library that an application embeds."""
