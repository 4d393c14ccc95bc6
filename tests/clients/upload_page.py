"""Pushes a folder from the page: python upload_page.py BASE CHROMIUM TOKEN MODEL FOLDER; ends on the model's page."""

import sys

from playwright.sync_api import sync_playwright

base, chromium, token, model, folder = sys.argv[1:]
with sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page()
    page.goto(base + "/sign-in")
    page.fill("input[name=token]", token)
    page.click("main form button")
    page.goto(base + "/upload")
    page.fill("#model", model)
    page.set_input_files("#folder", folder)
    # The first transfer breaks off; the page sends it again.
    broken = []
    page.route("**/files/**", lambda route: (broken.append(1), route.abort()) if not broken else route.continue_())
    page.click("#push button.primary")
    page.wait_for_url(f"**/{model}", timeout=60_000)
    assert broken
    browser.close()
