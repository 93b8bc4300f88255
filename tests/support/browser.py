"""A headless Chromium, driven over its DevTools protocol; Debian's package is installed if there is no browser."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

PACKAGE: Final = "chromium-headless-shell"
NAMES: Final = (PACKAGE, "chromium", "chromium-browser", "google-chrome")
PROGRAMS: Final = Path("/usr/lib/chromium")
INSTALL_S: Final = 600
APT_OPTIONS: Final = ("-o", "DPkg::Lock::Timeout=300", "--no-install-recommends")
START_S: Final = 30.0
ANSWER_S: Final = 20.0
LOOK_S: Final = 0.1


def browser_program() -> str:
    """Return the path of a Chromium."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        install = ["apt-get", "install", "-q", "-y", *APT_OPTIONS, PACKAGE]
        if subprocess.run(install, capture_output=True, timeout=INSTALL_S).returncode:
            subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True, timeout=INSTALL_S)
            subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_S)
        found = shutil.which(PACKAGE)
    assert found is not None, f"no browser: install {PACKAGE}"
    # Debian's is a script, and ending the script leaves the browser running.
    program = PROGRAMS / Path(found).name
    return str(program) if program.exists() else found


class Browser:
    """One page of a browser.

    Attributes:
        faults: what the browser's console says that is an error, and exceptions of scripts.
    """

    def __init__(self, folder: Path) -> None:
        self.faults: list[str] = []
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        options = ["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = ["setpriv", "--pdeathsig", "TERM", browser_program(), *options, "about:blank"]
        self._process = subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = self._port(folder / "DevToolsActivePort")
        self._session, self._socket = self._loop.run_until_complete(self._connect(port))
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def _port(self, path: Path) -> str:
        limit = time.monotonic() + START_S
        while not (path.exists() and path.read_text().count("\n")):
            assert time.monotonic() < limit, "the browser does not start"
            time.sleep(LOOK_S)
        return path.read_text().splitlines()[0]

    async def _connect(self, port: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
            [page] = [target for target in await response.json() if target["type"] == "page"]
        return session, await session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), ANSWER_S))

    async def _call(self, method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_str(
            msgspec.json.encode({"id": number, "method": method, "params": parameters}).decode()
        )
        while True:
            message: dict[str, Any] = msgspec.json.decode((await self._socket.receive_str()).encode())
            self._note(message)
            if message.get("id") == number:
                # An answer without a result: the page that was asked has been replaced meanwhile.
                result: dict[str, Any] = message.get("result", {"result": {}})
                return result

    def _note(self, message: Mapping[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.faults.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.faults.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)
        self.until(
            f"document.readyState === 'complete' && location.href.startsWith({msgspec.json.encode(url).decode()})"
        )

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def result(self, expression: str) -> Any:
        """Return what a promise in the page gives."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key such as Tab or Enter, or type a character."""
        text = {"Enter": "\r", "Tab": ""}.get(key, key)
        code = {"Enter": 13, "Tab": 9}.get(key, ord(key[0]))
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def text(self, selector: str) -> str:
        """Return the text of the first element, as it is shown."""
        return str(self.value(f"document.querySelector({msgspec.json.encode(selector).decode()}).innerText"))

    def until(self, expression: str, limit_s: float = 30.0) -> None:
        """Wait until an expression is true in the page."""
        limit = time.monotonic() + limit_s
        # While a page is replaced by the next one, it may have no elements yet.
        tolerant = f"(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"
        while not self.value(tolerant):
            assert time.monotonic() < limit, f"{expression}: {self.value('document.body?.innerText')}"
            time.sleep(LOOK_S)

    def resize(self, width: int, *, scheme: str = "light", motion: str = "no-preference") -> None:
        """Give the page another width, a light or dark scheme, and `reduce` or `no-preference` as to motion."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """Save a picture of the whole page."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def close(self) -> None:
        """End the browser."""
        self._loop.run_until_complete(self._session.close())
        self._loop.close()
        self._process.terminate()
        self._process.wait(START_S)
