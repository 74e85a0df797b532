"""What the experiments share.

recipe.py and schedule.py say how a method trains and for how long; jax_backend.py, torch_backend.py
and numpy_backend.py carry it out. runner.py trains a method from several seeds: training_loop.py
takes training_data.py through the epochs, records.py keeps what is measured. session.py saves
snapshots.py in checkpoints.py, takes signals, and writes events.py. results.py writes what was
measured; figures.py, report.py and evidence.py show it. cli.py reads the command line.
"""
