"""Recall streams: what was seen long ago is asked for, and the right answer is known exactly."""
