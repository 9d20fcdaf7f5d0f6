"""A report in a real browser: it renders, finds, filters, escapes, and works by keyboard, on a phone and on paper."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress

import polars as pl
import pytest

from tests.browser import browser, needs_browser
from tests.report_pages import HOSTILE, LONG, RTL, make_run, workplace, write_seeds

pytestmark = needs_browser
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 720}


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`a`, of hostile rows, with what was trained on it and asked; `big`, of the sample, filtered; both side by side."""
    from augment.manifest import digest_of
    from augment.report.write import write_report

    folder = tmp_path_factory.mktemp("pages")
    with workplace(folder):
        source = write_seeds(folder / "seeds.jsonl").name
        make_run(folder / "runs/a", source=source, generators="paraphrase,answer", filters="none")
        make_run(folder / "runs/big", source="sample", generators="paraphrase,persona,answer", n="5x")
        history = [
            {"step": step, "loss": 3 - step / 9, "ce": 3 - step / 9, "learning_rate": 1e-4} for step in range(1, 9)
        ]
        history.append({"step": 8, "eval_loss": 2.4})
        manifest = digest_of(folder / "runs/a/manifest.json")["sha256"]
        record(folder / "adapters/mine", "training", data={"manifest": manifest}, history=history)
        scores = {"metric": "cosine", "mean": 0.6, "low": 0.5, "high": 0.7, "rows": 9}
        counts = {
            "model": "mine",
            "label": HOSTILE,
            "metric": "cosine",
            "counts": [0, 1, 2, 3, 4, 3, 2, 1, 0, 0],
            "failed": 0,
        }
        record(
            folder / "evaluations/e", "evaluation",
            models=[{"name": "mine", "adapter": "adapters/mine"}],
            table=[{"model": "mine", "label": label, **scores} for label in (None, HOSTILE)],
            floor=[{"name": "unrelated answers", "label": None, **scores}],
            histograms=[counts],
        )  # fmt: skip
        arms = [
            {"name": name, "rows": 9, "scores": [0.5, 0.7], "mean": 0.6, "low": 0.5, "high": 0.7}
            for name in ("real", HOSTILE)
        ]
        record(folder / "lifts/l", "lift", run={"manifest": manifest}, metric="accuracy", arms=arms)
        for names in (["a"], ["big"], ["a", "big"]):
            write_report(names)
    return folder


def record(folder, kind, **told):
    folder.mkdir(parents=True)
    (folder / f"{kind}.json").write_text(json.dumps(told))


@pytest.fixture
def page(chromium, made):
    """`page("a", width=360)` opens a report when all is drawn; what went wrong in it fails the test at its end."""
    opened, faults = [], []

    def open_page(name: str, viewport=DESKTOP, **settings):
        path = made / "report.html" if name == "both" else made / f"runs/{name}/report.html"
        context = chromium.new_context(viewport=viewport, offline=True, **settings)
        opened.append(context)
        found = context.new_page()
        found.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        found.on("pageerror", lambda error: faults.append(str(error)))
        found.on("request", lambda sent: None if sent.url.startswith("file:") else faults.append(sent.url))
        found.goto(f"file://{path}")
        found.wait_for_selector("html[data-plots]", state="attached")
        return found

    yield open_page
    for context in opened:
        context.close()
    assert not faults


def rows_of(made, name):
    """Every row of a run, kept and dropped."""
    frames = [pl.read_parquet(made / f"runs/{name}" / file) for file in ("curated/train.parquet", "rejected.parquet")]
    return pl.concat(frames, how="diagonal")


def count(page):
    return int(page.inner_text("#count").split()[0].replace(",", ""))


def settled(page, expected):
    """The count, once the page has had the time to search."""
    with chance(page):
        page.wait_for_selector(f"#count:text-matches('^{expected:,} of')", timeout=3000)
    return count(page)


@contextmanager
def chance(page):
    from playwright.sync_api import TimeoutError as Late

    with suppress(Late):
        yield


def pick(page, select, starts):
    """Choose the option whose text starts so."""
    texts = page.locator(f"{select} option").all_inner_texts()
    page.select_option(select, index=next(i for i, text in enumerate(texts) if text.startswith(starts)))


def test_every_plot_is_drawn_and_nothing_goes_wrong(page):
    found = page("a")
    plots = found.locator("[data-chart]")
    assert plots.count() >= 10
    for place in range(plots.count()):
        marks = plots.nth(place).locator(
            "svg .mark-rect path, svg .mark-line path, svg .mark-area path, svg .mark-symbol path, svg .mark-rule line"
        )
        assert marks.count(), plots.nth(place).get_attribute("data-chart")
    assert found.locator("#training svg, #evaluation svg, #lift svg").count() >= 4


def test_a_search_finds_the_rows_that_hold_all_words_in_any_case(page, made):
    found, rows = page("big"), rows_of(made, "big")
    assert count(found) == len(rows)
    both = pl.concat_str("prompt", "response", separator="\n", ignore_nulls=True)
    for words in (["血压"], ["血压", "药"], ["COUGH"], ["no such words at all"], ["a.*b("]):
        here = rows
        for word in words:
            here = here.filter(both.str.to_lowercase().str.contains(word.lower(), literal=True))
        found.fill("#search", " ".join(words))
        assert settled(found, len(here)) == len(here), words
    one = rows["id"][7]
    found.fill("#search", one[:12])
    assert settled(found, 1) == 1
    assert found.locator("#list .row").get_attribute("id")
    found.click("button[type=reset]")
    assert settled(found, len(rows)) == len(rows)


def test_filters_narrow_to_generator_label_verdict_and_score(page, made):
    found, rows = page("big"), rows_of(made, "big")
    dropped = pl.col("dropped_by").is_not_null()
    pick(found, "#filter-generator", "persona")
    assert count(found) == len(rows.filter(pl.col("generator") == "persona"))
    pick(found, "#filter-label", "sleep")
    assert count(found) == len(rows.filter(pl.col("generator") == "persona", pl.col("label") == "sleep"))
    found.select_option("#filter-generator", "")
    pick(found, "#filter-kind", "kept")
    assert count(found) == len(rows.filter(pl.col("label") == "sleep", pl.col("generator") != "seed", ~dropped))
    found.click("button[type=reset]")
    assert settled(found, len(rows)) == len(rows)
    pick(found, "#filter-kind", "dropped")
    assert count(found) == len(rows.filter(dropped)) > 0
    found.click("button[type=reset]")
    found.select_option("#filter-score", "near_dup_jaccard")
    found.fill("#filter-low", "0.3")
    found.fill("#filter-high", "0.6")
    within = rows.filter(pl.col("near_dup_jaccard").is_between(0.3, 0.6))
    assert settled(found, len(within)) == len(within) > 0


def test_rows_can_be_put_in_the_order_of_a_score(page, made):
    found, rows = page("big"), rows_of(made, "big")
    found.select_option("#filter-score", "length_prompt")
    found.select_option("#order", "down")
    scored = rows.filter(pl.col("length_prompt").is_not_null())
    assert count(found) == len(scored)
    assert f"length_prompt {scored['length_prompt'].max()}" in found.locator("#list .row").first.inner_text()


def test_a_reason_in_a_table_leads_to_its_rows(page, made):
    found, rows = page("big"), rows_of(made, "big")
    by, why, expected = (
        rows.filter(pl.col("dropped_by").is_not_null()).group_by("dropped_by", "reason").len().sort("len").row(-1)
    )
    found.click(f"#happened a:has-text('{by}: {why}')")
    assert count(found) == expected
    assert f"✕ {by}: {why}" in found.inner_text("#detail .chosen .head")
    found.click("#happened a:has-text('persona')")
    assert count(found) == len(rows.filter(pl.col("generator") == "persona"))


def test_only_the_rows_in_sight_are_in_the_document(page, made):
    found, rows = page("big"), rows_of(made, "big")
    assert count(found) == len(rows) > 700
    assert found.locator("#list .row").count() < 60
    found.evaluate("const list = document.getElementById('list'); list.scrollTop = list.scrollHeight")
    found.wait_for_selector(f"#list .row[aria-posinset='{len(rows)}']")
    assert found.locator("#list .row").count() < 60


def test_what_rows_hold_is_shown_and_never_run(page, made):
    found = page("a")
    found.fill("#search", "window.hacked")
    hostile = rows_of(made, "a").filter(pl.col("prompt").str.contains("window.hacked", literal=True))
    assert settled(found, len(hostile)) == len(hostile) > 2
    found.locator("#list .row").first.click()
    assert HOSTILE in found.inner_text("#detail .text >> nth=0")
    assert HOSTILE in found.inner_text("#list .row >> nth=0")
    pick(found, "#filter-label", HOSTILE[:20])
    assert found.evaluate("window.hacked") is None
    assert found.locator("main img, main script").count() == 0
    assert (
        HOSTILE[:30] in found.inner_text("#plot-labels")
        or found.locator("#plot-labels svg text", has_text="<script>").count()
    )


def test_a_tooltip_is_text(page):
    found = page("a")
    found.locator("#plot-labels .mark-rect path").first.hover()
    found.wait_for_selector("#tip:not([hidden])")
    shown = found.inner_text("#tip")
    assert "seeds" in shown or "variants" in shown
    assert found.locator("#tip script, #tip img").count() == 0


def test_right_to_left_text_runs_from_the_right_and_an_override_stays_in_its_cell(page):
    found = page("a")
    found.fill("#search", RTL[:12])
    assert settled(found, 4) == 4
    found.locator("#list .row").first.click()
    line = found.locator("#list .row .line").first
    assert line.evaluate("each => getComputedStyle(each).direction") == "rtl"
    assert found.locator("#detail .text").first.evaluate("each => getComputedStyle(each).direction") == "rtl"
    for cell in ("#list .row .line", "#detail .text"):
        assert found.locator(cell).first.evaluate("each => getComputedStyle(each).unicodeBidi") in (
            "isolate",
            "plaintext",
        )


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_a_cell_of_100_kb_breaks_nothing_and_tells_what_is_missing(page, made, viewport):
    found = page("a", viewport)
    long = rows_of(made, "a").filter(pl.col("prompt").str.len_chars() > 90_000)
    found.fill("#search", "头疼头疼头疼")
    assert settled(found, len(long)) == len(long) > 1
    found.locator("#list .row").first.click()
    shown = found.inner_text("#detail .chosen .text >> nth=0")
    whole = len(f"失眠很久了\u202e该怎么办\u202c？{LONG}")
    assert f"{whole - 4000:,} more characters" in shown
    assert found.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    for name in ("#list", "#detail", "#detail .chosen .text"):
        assert found.locator(name).first.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_a_seed_stands_beside_its_variants_with_the_differences_marked(page, made):
    found, rows = page("a"), rows_of(made, "a")
    seed = rows.filter(pl.col("prompt") == "糖尿病人能吃西瓜吗").row(0, named=True)
    variants = rows.filter(pl.col("parents").list.first() == seed["id"])
    found.fill("#search", seed["id"])
    assert settled(found, 1) == 1
    found.locator("#list .row").click()
    members = found.locator("#detail .member")
    assert members.count() == 1 + len(variants)
    for place, row in enumerate(variants.iter_rows(named=True), 1):
        text = members.nth(place).locator(".text").first
        read = text.evaluate("each => [...each.childNodes].map(node => [node.nodeName, node.textContent])")
        assert "".join(part for kind, part in read if kind != "DEL") == row["prompt"]
        if row["prompt"] != seed["prompt"]:
            assert "".join(part for kind, part in read if kind != "INS") == seed["prompt"]
            assert any(kind == "INS" for kind, _ in read)


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ("血压高要吃药吗", "血压高用不用吃药吗", "血压高[-要-]{+用不用+}吃药吗"),
        ("I have a dry cough", "I have a bad cough", "I have a [-dry-]{+bad+} cough"),
        ("一样", "一样", "一样"),
        ("头疼", "完全另外的一句话", "{+完全另外的一句话+}"),
        ("发烧38度怎么办", "发烧39度怎么办", "发烧[-38-]{+39+}度怎么办"),
    ],
)
def test_characters_of_chinese_and_words_of_english_are_marked(page, before, after, marked):
    found = page("a")
    read = found.evaluate(
        "([before, after]) => { const into = document.createElement('p'); marked(into, before, after);"
        " return [...into.childNodes].map(node => [node.nodeName, node.textContent]); }",
        [before, after],
    )
    signs = {"DEL": "[-{}-]", "INS": "{{+{}+}}"}
    assert "".join(signs.get(kind, "{}").format(text) for kind, text in read) == marked


def test_the_page_works_by_keyboard(page, made):
    found, rows = page("big"), rows_of(made, "big")
    found.keyboard.press("Tab")
    assert found.evaluate("document.activeElement.className") == "skip"
    found.keyboard.press("/")
    assert found.evaluate("document.activeElement.id") == "search"
    found.keyboard.type("a/b")
    assert found.input_value("#search") == "a/b", "in a field, / is a letter"
    assert (
        settled(found, 0) == 0
    )  # typing is searched for a moment later: wait, or that search comes amid the keys below
    found.fill("#search", "")
    assert settled(found, len(rows)) == len(rows)
    found.focus("#list")
    chosen = "document.querySelector('#list [aria-selected=true]')?.getAttribute('aria-posinset')"
    for key, place in (("ArrowDown", 2), ("ArrowDown", 3), ("ArrowUp", 2), ("End", len(rows)), ("Home", 1)):
        found.keyboard.press(key)
        found.wait_for_function(f"{chosen} === '{place}'")  # a list that is scrolled is drawn anew
        assert found.evaluate(chosen) == str(place), key
        active = found.evaluate("document.getElementById('list').getAttribute('aria-activedescendant')")
        assert found.evaluate(f"document.getElementById('{active}').getAttribute('aria-selected')") == "true"
    found.keyboard.press("PageDown")
    assert int(found.evaluate(chosen)) > 5
    found.keyboard.press("Enter")
    assert found.evaluate("document.activeElement.id") == "detail"
    found.keyboard.press("Escape")
    assert found.evaluate("document.activeElement.id") == "list"


def test_every_field_and_region_has_a_name(page):
    found = page("both")
    nameless = found.evaluate(
        "[...document.querySelectorAll('input, select, [role=region], [role=listbox], [role=img], nav, section')]"
        ".filter(each => !(each.labels?.length || each.getAttribute('aria-label') || each.getAttribute('aria-labelledby')))"
        ".map(each => each.outerHTML.slice(0, 80))"
    )
    assert nameless == []


@pytest.mark.parametrize("name", ["a", "big", "both"])
def test_nothing_is_wider_than_a_phone(page, name):
    found = page(name, PHONE)
    assert found.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert (
        found.evaluate("getComputedStyle(document.querySelector('.browser')).gridTemplateColumns.split(' ').length")
        == 1
    )
    for plot in found.locator("[data-chart] svg").all():
        assert plot.bounding_box()["width"] <= PHONE["width"]


def test_dark_mode_is_dark_and_can_be_read(page):
    found = page("big", color_scheme="dark")
    colours = "(each) => [getComputedStyle(document.body).backgroundColor, getComputedStyle(each).color]"
    for name in ("body", "#count", "nav a", ".tiles dt", "#list .tags"):
        back, front = found.locator(name).first.evaluate(colours)
        assert luminance(back) < 0.03
        assert contrast(back, front) >= 4.5, name
    fills = found.evaluate(
        "[...document.querySelectorAll('#plot-labels svg text')].map(each => getComputedStyle(each).fill)"
    )
    assert all(contrast("rgb(20, 22, 26)", each) >= 4.5 for each in fills)


def test_light_mode_can_be_read(page):
    found = page("big")
    for name in ("body", "#count", "nav a", ".tiles dt", "#list .tags", ".tag-dropped"):
        if name == ".tag-dropped":
            pick(found, "#filter-kind", "dropped")
        front = found.locator(name).first.evaluate("each => getComputedStyle(each).color")
        assert contrast("rgb(255, 255, 255)", front) >= 4.5, name


def luminance(colour):
    parts = [float(each) / 255 for each in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """The ratio of WCAG 2, from 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_on_paper_there_are_no_controls_and_all_plots(page):
    found = page("big")
    found.emulate_media(media="print")
    for name in ("nav", ".filters", "#list"):
        assert not found.locator(name).first.is_visible(), name
    assert found.locator("#detail .member").count() > 1
    assert found.locator("[data-chart] svg").count() == found.locator("[data-chart]").count()
    assert found.pdf(format="A4").startswith(b"%PDF")


def test_a_point_of_the_map_leads_to_its_row(page):
    found = page("big")
    found.locator("#plot-map").scroll_into_view_if_needed()
    point = found.locator("#plot-map .mark-symbol.role-mark path").nth(40)
    told = point.get_attribute("aria-label")
    point.click(force=True)
    found.wait_for_selector("#detail .chosen")
    assert found.inner_text("#detail .chosen .text >> nth=0")[:20] in told


def test_the_colours_of_the_map_can_be_chosen(page):
    found = page("big")
    before = found.locator("#plot-map .role-legend text").all_inner_texts()
    found.select_option("#plot-map select", "generator")
    found.wait_for_selector("#plot-map .role-legend >> text=persona")
    assert found.locator("#plot-map .role-legend text").all_inner_texts() != before


def test_several_runs_are_in_one_browser_and_can_be_told_apart(page, made):
    found = page("both")
    sizes = {name: len(rows_of(made, name)) for name in ("a", "big")}
    assert count(found) == sum(sizes.values())
    for name, size in sizes.items():
        pick(found, "#filter-run", f"{name} (")
        assert count(found) == size
        assert name in found.locator("#list .row .tags").first.inner_text()


def test_a_page_of_one_run_asks_for_no_run(page):
    assert not page("a").locator("#filter-run").is_visible()
