"""Studies of what matters: each trains what must be trained, samples, measures, and reports."""
