"""The process that keeps a server of a run: `python -P -m engine.servers PARENT COMMAND…`; see `keeper`."""

from engine.servers.keeper import main

if __name__ == "__main__":
    main()
