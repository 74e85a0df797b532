"""What the experiments share: packages, each of which knows only those above it.

records/    results.json, what a run has measured on its way there, and how figures look
method/     how a method trains, and for how long
text/       the texts of language models, and what is measured of a model of them
backends/   the methods carried out by JAX, PyTorch and NumPy
saving/     checkpoints, event files, and the session that a command is
training/   data, the loop over chunks of steps, and the runs that it makes
running/    jobs, processes, timing, and what a terminal shows of them
command/    command lines
"""
