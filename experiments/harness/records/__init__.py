"""What was measured: results.json, a run on its way there, and how figures look."""
