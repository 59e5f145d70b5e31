"""optillm's proxy as a process of its own, with our plugin in its folder of plugins."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

__all__ = ["Proxy"]

#: All that a user has to write.
PLUGIN = "from rtsearch_fast.adapters.optillm import SLUG, run\n"


class Proxy:
    """Runs from `with` to its end.

    Parameters
    ----------
    base_url : str
        Of the model's server.
    folder : Path
        An empty folder, for the plugin and the log.
    *arguments
        Further arguments of the proxy.

    Attributes
    ----------
    url : str
    log : Path
    """

    def __init__(self, base_url: str, folder: Path, *arguments: str) -> None:
        plugins = folder / "optillm" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "rtsearch_plugin.py").write_text(PLUGIN)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self.log = folder / "log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RTSEARCH_")}
        # no server but ours is asked for anything
        environment |= {"OPENAI_API_KEY": "none", "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
        flags = ["--base-url", base_url, "--plugins-dir", str(folder), "--port", str(port)]
        code = "import sys; sys.path.pop(0); from optillm import main; main()"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, *flags, *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Proxy:
        deadline = time.monotonic() + 300  # it imports half of what is installed
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self.url.replace("/v1", "/health"), timeout=5):
                    return self
            except URLError:
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"optillm's proxy did not start:\n{self.log.read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
