"""Why recurrent networks break, in five figures: where gradients go, and what training makes of it.

    python -m experiments.gradient_analysis [--quick]

    rnn_training_analysis             a vanilla network learns text
    gradient_flow_analysis            the gradient on its way back: lengths, networks, rates
    weight_initialization_analysis    the same by how W_hh begins
    sequence_length_analysis          loss, gradient norm and time against T
    gradient_clipping_analysis        SGD with and without clipping

results.json has every panel's points by figure, panel and name.
"""
