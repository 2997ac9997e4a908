"""What measures, in numpy, without torch: metrics, protocols, occluders, occluded test sets, latency."""
