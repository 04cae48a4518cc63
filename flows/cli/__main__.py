"""`python -m flows.cli`: the console script `sluice` without an installation."""

from flows.cli.main import main

if __name__ == "__main__":
    main()
