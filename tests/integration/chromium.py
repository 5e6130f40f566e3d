"""A real browser without a window, driven over its DevTools protocol: pages as people see them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

START_SECONDS = 60
ANSWER_SECONDS = 60
DESKTOP = (1280, 1600)
PHONE = (390, 844)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--hide-scrollbars", "--remote-debugging-port=0", "about:blank"),
)


class Browser:
    """One tab. `complaints` is what the browser put on its console: errors, refusals, exceptions."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def listen(self) -> None:
        """Take what the browser says until it hangs up."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
                continue
            parameters = told["params"]
            match told["method"]:
                case "Page.loadEventFired":
                    self._loaded.set()
                case "Log.entryAdded" if parameters["entry"]["level"] in ("warning", "error"):
                    self.complaints.append(parameters["entry"]["text"])
                case "Runtime.consoleAPICalled" if parameters["type"] in ("warning", "error", "assert"):
                    self.complaints.append(str(parameters["args"]))
                case "Runtime.exceptionThrown":
                    self.complaints.append(str(parameters["exceptionDetails"]))

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        told = await asyncio.wait_for(answer, ANSWER_SECONDS)
        assert "result" in told, f"{method}: {told.get('error')}"
        result: dict[str, Any] = told["result"]
        return result

    async def size(self, width: int, height: int) -> None:
        """Become a window, or below 500 pixels a phone, of this size."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    async def open(self, url: str) -> None:
        """Load a page, and all that it loads."""
        await self.led_on(self.ask("Page.navigate", url=url))

    async def led_on(self, act: Awaitable[object]) -> None:
        """Do what leads to another page, and wait until that is loaded."""
        self._loaded.clear()
        await act
        await asyncio.wait_for(self._loaded.wait(), ANSWER_SECONDS)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, waited for if it is a promise."""
        told = await self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        """What a person reads in an element."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).innerText"))

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression holds."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while not await self.evaluate(f"Boolean({expression})"):
                await asyncio.sleep(0.05)

    async def screenshot(self) -> bytes:
        """The whole page, as tall as it is, as PNG."""
        told = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(told["data"])


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """A browser with an empty profile; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    profile = Path(tempfile.mkdtemp(prefix="dmpool-chromium-"))
    process = _launch(program, profile)
    try:
        port = await _debugging_port(process, profile)
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tab = next(one for one in await answer.json() if one["type"] == "page")
            async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen())
                for domain in ("Page", "Runtime", "Log"):
                    await browser.ask(f"{domain}.enable")
                yield browser
                listening.cancel()
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, START_SECONDS)
        await _remove(profile)


def _launch(program: str, profile: Path) -> subprocess.Popen[bytes]:
    with (profile / "log").open("wb") as log:
        return subprocess.Popen([program, *OPTIONS, f"--user-data-dir={profile}"], stdout=log, stderr=log)


async def _remove(profile: Path) -> None:
    """Its helpers write for a moment after the browser has gone."""
    async with asyncio.timeout(START_SECONDS):
        while await asyncio.to_thread(profile.exists):
            await asyncio.to_thread(shutil.rmtree, profile, ignore_errors=True)
            await asyncio.sleep(0.05)


async def _debugging_port(process: subprocess.Popen[bytes], profile: Path) -> int:
    told = profile / "DevToolsActivePort"
    async with asyncio.timeout(START_SECONDS):
        while not (told.exists() and told.read_text().count("\n")):
            assert process.poll() is None, (profile / "log").read_text(errors="replace")[-2000:]
            await asyncio.sleep(0.05)
    return int(told.read_text().split("\n", 1)[0])
