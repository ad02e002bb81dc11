"""Run the command line from a bare checkout: `python cli.py train mnist`."""

from fastmlp.cli import main

if __name__ == "__main__":
    main()
