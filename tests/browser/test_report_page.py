"""The benchmark's page in a real browser: whole, quiet, off the network, and as wide as the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface.workflows.report import write_page

LONG = "a_bundle_with_a_name_that_goes_on_and_on_and_has_no_blank_to_break_it_at"
MARKUP = "<script>window.pwned = 1</script><img src=x onerror='window.pwned=2'>"
WIDE = "[...document.querySelectorAll('main *')].filter(node => !node.closest('.scroll') && "
WIDE += "node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 80))"


@pytest.mark.slow
def test_the_page_in_a_browser(browser: Any, make_sample_report: Callable[..., Any], tmp_path: Path) -> None:
    report = make_sample_report((MARKUP, LONG, "half"), notes=(MARKUP, "a note"))
    _, page = write_page(report, tmp_path / "out")
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for width in (375, 1280):
            browser.resize(width, 800, phone=width < 500)
            browser.call("Page.navigate", url=page.as_uri())
            browser.wait("document.readyState === 'complete' && document.title.startsWith('edgeface benchmark')")
            assert browser.run("innerWidth") == width
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run(WIDE) == []
            images = browser.run("[...document.images].map(image => image.complete && image.naturalWidth > 0)")
            assert images == [True] * 6
            assert browser.run("performance.getEntriesByType('resource').filter(e => !/^data:/.test(e.name))") == []
            assert browser.run("window.pwned === undefined && document.scripts.length === 0")
    assert browser.complaints == []
    low = browser.run(
        """[...document.querySelectorAll('p, td, th, dt, dd, li, figcaption, small, caption, svg text')]
        .filter(node => node.closest('main'))
        .map(node => {
            const light = colour => {
                const part = colour.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255)
                    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
                return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
            };
            const style = getComputedStyle(node);
            const own = node.closest('section, .tiles li');
            const pair = [light(node instanceof SVGElement ? style.fill : style.color),
                light(getComputedStyle(own).backgroundColor)].sort((a, b) => b - a);
            return [(pair[0] + 0.05) / (pair[1] + 0.05), node.textContent.slice(0, 30)];
        }).filter(([contrast]) => contrast < 4.5)"""
    )
    assert low == [], "in the dark, words are as easy to read as WCAG asks"


@pytest.mark.slow
def test_tables_and_links_by_keyboard(browser: Any, make_sample_report: Callable[..., Any], tmp_path: Path) -> None:
    _, page = write_page(make_sample_report(), tmp_path)
    browser.resize(375, 800, phone=True)
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait("document.readyState === 'complete' && document.title.startsWith('edgeface benchmark')")
    reached = []
    for _ in range(30):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(browser.run("document.activeElement.getAttribute('href') || document.activeElement.ariaLabel"))
    sections = browser.run("[...document.querySelectorAll('main section')].map(node => '#' + node.id)")
    tables = browser.run("[...document.querySelectorAll('caption')].map(node => node.textContent)")
    assert [*sections, *tables] == reached[: len(sections) + len(tables)]
    wide = browser.run("[...document.querySelectorAll('.scroll')].some(node => node.scrollWidth > node.clientWidth)")
    assert wide, "on a phone some tables are wider than the page: they scroll"
