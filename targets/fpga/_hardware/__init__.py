"""From a stream core to a bitstream: simulation, interfaces of boards, synthesis, place and route, and estimates."""
