"""Debian's Chromium, without a window, steered by its DevTools protocol."""

import asyncio
import itertools
import json
import subprocess
from base64 import b64decode
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.acceptance.parts import PartFailed, installed

#: Seconds until a wait gives up.
_LIMIT = 20.0

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
          "--disable-background-networking", "--remote-debugging-port=0")  # fmt: skip


class Browser:
    """One tab; `async with` starts and ends it. `said` is what its console said, errors and refusals included."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "chromium"
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.said: list[str] = []

    async def __aenter__(self) -> Self:
        command = [installed("chromium", "chromium"), *_FLAGS, f"--user-data-dir={self._directory}", "about:blank"]
        self._directory.mkdir()
        async with AsyncExitStack() as stack:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.push_async_callback(self._end)
            self._client = await stack.enter_async_context(aiohttp.ClientSession())
            self._socket = await self._client.ws_connect(await self._tab(), max_msg_size=0)
            listening = asyncio.create_task(self._listen())
            stack.callback(listening.cancel)
            for domain in ("Page", "Runtime", "Log"):
                await self.do(f"{domain}.enable")
            await self.do("Emulation.setFocusEmulationEnabled", enabled=True)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol; its result."""
        number = next(self._numbers)
        coming = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(coming, _LIMIT)
        if "error" in answer:
            raise PartFailed(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Goes there, and returns when the page is loaded."""
        self._loaded.clear()
        await self.do("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), _LIMIT)

    async def run(self, expression: str) -> Any:
        """What a script's expression comes to; it may be a promise."""
        result = await self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                               userGesture=True)  # fmt: skip
        if "exceptionDetails" in result:
            raise PartFailed(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        """The text of the first element, as it is seen."""
        return str(await self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def until(self, expression: str) -> None:
        """Until it is true."""
        end = asyncio.get_running_loop().time() + _LIMIT
        while not await self.run(expression):
            if asyncio.get_running_loop().time() > end:
                raise PartFailed(f"not reached in {_LIMIT:.0f} s: {expression}; the page says: {await self.text()}")
            await asyncio.sleep(0.05)

    async def submit(self, selector: str) -> None:
        """Sends a form off, and returns when the answer is loaded."""
        self._loaded.clear()
        await self.run(f"document.querySelector({json.dumps(selector)}).requestSubmit()")
        await asyncio.wait_for(self._loaded.wait(), _LIMIT)

    async def size(self, width: int, height: int = 900) -> None:
        await self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                      mobile=width < 600)  # fmt: skip

    async def prefer(self, scheme: str) -> None:
        """`light` or `dark`."""
        await self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def scripts(self, on: bool) -> None:
        """Whether pages that are opened from now on may run their scripts."""
        await self.do("Emulation.setScriptExecutionDisabled", value=not on)

    async def shoot(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = await self.do("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(b64decode(shot["data"]))

    async def _tab(self) -> str:
        """The address of the tab's protocol, as soon as Chromium has written its port."""
        file = self._directory / "DevToolsActivePort"
        end = asyncio.get_running_loop().time() + _LIMIT
        while asyncio.get_running_loop().time() < end:
            if file.exists() and (port := file.read_text().split("\n")[0]):
                async with self._client.get(f"http://127.0.0.1:{port}/json") as answer:
                    for each in await answer.json():
                        if each["type"] == "page":
                            return str(each["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)
        raise PartFailed(f"chromium did not start: its exit status is {self._process.poll()}")

    async def _end(self) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, _LIMIT)

    async def _listen(self) -> None:
        async for message in self._socket:
            fact = message.json()
            if "id" in fact:
                self._answers.pop(fact["id"]).set_result(fact)
            elif fact["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif fact["method"] == "Log.entryAdded":
                self.said.append(fact["params"]["entry"]["text"])
            elif fact["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.said.append(json.dumps(fact["params"]))
