"""Runs the command `policygrad` as `python -m policygrad`."""

if __name__ == "__main__":
    import sys

    from policygrad.cli import main

    sys.exit(main())
