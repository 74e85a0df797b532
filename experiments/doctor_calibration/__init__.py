"""How often jaxrnn.diagnose is right, on networks whose condition is known.

    python -m experiments.doctor_calibration            diagnoses them all
    python -m experiments.doctor_calibration --train    sees which of them learn a recall task

Thresholds were chosen on the calibration set; the held-out set, of other families, was frozen
before. A network is judged right if its label is among the conditions found, and none that its
construction rules out is; see networks.py. Most networks are clearly healthy or clearly not. The
few near a line are in the calibration set: what is left of a signal is 1.3e-4 in one that learns
and 4.7e-5 in one that does not.
"""
