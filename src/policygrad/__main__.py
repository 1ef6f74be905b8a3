"""`python -m policygrad` is the command `policygrad`."""

if __name__ == "__main__":
    import sys

    from policygrad.cli import main

    sys.exit(main())
