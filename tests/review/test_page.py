"""The page in a real browser: keys, edits, undo, hostile texts, phones, the dark, and what a reader's aid is told."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from augment.review.decisions import DECISIONS, read
from augment.review.verdicts import current
from tests.browser import browser, needs_browser
from tests.review.pages import review
from tests.review.runs import curated, made

pytestmark = needs_browser

HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>\u202eגמהת &amp; \u0007 مرحبا"
HOSTILE += "x" * 300


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture
def run(place):
    return made(place, 14).path


@pytest.fixture
def served(place, run):
    with review(place, run, "--reviewer", "ann", "--sample", "10") as page:
        yield page


@pytest.fixture
def tab(chromium, served):
    """The page in a tab of its own; an error in its script fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    opened = _opened(context, served.url)
    yield opened
    context.close()
    assert opened.faults == []


def _opened(context, url):
    tab = context.new_page()
    tab.faults = []
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.goto(url)
    tab.wait_for_selector("#row:not([hidden])")
    return tab


def shown(tab) -> str:
    return tab.get_attribute("#row", "data-id")


def press(tab, key: str, until: str) -> None:
    """A key, and the page's answer to it."""
    tab.keyboard.press(key)
    tab.wait_for_function("text => document.querySelector('#notice').textContent.includes(text)", arg=until)


def verdicts(run: Path) -> dict[str, str]:
    made = read(run / DECISIONS)[0]
    return {row: each["ann"].verdict for row, each in current(made).items()}


def test_a_row_is_accepted_rejected_and_taken_back_with_single_keys(tab, run):
    first = shown(tab)
    press(tab, "a", "Row 1 accepted")
    tab.wait_for_function("id => document.querySelector('#row').dataset.id !== id", arg=first)
    second = shown(tab)
    press(tab, "r", "Row 2 rejected")
    assert verdicts(run) == {first: "accept", second: "reject"}
    assert tab.inner_text("#done") == "2 of 10 decided"
    press(tab, "u", "Taken back")
    assert shown(tab) == second
    assert verdicts(run) == {first: "accept"}
    press(tab, "u", "Taken back")
    tab.wait_for_function("id => document.querySelector('#row').dataset.id === id", arg=first)
    assert verdicts(run) == {}
    assert tab.is_disabled("#undo")


def test_the_buttons_do_what_the_keys_do(tab, run):
    first = shown(tab)
    tab.fill("#note", "reads well")
    tab.click("#accept")
    tab.wait_for_function("() => document.querySelector('#notice').textContent.includes('Row 1 accepted')")
    assert read(run / DECISIONS)[0][0].note == "reads well"
    tab.click("#back")
    tab.wait_for_function("id => document.querySelector('#row').dataset.id === id", arg=first)
    assert tab.inner_text("#verdict") == "You accepted this row."
    assert tab.input_value("#note") == "reads well"


def test_a_row_is_edited_in_its_place(tab, run):
    id = shown(tab)
    press(tab, "e", "Write the text")
    tab.keyboard.press("Escape")
    assert tab.is_visible("#judge")
    press(tab, "e", "Write the text")
    box = tab.locator("textarea[name=prompt]")
    before = box.input_value()
    box.fill(before + "，改过了")
    tab.keyboard.press("End")
    tab.keyboard.type(" are a r u")
    assert verdicts(run) == {}, "letters in a text are no verdicts"
    press(tab, "Control+Enter", "Row 1 edited")
    (decision,) = read(run / DECISIONS)[0]
    assert (decision.row, decision.prompt) == (id, before + "，改过了 are a r u")
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_function("id => document.querySelector('#row').dataset.id === id", arg=id)
    assert "改过了" in tab.inner_text("#fields")
    tab.click("text=Before your edit")
    assert before in tab.inner_text("details.aside")


def test_an_edit_that_cannot_stand_stays_on_the_screen(tab, run):
    press(tab, "e", "Write the text")
    press(tab, "Control+Enter", "nothing was changed")
    assert tab.get_attribute("#notice", "class") == "fault"
    tab.fill("textarea[name=prompt]", "   ")
    press(tab, "Control+Enter", "the prompt is blank")
    assert tab.is_visible("textarea[name=prompt]")
    assert verdicts(run) == {}


def test_the_arrows_look_and_decide_nothing(tab, run):
    ids = [shown(tab)]
    for _ in range(9):
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("id => document.querySelector('#row').dataset.id !== id", arg=ids[-1])
        ids.append(shown(tab))
    assert len(set(ids)) == 10
    press(tab, "ArrowRight", "That was the last row")
    assert verdicts(run) == {}


def test_only_some_rows_are_shown_when_asked(tab):
    tab.select_option("#which", "rejected")
    tab.wait_for_function("() => document.querySelector('#kind').textContent === 'rejected'")
    assert "by " in tab.inner_text("#why")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_timeout(200)
    assert tab.inner_text("#kind") == "rejected"


def test_when_all_is_decided_the_page_says_what_comes_next(tab, run):
    for number in range(10):
        tab.wait_for_function("() => document.querySelector('#verdict').textContent === ''")
        press(tab, "a", f"Row {number + 1} accepted")
    assert tab.is_visible("#finish")
    assert tab.inner_text("#command") == f"augment review {run.name} --publish"
    assert "100.0 % (95 % interval " in tab.inner_text("#rates")
    assert list(verdicts(run).values()) == ["accept"] * 10


def test_the_token_is_gone_from_the_address_and_a_reload_goes_on(tab, served):
    assert tab.url == f"http://127.0.0.1:{served.port}/", "neither in the address nor in the way back"
    assert tab.evaluate("history.length") <= 2
    press(tab, "a", "Row 1 accepted")
    tab.reload()
    tab.wait_for_selector("#row:not([hidden])")
    assert tab.inner_text("#done") == "1 of 10 decided"
    assert tab.evaluate("document.cookie") == ""
    assert tab.evaluate("performance.getEntriesByType('resource').every(one => one.name.startsWith(location.origin))")


def test_a_review_that_has_ended_says_so_and_keeps_what_is_written(tab, served):
    press(tab, "e", "Write the text")
    tab.fill("textarea[name=prompt]", "写了一半的话")
    assert served.end()[0] == 0
    press(tab, "Control+Enter", "cannot be reached; this was not stored")
    assert tab.input_value("textarea[name=prompt]") == "写了一半的话"


def hostile(place: Path) -> Path:
    """A run whose variants and seeds hold what nobody would want to run, and one very long text."""
    lines = [
        {
            "question": f"{HOSTILE} 第{i}号问题该怎么办",
            "answer": HOSTILE + "答" * (90_000 if i == 0 else 5),
            "label": HOSTILE,
        }
        for i in range(4)
    ]
    (place / "hostile.jsonl").write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    return made(place, source="hostile.jsonl", n="1x", filters="none", set={}, holdout=0.0).path


def test_hostile_texts_are_shown_and_never_run(place, chromium):
    run = hostile(place)
    assert len(curated(run).filter(pl.col("response").str.len_chars() > 90_000))
    with review(place, run, "--reviewer", "ann", "--sample", "4") as page:
        for id in [row["id"] for row in page.ask("/rows")["rows"]][1:3]:
            text = page.ask(f"/rows/{id}")["fields"][0]["text"]
            page.decide(id, "edit", prompt=f"{text}<img src=x onerror='window.hit = 4'>", note=HOSTILE)
        context = chromium.new_context(viewport={"width": 390, "height": 844})
        tab = _opened(context, page.url)
        tab.select_option("#which", "all")
        seen = ""
        for id in [row["id"] for row in page.ask("/rows")["rows"]]:
            tab.wait_for_selector(f"#row[data-id='{id}']")
            seen += tab.inner_text("#row")
            assert tab.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out"
            seen += " ".join(tab.locator("ins").all_inner_texts())
            tab.keyboard.press("ArrowRight")
        assert "<script>window.hit = 1</script>" in seen
        assert "&amp;" in seen
        assert "<img src=x onerror='window.hit = 4'>" in seen
        assert tab.evaluate("window.hit") is None
        assert tab.evaluate("document.querySelectorAll('#row script, #row img').length") == 0
        assert tab.evaluate("[...document.querySelectorAll('.text')].every(one => one.dir === 'auto')")
        assert tab.faults == []
        context.close()


def test_it_opens_from_a_page_of_another_site_as_a_terminal_in_a_browser_does(served, chromium, place):
    (place / "other.html").write_text(f'<meta http-equiv="refresh" content="0; url={served.url}">')
    context = chromium.new_context()
    tab = context.new_page()
    tab.goto((place / "other.html").as_uri())
    tab.wait_for_selector("#row:not([hidden])")
    tab.reload()
    tab.wait_for_selector("#row:not([hidden])")
    assert "token" not in tab.url and tab.inner_text("#row").strip()
    context.close()


def test_foreign_scripts_cannot_run_in_the_page(tab):
    tab.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.hit = 3';"
        " document.body.append(one); }"
    )
    assert tab.evaluate("window.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read_in_the_dark(served, chromium, scheme):
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    tab = _opened(context, served.url)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("accept", "reject", "edit", "undo", "back", "next"):
        box = tab.locator(f"#{name}").bounding_box()
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= 740, "the buttons are in reach whatever the text's length"
    assert _contrasts(tab) >= 4.5
    tab.tap("#accept")
    tab.wait_for_function("() => document.querySelector('#notice').textContent.includes('Row 1 accepted')")
    assert tab.faults == []
    context.close()


def _contrasts(tab) -> float:
    """The least contrast of a text on its ground (WCAG 2.2, 1.4.3)."""
    return tab.evaluate(
        """() => {
        const light = (color) => {
          const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map((one) => one / 255)
            .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (one) => {
          const color = getComputedStyle(one).backgroundColor;
          return color === "rgba(0, 0, 0, 0)" && one.parentElement ? ground(one.parentElement) : color;
        };
        const texts = [...document.querySelectorAll("h1, h3, dt, dd, span, p, ins, del, summary, label, button")]
          .filter((one) => one.checkVisibility() && one.textContent.trim() && !one.disabled);
        return Math.min(...texts.map((one) => {
          const [high, low] = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a);
          return (high + 0.05) / (low + 0.05);
        }));
      }"""
    )


def test_every_control_has_a_name_and_what_happens_is_announced(tab):
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, progress")].filter((one) =>
          !(one.getAttribute("aria-label") || one.textContent.trim() || one.closest("label"))).map((one) => one.id)"""
    )
    assert nameless == []
    assert tab.get_attribute("#notice", "aria-live") == "polite"
    assert tab.get_attribute("html", "lang") == "en"
    press(tab, "e", "Write the text")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "prompt"


def test_what_differs_from_the_seed_is_marked(tab):
    for _ in range(10):
        if tab.locator("ins").count():
            break
        tab.keyboard.press("ArrowRight")
        tab.wait_for_timeout(150)
    pair = tab.locator(".pair:not(.alone)").first
    seed, variant = (pair.locator(f"{side} .text").inner_text() for side in (".seed", ".variant"))
    marks = pair.locator(".variant ins").all_inner_texts()
    assert marks
    assert all(each in variant for each in marks)
    rest = variant
    for each in marks:
        rest = rest.replace(each, "", 1)
    dropped = seed
    for each in pair.locator(".seed del").all_inner_texts():
        dropped = dropped.replace(each, "", 1)
    assert len(rest) == len(dropped), "without the marks both are the same"
