"""What the experiments share.

recipe.py says how a method trains, jax_backend.py and torch_backend.py carry it out, runner.py
drives them through the epochs, results.py writes what was measured, figures.py and report.py show
it, cli.py reads the command line.
"""
