"""The texts of language models, and what is measured of a model of them."""
