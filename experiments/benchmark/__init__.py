"""How fast is a training step, what does projecting cost, and how does either grow?

    python -m experiments.benchmark

1. Steps: full training steps (forward, backward, clip, Adam) of three tasks by every contender.
2. Projection: what each retraction adds to a step of the copy task.
3. Scaling: time and memory against T, N and B.

Contenders take turns within a round, warm, so that a slow moment of the machine meets all of them;
what counts are ratios within a round, their median and quartiles.
"""
