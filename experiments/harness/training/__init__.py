"""Data, the loop over chunks of steps, and the runs that come of it."""
