"""How fast a character language model trains, and what it costs to look inside a network.

    python -m experiments.analysis_speed

Training steps of jaxrnn against torch_ref; and observing states, their gradients, saturation and
dead units against the ordinary gradient of the same network. All take turns within a round; what
counts are ratios within a round, their median and quartiles.
"""
