"""A real `transformers serve` on this machine, with the sample model."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.judges.scripted import kept_port

ROOT = Path(__file__).parents[2]
MODEL = "samples/models/base"


@contextmanager
def transformers_serve(log: Path) -> Iterator[str]:
    """The address of a server that answers with the sample model, as it stands relative to the root."""
    with kept_port() as port, _serving(port, log):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def _serving(port: int, log: Path) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name("transformers")), "serve", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
