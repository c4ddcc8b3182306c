"""The report, the drift page, the serving page and its model card, as a browser shows them."""

import io
import re
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests import balanced_project, finished_project
from tests.browser.conftest import NAMES, PROGRAM, Open

if PROGRAM is None:
    # skips the whole file at once, so that pytest's summary has a single line about it
    pytest.skip(f"no page was opened, for no browser is installed: {', '.join(NAMES)}", allow_module_level=True)

pytestmark = pytest.mark.browser

TITLES = {
    "report of blood": "Terracyte: report, blood",
    "report of mars": "Terracyte: report, mars",
    "drift": "Terracyte: drift, blood",
    "serving of blood": "Terracyte: blood",
    "serving of mars": "Terracyte: mars",
    "card": "Model card: blood",
}
WIDTHS = (390, 768, 1280)  # a telephone, a tablet, a laptop


def tables(page: Page, within: str = "body") -> list[Any]:
    """Return each table as rows, the header first, and each row as the texts of its cells."""
    found: list[Any] = page.locator(f"{within} table").evaluate_all(
        """tables => tables.map(table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText)))"""
    )
    return found


@pytest.mark.parametrize("name", TITLES)
def test_a_page_opens_without_a_fault(name: str, show_page: Open) -> None:
    page, faults = show_page(name)
    expect(page).to_have_title(TITLES[name])
    assert page.locator("img").evaluate_all("images => images.every(each => each.complete && each.naturalWidth)")
    for head, *rows in tables(page):
        assert rows
        assert {len(row) for row in rows} == {len(head)}
    assert not faults


@pytest.mark.parametrize("name", TITLES)
def test_no_page_scrolls_sideways(name: str, show_page: Open) -> None:
    page, _ = show_page(name)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2; 0 for black, 1 for white) of a colour in the CSS form rgb(r, g, b)."""
    shares = np.array([float(each) for each in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", TITLES)
def test_a_page_is_legible_in_both_schemes(name: str, show_page: Open) -> None:
    page, _ = show_page(name)
    schemes: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        ink, ground = (
            luminance(page.evaluate(f"getComputedStyle(document.body).{each}")) for each in ("color", "backgroundColor")
        )
        assert (ground > ink) == (scheme == "light")
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 7  # WCAG 2, AAA


@pytest.mark.parametrize(("task", "classes"), [("blood", 8), ("mars", 4)])
def test_the_report_has_every_table(task: str, classes: int, show_page: Open) -> None:
    page, _ = show_page(f"report of {task}")
    titles = [each["title"] for each in finished_project.VARIANTS.values() if each["task"] == task]
    found = tables(page, f"#{task}")
    results, splits = found[0], found[-1]
    assert all(any(title in " ".join(row) for row in results) for title in titles)
    assert len(results) == 1 + len(titles)
    assert [row[0] for row in splits[-2:]] == ["images", "groups"]
    confusions = [each for each in found if each[0][0] == "true"]
    assert len(confusions) == len(titles)
    assert {len(each) for each in confusions} == {1 + classes}


def test_the_model_card_has_its_tables(show_page: Open) -> None:
    page, _ = show_page("card")
    assert [each[0] for each in tables(page)] == [
        ["images of", "train", "validation", "test"],
        ["score", "%"],
        ["corruption", "%"],
    ]


def test_the_drift_page_says_which_numbers_drifted(show_page: Open) -> None:
    page, _ = show_page("drift")
    expect(page.locator(".verdict")).to_contain_text("Drift in 24 images")
    (findings,) = tables(page)
    assert "✗ brightness" in [row[0] for row in findings]


def picture() -> FilePayload:
    """Return a PNG file as a visitor chooses it for upload."""
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 90, 120)).save(stream, "png")
    return {"name": "cell.png", "mimeType": "image/png", "buffer": stream.getvalue()}


def test_an_upload_ends_in_a_class_with_its_confidence(open_page: Open) -> None:
    page, faults = open_page("serving of blood")
    page.set_input_files("#file", picture())
    expect(page.locator("#answer")).to_have_text(re.compile(r"^[abcd], with a confidence of >?.?\d+\.\d.%$"))
    named, confidence = page.locator("#answer").inner_text().split(", with a confidence of ")
    first = page.locator("#bars li").first
    expect(first.locator(".name")).to_have_text(named)
    expect(first.locator(".share")).to_have_text(confidence)
    assert page.locator("#bars li").count() == balanced_project.CLASSES
    assert not faults


def test_an_upload_ends_in_a_painted_terrain(open_page: Open) -> None:
    page, faults = open_page("serving of mars")
    page.set_input_files("#file", picture())
    expect(page.locator("#answer")).to_contain_text("Mean confidence of the pixels: ")
    assert page.locator("#pictures img").evaluate_all("images => images.map(each => each.naturalWidth)") == [32, 32]
    assert page.locator("#bars li").count() == balanced_project.CLASSES - 1  # not the background
    assert not faults


def test_an_example_is_answered_as_an_upload_is(open_page: Open) -> None:
    page, faults = open_page("serving of blood")
    example = page.locator("#examples button").first
    example.click()
    expect(page.locator("#answer")).to_contain_text(", with a confidence of ")
    expect(example).to_have_attribute("aria-pressed", "true")
    assert not faults


def test_the_answer_is_that_of_the_last_example_clicked(open_page: Open) -> None:
    page, faults = open_page("serving of blood")
    page.evaluate(
        """() => {
            const quick = window.fetch;
            window.fetch = async (what, ...others) => {
                if (what === "examples/0") await new Promise((done) => { window.goOn = done; });
                return quick(what, ...others);
            };
        }"""
    )
    first, last = page.locator("#examples button").first, page.locator("#examples button").last
    first.click()
    last.click()
    expect(page.locator("#result")).to_be_visible()
    shown = page.locator("#pictures img").get_attribute("src")
    page.evaluate("window.goOn()")
    page.wait_for_load_state("networkidle")
    assert page.locator("#pictures img").get_attribute("src") == shown
    assert not faults


def test_a_server_that_is_gone_is_said_and_no_old_answer_stays(open_page: Open) -> None:
    page, _ = open_page("serving of blood")
    page.locator("#examples button").first.click()
    expect(page.locator("#result")).to_be_visible()
    page.context.set_offline(True)
    page.locator("#examples button").last.click()
    expect(page.locator("#error")).to_have_text("The server does not answer: start it again.")
    expect(page.locator("#result")).to_be_hidden()


def test_a_text_file_is_refused_in_a_sentence(open_page: Open) -> None:
    page, faults = open_page("serving of blood")
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"a cell, I think"})
    expect(page.locator("#error")).to_be_visible()
    expect(page.locator("#error")).to_have_text(re.compile(r"^The file is not a jpg, png.*\.$"))
    expect(page.locator("#result")).to_be_hidden()
    assert [re.sub(r".*status of", "", fault) for fault in faults] == [" 400 (Bad Request)"]
    # the page still takes the next file
    page.set_input_files("#file", picture())
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#error")).to_be_hidden()
