"""Jobs that use every room: benchmark, compare, inspect, demo. They may import everything but the cli."""
