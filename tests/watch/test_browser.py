"""The room page in a real browser, as the technologist sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.peers import find_tool
from tests.waiting import wait_for
from tests.watch.conftest import StartWatch, Watch
from tests.watch.filling import SCANNER, STUDY

ROOM = "/room/" + quote(SCANNER, safe="")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]

pytestmark = pytest.mark.peer


@pytest.fixture
def browser() -> Iterator[Browser]:
    path = find_tool("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def live(start_watch: StartWatch) -> Watch:
    """A gate whose clock goes, since a page compares it with its own."""
    return start_watch(now=time.time())


def complaints(page: Page) -> list[str]:
    """What the page's console and its script say against it, from now on."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def test_the_verdict_reaches_the_room_within_a_second(live: Watch, browser: Browser) -> None:
    live.filling.all_roles()
    live.filling.receive(3, 6)
    page = browser.new_page()
    said = complaints(page)
    page.goto(live.address + ROOM)
    expect(page.locator(".word")).to_have_text("Waiting")
    expect(page.locator("#link")).to_contain_text("Live")
    (series_id,) = live.filling.score([2.0, 2.1, 2.2, 2.0, 2.1, 2.2])
    committed_at = time.monotonic()
    live.filling.provisional(series_id)
    page.wait_for_selector(".state.tone-does-not-meet", timeout=1000)
    assert time.monotonic() - committed_at < 1.0
    assert page.locator(".word").inner_text() == "Does not meet"
    assert "Provisional" in page.locator(".about").inner_text()
    # not `wait_for_function`: it evaluates text in the page, which the page's policy forbids
    loaded = (
        "() => [...document.querySelectorAll('.pictures img')]"
        ".filter((one) => one.complete && one.naturalWidth === 160).length"
    )
    wait_for("six pictures are drawn", lambda: page.evaluate(loaded) == 6)
    live.filling.close(series_id)
    page.wait_for_selector(".progress", state="detached", timeout=1000)
    assert said == []


def test_the_status_page_follows_and_keeps_its_pictures(live: Watch, browser: Browser) -> None:
    live.filling.all_roles()
    page = browser.new_page()
    said = complaints(page)
    page.goto(live.address + "/")
    expect(page.locator("#link")).to_contain_text("Live")
    live.filling.judged(3, [3.0] * 4)
    live.filling.wake.role("watch")
    page.wait_for_selector("tr .chip.tone-meets", timeout=1000)
    assert said == []


def test_a_lost_gate_is_said_plainly_and_found_again(live: Watch, browser: Browser) -> None:
    live.filling.all_roles()
    live.filling.judged(3, [3.0] * 4)
    page = browser.new_page()
    page.goto(live.address + ROOM)
    expect(page.locator("#link")).to_contain_text("Live")
    live.server.stop()
    lost = page.locator("#lost")
    expect(lost).to_be_visible(timeout=8000)
    expect(lost).to_contain_text("Connection to the gate lost.")
    expect(lost).to_contain_text(" ago.")
    assert "stale" in (page.locator("body").get_attribute("class") or "")
    restarted = live.restart()
    try:
        expect(lost).to_be_hidden(timeout=8000)
        restarted.filling.judged(4, [0.5] * 4, acquired_at="later")
        page.wait_for_selector(".state.tone-unusable", timeout=2000)
    finally:
        page.close()


def test_hostile_headers_run_nothing(live: Watch, browser: Browser) -> None:
    attack = '"><script>document.title=\'owned\'</script><img src=x onerror="owned()">'
    live.filling.judged(3, [2.0] * 4, series_description=attack, protocol_name=attack)
    page = browser.new_page()
    said = complaints(page)
    for path in ("/", f"/series/{STUDY}.3", ROOM):
        page.goto(live.address + path)
        expect(page.locator("#link")).to_contain_text("Live")
        live.filling.receive(9, 1, series_description=attack, acquired_at="later")
        expect(page.locator("#live")).to_contain_text("owned")
        assert page.title() != "owned"
    assert said == []


def test_everything_fits_a_console_without_scrolling(
    live: Watch, browser: Browser, tmp_path: Path
) -> None:
    live.filling.all_roles()
    for number, score in enumerate((2.0, 2.0, 2.0, 3.0, 0.5), start=3):
        live.filling.judged(number, [score] * 6, acquired_at=str(number))
    for width, height in ((1280, 1024), (800, 600), (1920, 1080)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(live.address + ROOM)
        page.wait_for_selector(".state.tone-unusable")
        page.screenshot(path=str(tmp_path / f"{width}.png"))
        tall, wide = page.evaluate(
            "[document.documentElement.scrollHeight, document.documentElement.scrollWidth]"
        )
        assert (tall <= height, wide <= width) == (True, True), (width, height, tall, wide)
        # found and measured in one step: live updates replace the element in between
        size = page.evaluate(
            "parseFloat(getComputedStyle(document.querySelector('.word')).fontSize)"
        )
        assert size >= height * 0.08
