"""What the endurance tests share: frames, a tiny model, counters of resources, recorders of writes, damaged pictures."""
