"""A character language model: an RNN that learns text by truncated BPTT.

    python -m experiments.char_lm [--dataset english | --text-file PATH] [--methods vanilla lstm]
    python -m experiments.char_lm --sample 500 --prompt "ROMEO" --temperature 0.8

One-hot characters in, softmax out; streams run through the training split and hand their carry from
one batch to the next. Cross-entropy in nats a character; perplexity is its exponential, and bits
per character are loss / ln 2.
"""
