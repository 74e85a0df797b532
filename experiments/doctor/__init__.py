"""What is wrong with a run, why, and what to try first.

    python -m experiments.doctor --results figures/copy_task/results.json
    python -m experiments.doctor --checkpoint DIR

A results.json tells what the loss did; a checkpoint (--checkpoint-dir of an experiment) holds the
network itself, which is measured on fresh sequences of its task.
"""
