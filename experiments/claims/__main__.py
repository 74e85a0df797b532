"""python -m experiments.claims: see experiments/claims/__init__.py."""

import argparse

from experiments import claims
from experiments.claims.site import written


def main(arguments: list[str] | None = None) -> None:
    """Write the pages."""
    description, _, details = (claims.__doc__ or "").partition("\n")
    argparse.ArgumentParser(
        prog="python -m experiments.claims",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    for path, text in written().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
