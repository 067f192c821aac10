"""Opens a report.html in headless Chromium, works its controls, and takes screenshots to be looked at.

    python benchmarks/report_check.py results/report.html --shots shots

Needs Chromium with its driver (Debian: `apt install chromium chromium-driver`) and `pip install selenium`, which may
be an environment of its own: nothing of lowlight is imported. Not part of the tests. Ends with an error at the first
thing that is wrong: an entry in the console, a request that leaves the file, a control that does nothing.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

with contextlib.suppress(ModuleNotFoundError):  # --help is also for those who do not have it yet
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

CONTROLS = "model", "compare", "order", "best-first", "large"
VIEWS = {"light": (1440, 900, "light"), "dark": (1440, 900, "dark"), "phone": (390, 844, "light")}
"""Width, height, colour scheme."""
PARTS = "table", "distributions", "pictures", "published", "record"


def main() -> None:
    """Check one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for screenshots and a PDF")
    args = parser.parse_args()
    if importlib.util.find_spec("selenium") is None:
        parser.error("selenium is missing: pip install selenium")
    browser = opened(args.page)
    try:
        sorts(browser)
        if browser.find_elements(By.CSS_SELECTOR, ".compare"):
            slides(browser)
            changes_model(browser)
        orders_pictures(browser)
        follows_a_dot(browser)
        fits_a_phone(browser)
        if args.shots:
            shoot(browser, args.page, args.shots)
        is_quiet(browser)
    finally:
        browser.quit()
    print("ok")


def opened(page: Path) -> webdriver.Chrome:
    """A browser with its logs on, at the page."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--disable-gpu", "--hide-scrollbars", "--window-size=1440,900"):
        options.add_argument(flag)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has no sandbox for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = shutil.which("chromedriver")  # named, or Selenium would look for one on the network
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver) if driver else None)
    browser.get(page.resolve().as_uri())
    return browser


def check(holds: object, told: str) -> None:
    """End with a sentence where something does not hold."""
    if not holds:
        raise SystemExit(f"wrong: {told}")
    print(f"fine: {told}")


def column(browser: webdriver.Chrome, index: int) -> list[float]:
    """Figures of a column of the first table, from the top."""
    cells = browser.find_elements(By.CSS_SELECTOR, f"#table table tbody tr > :nth-child({index + 1})")
    texts = [cell.get_attribute("data-value") for cell in cells]
    return [float(text) for text in texts if text]


def sorts(browser: webdriver.Chrome) -> None:
    """A head sorts by mouse and by keyboard and says so."""
    heads = browser.find_elements(By.CSS_SELECTOR, "#table table thead tr:last-child th")
    head = heads[3]
    button = head.find_element(By.TAG_NAME, "button")
    rising = head.get_attribute("data-sort") == "ascending"
    button.click()
    check(column(browser, 3) == sorted(column(browser, 3), reverse=not rising), "a click sorts, the best on top")
    check(head.get_attribute("aria-sort") == head.get_attribute("data-sort"), "aria-sort tells the direction")
    button.send_keys(Keys.ENTER)
    check(column(browser, 3) == sorted(column(browser, 3), reverse=rising), "Enter turns the order round")
    heads[0].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    marked = browser.find_elements(By.CSS_SELECTOR, "#table [aria-sort]")
    check(marked == [heads[0]], "only the column that sorts bears aria-sort")


def slides(browser: webdriver.Chrome) -> None:
    """The slider follows the mouse and the arrow keys."""
    frame = browser.find_element(By.CSS_SELECTOR, ".compare")
    edge = frame.find_element(By.CSS_SELECTOR, ".edge")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    middle = edge.rect["x"]
    ActionChains(browser).move_to_element(frame).click_and_hold().move_by_offset(-80, 5).release().perform()
    dragged = edge.rect["x"]
    check(abs(middle - 80 - dragged) < 3, f"dragging moves the edge with the mouse, {middle} to {dragged}")
    frame.find_element(By.TAG_NAME, "input").send_keys(Keys.ARROW_RIGHT * 10)
    check(edge.rect["x"] > dragged + 20, "arrow keys move the edge")
    names = browser.execute_script("return [...arguments[0].querySelectorAll('img.left,img.right')].length", frame)
    check(names == 2, "two pictures lie over each other")


def showing(browser: webdriver.Chrome) -> list[str]:
    """What the first card shows: sources of its left and its right picture, and their labels."""
    script = """const f = document.querySelector('.compare'), of = (s) => f.querySelector(s)?.dataset.of ?? '';
    const tag = (s) => f.querySelector('.tag.' + s).textContent;
    return [of('img.left'), of('img.right'), tag('left'), tag('right')];"""
    return browser.execute_script(script)


def shown_models(browser: webdriver.Chrome) -> list[int]:
    """Indices of the models that have a picture in the first card; two at least."""
    images = browser.find_element(By.CSS_SELECTOR, ".compare").find_elements(By.TAG_NAME, "img")
    sources = (source for image in images for source in image.get_attribute("data-of").split())
    found = sorted({int(source) for source in sources if source.isdigit()})
    check(len(found) > 1, "two models or more have pictures")
    return found


def changes_model(browser: webdriver.Chrome) -> None:
    """Another model, the truth, a second model."""
    model, compare = (Select(browser.find_element(By.ID, name)) for name in ("model", "compare"))
    figure = "return document.querySelector('#cards dl .value').textContent"
    before, (other, last) = browser.execute_script(figure), shown_models(browser)[-2:]
    model.select_by_index(last)
    left, right, _, label = showing(browser)
    check("input" in left.split() and str(last) in right.split(), "the model chooser changes the picture")
    check(label == model.options[last].text, "and its label")
    check(browser.execute_script(figure) != before, "and its figures")
    if any(option.get_attribute("value") == "truth" for option in compare.options):
        compare.select_by_value("truth")
        left, right, *_ = showing(browser)
        check(str(last) in left.split() and "truth" in right.split(), "output | truth")
    compare.select_by_value(str(other))
    check(str(other) in showing(browser)[1].split(), "output | another output")
    compare.select_by_value("input")


def orders_pictures(browser: webdriver.Chrome) -> None:
    """By the first metric of the chosen model, the worst and then the best first."""
    script = "return [...document.querySelectorAll('#cards dl div:first-child .value')].map((e) => e.textContent)"

    def figures() -> list[float]:
        texts = (text.replace("−", "-").replace("∞", "inf") for text in browser.execute_script(script))
        return [float(text) for text in texts if text != "–"]

    Select(browser.find_element(By.ID, "order")).select_by_index(1)
    worst = figures()
    browser.find_element(By.ID, "best-first").click()
    check(worst in (sorted(worst), sorted(worst, reverse=True)) and len(worst) > 1, "pictures are sorted by a metric")
    check(figures()[0] == worst[-1], "and the other way round")


def follows_a_dot(browser: webdriver.Chrome) -> None:
    """A click on a dot shows its picture and its model."""
    dot = browser.find_elements(By.CSS_SELECTOR, "svg g[data-model='1'] circle, svg circle")[-1]
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", dot)
    model = browser.execute_script("return arguments[0].parentNode.dataset.model", dot)
    check(browser.find_element(By.ID, "model").get_attribute("value") == model, "a dot chooses its model")


def fits_a_phone(browser: webdriver.Chrome) -> None:
    """No part is wider than a narrow screen; wide tables scroll by themselves."""
    look(browser, 390, 844, "light")
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    check(wide <= 390, f"at 390 pixels the page is {wide} wide")


def look(browser: webdriver.Chrome, width: int, height: int, scheme: str) -> None:
    """Set the screen's size and colour scheme."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def shoot(browser: webdriver.Chrome, page: Path, folder: Path) -> None:
    """Screenshots of every part in every view, and a PDF as it would be printed."""
    folder.mkdir(parents=True, exist_ok=True)
    browser.get(page.resolve().as_uri())
    for view, (width, height, scheme) in VIEWS.items():
        look(browser, width, height, scheme)
        browser.execute_script("window.scrollTo(0, 0)")
        browser.save_screenshot(str(folder / f"{view}-top.png"))
        for part in PARTS:
            if found := browser.find_elements(By.ID, part):
                browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", found[0])
                browser.save_screenshot(str(folder / f"{view}-{part}.png"))
    paper = browser.execute_cdp_cmd("Page.printToPDF", {"landscape": True, "printBackground": True})
    (folder / "paper.pdf").write_bytes(base64.b64decode(paper["data"]))


def requests(browser: webdriver.Chrome) -> Iterator[str]:
    """Addresses that the page asked for."""
    for entry in browser.get_log("performance"):
        message: dict[str, Any] = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def is_quiet(browser: webdriver.Chrome) -> None:
    """Nothing in the console; nothing asked for but the file and what lies in it."""
    console = [entry["message"] for entry in browser.get_log("browser")]
    check(not console, f"the console is empty {console[:3]}")
    asked = [url for url in requests(browser) if not url.startswith(("data:", "file:"))]
    check(not asked, f"no request leaves the page {asked[:3]}")
    check(browser.execute_script("return window.planted") is None, "no script of a name ran")


if __name__ == "__main__":
    main()
