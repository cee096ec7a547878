"""Models spread over a Ray cluster's processors: the connection to it. A local run imports nothing here."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import CannotRun, install

LOCAL = "local"
KNOCK = 5.0  # seconds for the head of a cluster to take a connection


def connect(address: str) -> None:
    """Joins the cluster, or starts one here for "local"; once in a process. Raises CannotRun."""
    # Before Ray is imported: it asks for these then, and speaks to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise CannotRun('[compute] engine = "ray" needs the package ray', install("ray")) from error
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        quiet["include_dashboard"] = False
    try:
        _knock(address)
        with _signals_kept():
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CannotRun(
            f"no Ray cluster can be reached at {address!r}: {reason}",
            'Start one with `ray start --head`, name its head as "host:port", or write address = "local".',
        ) from error


def _knock(address: str) -> None:
    """Raises OSError when nothing answers at a host and port: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself, which to a run's worker means to pause."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
