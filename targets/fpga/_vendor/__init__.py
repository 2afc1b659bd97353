"""Projects for the vendors' compilers, written by hls4ml, proved by g++ and synthesised where the compiler is."""
