"""What every peer prints: its versions and the seconds of the load alone, without the imports."""

import json
import time
from contextlib import contextmanager
from importlib.metadata import version


@contextmanager
def timed(*packages):
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "versions": {name: version(name) for name in packages}}))
