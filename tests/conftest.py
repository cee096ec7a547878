"""One thread for each test process: several that share two cores only wait for each other's threads."""

import os

# Before torch is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
