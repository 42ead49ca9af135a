"""Loads a configuration in a process of its own, so that a reload never delays an answer."""

import asyncio
import pickle
import sys
from pathlib import Path

from sidecar.config.load import Loaded, load
from sidecar.config.secrets import Resolve


async def load_in_child(directory: Path, resolve: Resolve) -> Loaded:
    """What `load` gives, computed elsewhere. Raises RuntimeError when the child dies."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar.config.child", str(directory), resolve.name, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"the process that reads the configuration ended with {child.returncode}")
    loaded: Loaded = pickle.loads(output)
    return loaded


if __name__ == "__main__":
    pickle.dump(load(Path(sys.argv[1]), resolve=Resolve[sys.argv[2]]), sys.stdout.buffer)
