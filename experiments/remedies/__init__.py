"""Which remedy helps on which symptom? Every one, alone and in pairs, on networks that fail.

    python -m experiments.remedies [--quick]

Each symptom has a case (cases.py) that fails untreated from every seed; what
counts as a cure and as help is said in outcomes.py.
"""
