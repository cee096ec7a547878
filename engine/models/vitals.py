"""What the machine is doing: each NVIDIA GPU where there is one, else processor and memory."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pynvml


class Sensors:
    """Reads the devices; made once, since the counters measure from one reading to the next."""

    def __init__(self) -> None:
        self._gpus: list[Any] = []
        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._gpus = [
                pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(pynvml.nvmlDeviceGetCount())
            ]
        psutil.cpu_percent()

    def read(self) -> list[dict[str, Any]]:
        """One row a device: utilisation from 0 to 1, memory in bytes; watts and °C where they are told."""
        return list(self._read_gpus()) if self._gpus else [_processor()]

    @property
    def gpus(self) -> list[str]:
        """The names of the GPUs as the driver gives them, such as "NVIDIA H200"."""
        return [_text(pynvml.nvmlDeviceGetName(gpu)) for gpu in self._gpus]

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
