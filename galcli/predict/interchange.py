"""Parsl's interchange, which ends with the process that started it: ``python -m galcli.predict.interchange PID``.

Left to itself, it and all workers would go on for ever after a driver that was killed. Without it, the workers end.
Signals to the driver's process group are the driver's: it needs the interchange to end in order.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time

#: Seconds between two looks at the parent.
POLL = 1.0


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(0)


if __name__ == "__main__":
    os.setsid()
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__")
