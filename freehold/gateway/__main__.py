"""`python -m freehold.gateway --listen-fd N --serving DIR --control URL`: one gateway process by hand."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

from freehold.errors import Failure
from freehold.gateway.run import run
from freehold.tls import Pair, trusting_as_said


def main() -> int:
    """Serve on the inherited socket; prints `ready` once connections are accepted."""
    parser = argparse.ArgumentParser(prog="freehold.gateway", description="one gateway process")
    parser.add_argument("--listen-fd", type=int, required=True, help="the listening socket, handed down")
    parser.add_argument("--serving", type=Path, required=True, help="the folder of the serving zone")
    parser.add_argument("--control", required=True, help="the URL of control")
    parser.add_argument("--control-ca", default="", help="the CA of an https control; else this machine's")
    parser.add_argument("--tls-certificate", type=Path, help="the certificate to show (PEM)")
    parser.add_argument("--tls-key", type=Path, help="its private key, readable by its owner alone")
    options = parser.parse_args()
    if (options.tls_certificate is None) != (options.tls_key is None):
        parser.error("--tls-certificate and --tls-key go together")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        pair = None
        if options.tls_certificate:
            pair = Pair(certificate=options.tls_certificate.absolute(), key=options.tls_key.absolute())
        run(
            listen=socket.socket(fileno=options.listen_fd),
            serving=options.serving.resolve(),
            control=options.control,
            ready=lambda: print("ready", flush=True),
            tls=pair,
            trust=trusting_as_said(options.control_ca) if options.control.startswith("https://") else None,
        )
    except Failure as failure:
        print(f"freehold gateway: {failure}", file=sys.stderr)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
