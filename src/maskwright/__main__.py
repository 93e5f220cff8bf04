"""`python -m maskwright` is `maskwright`."""

from maskwright.cli import entry

if __name__ == "__main__":
    entry()
