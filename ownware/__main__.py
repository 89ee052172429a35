"""`python -m ownware` is the `ownware` command."""

from ownware.cli import main

if __name__ == "__main__":
    main()
