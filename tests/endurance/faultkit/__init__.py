"""What the endurance tests share: frames, a tiny model, counts of resources, records of writes, damaged pictures."""
