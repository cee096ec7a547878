"""The machine's load: utilisation and memory of GPUs and processors, and the energy used."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import pynvml


class Sensors:
    """Reads the devices. Make one object, since the counters measure from one reading to the next."""

    def __init__(self) -> None:
        self._gpus: list[Any] = []
        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._gpus = [
                pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(pynvml.nvmlDeviceGetCount())
            ]
        psutil.cpu_percent()

    def read(self) -> list[dict[str, Any]]:
        """One row per device: utilisation from 0 to 1, memory in bytes; watts and °C if reported."""
        return list(self._read_gpus()) if self._gpus else [_processor()]

    @property
    def gpus(self) -> list[str]:
        """The names of the GPUs as the driver gives them, such as "NVIDIA H200"."""
        return [_text(pynvml.nvmlDeviceGetName(gpu)) for gpu in self._gpus]

    @property
    def driver(self) -> str:
        """The version of the GPUs' driver; empty without GPUs."""
        return _text(pynvml.nvmlSystemGetDriverVersion()) if self._gpus else ""

    def _read_gpus(self) -> Iterator[dict[str, Any]]:
        for place, gpu in enumerate(self._gpus):
            row: dict[str, Any] = {"device": f"GPU {place}", "updated": time.time()}
            row |= dict.fromkeys(("utilisation", "memory_used", "memory_total", "power_w", "temperature_c"))
            with suppress(pynvml.NVMLError):
                row["utilisation"] = pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100
            with suppress(pynvml.NVMLError):
                memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
                row |= {"memory_used": int(memory.used), "memory_total": int(memory.total)}
            with suppress(pynvml.NVMLError):
                row["power_w"] = pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000
            with suppress(pynvml.NVMLError):
                row["temperature_c"] = float(
                    pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
                )
            yield row


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _processor() -> dict[str, Any]:
    memory = psutil.virtual_memory()
    return {
        "device": "CPU",
        "utilisation": psutil.cpu_percent() / 100,
        "memory_used": int(memory.total - memory.available),
        "memory_total": int(memory.total),
        "power_w": None,
        "temperature_c": None,
        "updated": time.time(),
    }


EVERY = 0.2  # seconds between two looks at the memory
NO_GPU = "no NVIDIA GPU of this machine answered"
NO_ENERGY = "the GPU does not report its energy"


@dataclass(slots=True)
class DeviceUse:
    """GPU use of this machine while something ran, including other programs.

    `peak_memory` in bytes, of all GPUs together; `energy_j` in joules. An unreported value is None, with its
    reason. `load` is the machine's load average of the minute before, to be held against its `cores`.
    """

    peak_memory: int | None = None
    energy_j: float | None = None
    reason: str | None = NO_GPU
    energy_reason: str | None = NO_GPU
    load: float | None = None
    cores: int | None = None

    def added(self, before: dict[str, Any] | None) -> dict[str, Any]:
        """This and what an earlier part of the same work took, as JSON values."""
        found = asdict(self)
        if not before:
            return found
        peaks = [peak for peak in (self.peak_memory, before.get("peak_memory")) if peak is not None]
        energies = [one for one in (self.energy_j, before.get("energy_j")) if one is not None]
        loads = [one for one in (self.load, before.get("load")) if one is not None]
        return found | {
            "peak_memory": max(peaks, default=None),
            "energy_j": sum(energies) or None,
            "load": max(loads, default=None),
        }


@contextmanager
def device_use() -> Iterator[DeviceUse]:
    """Watches the GPUs while its block runs; the figures are there when it ends, in error too."""
    use = DeviceUse(load=round(os.getloadavg()[0], 1), cores=os.cpu_count())
    gpus = _gpus()
    if not gpus:
        yield use
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(gpus, use, over), name="device-use", daemon=True)
    before = _energy(gpus)
    watcher.start()
    try:
        yield use
    finally:
        over.set()
        watcher.join()
        after = _energy(gpus)
        use.energy_j = None if before is None or after is None else after - before
        use.energy_reason = NO_ENERGY if use.energy_j is None else None


def _gpus() -> list[Any]:
    """The GPUs that this process may use."""
    return list(_numbered().values())


def _numbered() -> dict[int, Any]:
    """The GPUs that this process may use, by number: CUDA_VISIBLE_DEVICES by number narrows them down."""
    gpus: list[Any] = []
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(pynvml.nvmlDeviceGetCount())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return dict(enumerate(gpus))
    numbers = [int(name) for name in visible.split(",") if name.strip().isdecimal()]
    return {number: gpus[number] for number in numbers if number < len(gpus)}


def gpu_memory() -> dict[int, tuple[int, int]]:
    """The free and the whole memory in bytes of each GPU that this process may use, by its number.

    A GPU that does not tell is left out.
    """
    found = {}
    for number, gpu in _numbered().items():
        with suppress(pynvml.NVMLError):
            memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
            found[number] = (int(memory.free), int(memory.total))
    return found


def _watch(gpus: list[Any], use: DeviceUse, over: threading.Event) -> None:
    while True:
        with suppress(pynvml.NVMLError):
            used = sum(int(pynvml.nvmlDeviceGetMemoryInfo(gpu).used) for gpu in gpus)
            use.peak_memory, use.reason = max(used, use.peak_memory or 0), None
        if over.wait(EVERY):
            return


def _energy(gpus: list[Any]) -> float | None:
    """Joules since the driver was loaded, of all GPUs; None where one does not tell."""
    try:
        return float(sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) for gpu in gpus)) / 1000
    except pynvml.NVMLError:
        return None
