"""Every page that users open, built and served on this machine, and a headless browser to open it in."""

import contextlib
import functools
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from terracyte import cli
from terracyte.core import files, paths
from terracyte.images.statistics import describe
from terracyte.predict import predictor
from terracyte.promote.champion import CARD
from terracyte.serve.examples import examples
from terracyte.serve.site import application
from tests.conftest import TASKS

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)

Open = Callable[[str], tuple[Page, list[str]]]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Of package scope, not session: while Playwright runs, no other test of this process could call `asyncio.run`.
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=PROGRAM) as launched:
        yield launched


@contextlib.contextmanager
def _opened(browser: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    """Open an address in a fresh browser profile; yield the page and the list of its faults, which grows with them."""
    with browser.new_page() as page:
        faults: list[str] = []
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(f"{request.url} {request.failure}"))
        page.goto(address, wait_until="networkidle")
        yield page, faults


@pytest.fixture
def open_page(browser: Browser, addresses: dict[str, str]) -> Iterator[Open]:
    """A function that opens a page by its name, for tests that interact with the page; see `_opened`."""
    with contextlib.ExitStack() as pages:
        yield lambda name: pages.enter_context(_opened(browser, addresses[name]))


@pytest.fixture(scope="package")
def show_page(browser: Browser, addresses: dict[str, str]) -> Iterator[Open]:
    """A function that gives a page by its name, unfolded and opened only once, to tests that read it; see `_opened`."""
    with contextlib.ExitStack() as pages:

        @functools.cache
        def show(name: str) -> tuple[Page, list[str]]:
            page, faults = pages.enter_context(_opened(browser, addresses[name]))
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            return page, faults

        yield show


@pytest.fixture(scope="package")
def addresses(
    reported_template: Path, champions_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The address of each page, by the name that the tests give the page."""
    folder = tmp_path_factory.mktemp("pages")
    with contextlib.ExitStack() as running:
        blood, mars = (
            running.enter_context(_served(task, champions_template, reported_template, folder)) for task in TASKS
        )
        yield {
            **{f"report of {task}": (reported_template / paths.report(task)).as_uri() for task in TASKS},
            "drift": _drift(champions_template, folder / "drift").as_uri(),
            "serving of blood": blood,
            "serving of mars": mars,
            "card": f"{blood}/card",
        }


@contextlib.contextmanager
def _served(task: str, champions: Path, finished: Path, folder: Path) -> Iterator[str]:
    """Serve the site of a task's champion with a complete model card; yield its address."""
    champion = folder / task
    shutil.copytree(champions / paths.champion(task), champion)
    shutil.copy(finished / paths.champion(task) / CARD, champion)
    with contextlib.chdir(champions):
        read = predictor.read(champion, task)
        site = application(read, champion, examples(read.task))
    server = uvicorn.Server(uvicorn.Config(site, log_level="warning", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _drift(champions: Path, folder: Path) -> Path:
    """Return the path of the drift page of blood images that are darker than the training images."""
    shutil.copytree(champions, folder)
    with contextlib.chdir(folder):
        images, balanced = np.load(paths.images("blood")), pd.read_parquet(paths.balance_manifest("blood"))
        looks = describe(images[balanced["id"]])
        files.write_table(paths.balance_manifest("blood"), balanced.join(looks))
        np.save("dark.npy", images // 8)
        with pytest.raises(SystemExit):  # the command's exit code reports the drift
            cli.main(["drift", "blood", "dark.npy"])
        return Path("data/drift/blood/index.html").absolute()
