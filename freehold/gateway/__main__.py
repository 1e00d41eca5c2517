"""`python -m freehold.gateway --listen-fd N --serving DIR --control URL`: one gateway process by hand."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

from freehold.errors import Failure
from freehold.gateway.run import run


def main() -> int:
    """Serve on the inherited socket; prints `ready` once connections are accepted."""
    parser = argparse.ArgumentParser(prog="freehold.gateway", description="one gateway process")
    parser.add_argument("--listen-fd", type=int, required=True, help="the listening socket, handed down")
    parser.add_argument("--serving", type=Path, required=True, help="the folder of the serving zone")
    parser.add_argument("--control", required=True, help="the URL of control")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        run(
            listen=socket.socket(fileno=options.listen_fd),
            serving=options.serving.resolve(),
            control=options.control,
            ready=lambda: print("ready", flush=True),
        )
    except Failure as failure:
        print(f"freehold gateway: {failure}", file=sys.stderr)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
