"""Long jobs that use every room: benchmark and demo. They may import everything but the cli."""
