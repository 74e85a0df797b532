"""What a checkpoint every 500 steps costs, as a share of the training between two of them.

    python -m experiments.checkpoint_cost

The IRNN on the adding problem, as its experiment trains it; each chunk of steps is timed, and then
the checkpoint that follows it, so that a slow moment of the machine meets both.
"""
