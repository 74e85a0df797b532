"""Which retraction, and how often? Accuracy, distance from the nearest, and training.

    python -m experiments.retractions

1. Accuracy: the orthogonality error of each retraction against the condition number of its input.
2. One step apart: how far QR lands from the nearest orthogonal matrix (polar), with the sign rule
   and without, along a projected run; and whether the determinant keeps its sign.
3. Training: the copy task with each retraction, projecting every step or every fifth.
"""
