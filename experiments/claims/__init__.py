"""What the README and the documentation say of results, written from the results.json files.

    python -m experiments.claims        rewrites these, and nothing else:

    README.md                  the list of claims
    docs/results/claims.md     the claims, a section each
    docs/troubleshooting.md    symptoms, causes and first aid
    docs/**/*.md               what stands between <!-- NAME: begin --> and <!-- NAME: end -->

Every measured number comes from a file under figures/, every duration from the catalogue.
"""
