"""Makes `python -m gcvit_cli` the command `gcvit`."""

from gcvit_cli.main import main

if __name__ == "__main__":
    main()
