"""Walks the pages in Chromium: python pages.py BASE CHROMIUM TOKEN PATH…; prints what is wrong, a line each.

A path that begins with `+` is for those who are signed in.
"""

import re
import sys

import html5lib
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

BASE, CHROMIUM, TOKEN, *PATHS = sys.argv[1:]
# Who looks, on what: each pair of scheme and width is seen by one of them.
VISITS = (("light", 1280, False), ("dark", 390, False), ("light", 390, True), ("dark", 1280, True))
MOST_BYTES = 100_000


def main():
    problems = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for visit in VISITS:
            problems += walk(browser, *visit)
        problems += without_script(browser)
        problems += keyboard(browser)
        browser.close()
    print("\n".join(problems))


def walk(browser, scheme, width, signed_in):
    problems = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    where = ["sign-in"]
    who = "signed in" if signed_in else "anonymous"
    say = lambda what: problems.append(f"{where[0]} ({scheme}, {width} px, {who}): {what}")
    page.on("pageerror", lambda error: say(f"script error: {error}"))
    page.on("request", lambda request: request.url.startswith((BASE, "data:")) or say(f"asks {request.url}"))
    if signed_in:
        sign_in(page)
    for path in PATHS:
        where[0] = path.lstrip("+")
        if signed_in or path == where[0]:
            look(page, where[0], say)
    context.close()
    return problems


def sign_in(page):
    page.goto(BASE + "/sign-in")
    page.fill("input[name=token]", TOKEN)
    page.click("main form button")


def look(page, path, say):
    response = page.goto(BASE + path)
    if response.status != 200:
        say(f"status {response.status}")
        return
    body = response.body()
    if len(body) > MOST_BYTES:
        say(f"{len(body)} bytes")
    parser = html5lib.HTMLParser()
    parser.parse(body)
    for position, code, detail in parser.errors:
        say(f"markup: {code} {detail} at {position}")
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        say("scrolls sideways")
    if page.locator("h1").count() != 1:
        say(f"{page.locator('h1').count()} first headings")
    for violation in Axe().run(page).response["violations"]:
        nodes = violation["nodes"]
        say(f"axe {violation['id']}: {violation['help']}: {len(nodes)} times, first {nodes[0]['html'][:160]}")


def without_script(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    problems = []
    for path in PATHS:
        if path.startswith("+"):
            continue
        page.goto(BASE + path)
        text = page.locator("main").inner_text()
        if len(text.strip()) < 20:
            problems.append(f"{path}: empty without script")
    page.goto(BASE + "/")
    page.fill("main input[type=search]", "llama position:violation")
    page.click("main form button")
    if not re.search(r"/models\?search=llama", page.url) or page.locator(".rows li").count() == 0:
        problems.append(f"search without script leads to {page.url}, {page.locator('.rows li').count()} rows")
    page.click("a[rel=next]")
    if page.locator(".rows li").count() == 0:
        problems.append(f"the next page {page.url} is empty")
    context.close()
    return problems


def keyboard(browser):
    context = browser.new_context()
    page = context.new_page()
    problems = []
    page.goto(BASE + "/models")
    page.keyboard.press("Tab")
    if page.evaluate("document.activeElement.textContent") != "Skip to the content":
        problems.append("the first stop is not the link to the content")
    page.keyboard.press("/")
    if page.evaluate("document.activeElement.type") != "search":
        problems.append("`/` does not lead to the search field")
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.name || ''"))
    for wanted in ("/compliance", "/identify", "/upload", "/sign-in"):
        if wanted not in reached:
            problems.append(f"Tab does not reach {wanted}")
    if not any("position=" in stop for stop in reached):
        problems.append("Tab does not reach the filters")
    context.close()
    return problems


main()
