"""``python -m mmdisco``: the command line."""

from mmdisco.cli import main

if __name__ == "__main__":
    main()
