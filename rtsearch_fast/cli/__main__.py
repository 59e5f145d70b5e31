"""`python -m rtsearch_fast.cli`: the command as a module, which launchers of processes want."""

from . import main

if __name__ == "__main__":
    main()
