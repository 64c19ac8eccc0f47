"""The map of a release, in Chromium, as somebody would use it who opens the folder."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.looking import map_page
from atlas_pipeline.questions import NotAnAtlasError
from atlas_pipeline.release import map_files as module
from atlas_pipeline.release.map_files import TABLES, map_files
from atlas_pipeline.release.warehouse import build_warehouse
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableStore
from atlas_pipeline_tests.quality.sound_tables import BASE, SNAPSHOTS, TUNED, row, sound_rows, write_home

HOSTILE = "lab/<img src=x onerror=alert(1)>'\"`\u202e;--${1}</script>"
SOFTWARE = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SOURCES = Path(__file__).parents[2] / "map"


def write(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    for name, content in map_files(connection, "2025.12.01"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """Sound rows, and one more model, which is a child of another and has a hostile name."""
    rows = sound_rows()
    rows["components.models"] += [
        row("components.models", snapshot=snapshot, model_id=HOSTILE, license=HOSTILE, downloads_30d=7)
        for snapshot in SNAPSHOTS
    ]
    rows["release.positions"].append(
        row("release.positions", model_id=HOSTILE, x=12.0, y=5.0, component_id=BASE, component_size=5)
    )
    for each in rows["release.positions"]:
        each["component_size"] += each["component_id"] == BASE and each["model_id"] != HOSTILE
    rows["edges.charted"].append(row("edges.charted", child_id=HOSTILE, parent_id=TUNED, region_id="lab--base"))
    return write_home(str(tmp_path_factory.mktemp("home")), rows)


@pytest.fixture(scope="module")
def folder(home: TableStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its map, in pieces of three models."""
    target = tmp_path_factory.mktemp("map")
    with pytest.MonkeyPatch.context() as patch, home.connect(dict.fromkeys(TABLES), optional=TABLES) as connection:
        patch.setattr(module, "PIECE_ROWS", 3)
        write(target, connection)
    assert len(list((target / "data").glob("models-*.js"))) > 1
    return target


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=SOFTWARE)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    """A new page; nothing may be said on its console, asked of the user, or loaded from elsewhere."""
    opened = browser.new_page(viewport={"width": 1000, "height": 700})
    troubles: list[str] = []
    opened.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: troubles.append(request.url) if outside(request.url) else None)
    show(opened, folder)
    yield opened
    opened.close()
    assert troubles == []


def outside(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def show(page: Page, folder: Path, fragment: str = "") -> None:
    page.goto((folder / "index.html").as_uri() + fragment)
    page.wait_for_selector("html[data-ready]", state="attached")


def search(page: Page, text: str) -> list[str]:
    page.fill("#search", text)
    return page.locator("#hits [role=option]").all_inner_texts()


def colours(page: Page) -> int:
    page.wait_for_timeout(600)
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))[:, 320:]
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_all_models_are_counted_and_drawn(page: Page):
    assert page.inner_text("#status") == f"8 models, 6 edges · {SNAPSHOTS[-1]} · release 2025.12.01"
    page.uncheck("#names")
    drawn = colours(page)
    for box in page.locator("#relations input").all():
        box.uncheck()
    page.wait_for_timeout(300)
    assert page.inner_text("#status").startswith("0 shown of 8 models")
    assert drawn > 5 > colours(page)


def test_search_finds_beginnings_first_and_opens_with_the_keyboard(page: Page):
    assert search(page, "LAB/BASE")[0] == BASE
    assert len(search(page, "a")) == 8 - sum("a" not in each for each in models(page))
    assert search(page, "no such model") == []
    assert "0 found" in page.inner_text("#hits")
    search(page, TUNED[:-1])
    page.press("#search", "ArrowDown")
    page.press("#search", "Enter")
    assert page.inner_text("#details h2") == TUNED
    assert page.evaluate("decodeURIComponent(location.hash)") == f"#{TUNED}"


def models(page: Page) -> list[str]:
    return list(page.evaluate("atlasScene.atlas.models.ids"))


def test_a_model_shows_parents_children_licenses_and_evidence(page: Page):
    search(page, TUNED)
    page.press("#search", "Enter")
    details = page.inner_text("#details")
    assert "as declared" in details
    assert "% sure" in details
    assert page.locator("#path li").first.inner_text().startswith(BASE)
    assert page.locator("#path li").last.inner_text().startswith(TUNED)
    page.click(f"#details button.link:text-is('{BASE}')")
    assert page.inner_text("#details h2") == BASE
    assert "None known." in page.inner_text("#details"), "a source model has no parents"
    page.keyboard.press("Escape")
    assert page.is_hidden("#details")


def test_a_click_on_the_map_opens_the_model_under_it(page: Page):
    number = models(page).index(BASE)
    x, y = page.evaluate("(number) => atlasScene.project(number)", number)
    page.mouse.click(x, y)
    assert page.inner_text("#details h2") == BASE


def test_a_link_leads_to_its_model(page: Page, folder: Path):
    page.goto("about:blank")
    show(page, folder, f"#{TUNED}")
    assert page.inner_text("#details h2") == TUNED
    page.goto("about:blank")
    show(page, folder, "#lab/unknown%")
    assert "There is no model lab/unknown%" in page.inner_text("#status")


def test_filters_by_time_and_confidence(page: Page):
    page.fill("#until", page.get_attribute("#until", "min") or "")
    page.wait_for_timeout(300)
    shown = int(page.inner_text("#status").split()[0])
    assert 1 <= shown < 8
    page.fill("#until", page.get_attribute("#until", "max") or "")
    page.fill("#sureness", "100")
    page.wait_for_timeout(300)
    assert page.inner_text("#sureness-said") == "100 %"
    assert "shown of" in page.inner_text("#status") or page.inner_text("#status").startswith("8 models")


@pytest.mark.parametrize("colour", ["relation", "modality", "license", "task", "created", "confidence"])
def test_every_colour_has_a_legend(page: Page, colour: str):
    page.select_option("#colour", colour)
    page.wait_for_timeout(100)
    assert page.locator("#legend li").count() >= 1
    page.click("#theme")


def test_hostile_names_are_texts(page: Page):
    shown = HOSTILE.replace("\u202e", "\ufffd")
    assert search(page, "onerror") == [shown]
    page.press("#search", "Enter")
    assert page.inner_text("#details h2") == shown
    assert shown in page.inner_text("#path")
    page.click("text=Everything connected")
    assert shown in page.inner_text("#table")
    page.select_option("#colour", "license")
    page.locator("#legend").filter(has_text=shown).wait_for()
    assert page.locator("body img").count() == 0
    href = page.get_attribute("#details a", "href") or ""
    assert href.startswith("https://huggingface.co/lab/%3Cimg%20src")


def test_the_page_runs_no_other_scripts(page: Page):
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_nothing_that_is_put_into_the_page_runs(browser: Browser, folder: Path):
    page = browser.new_page()
    show(page, folder)
    page.evaluate("""() => {
        const made = document.createElement('script');
        made.textContent = 'document.documentElement.dataset.harmed = 1';
        document.body.append(made);
        const image = document.createElement('div');
        image.innerHTML = '<img src=x onerror="document.documentElement.dataset.harmed = 1">';
        document.body.append(image);
    }""")
    page.wait_for_timeout(300)
    assert page.get_attribute("html", "data-harmed") is None
    page.close()


@pytest.mark.parametrize("what", ["All descendants", "All ancestors", "Everything connected", "search"])
def test_the_query_of_a_table_gives_the_same_models(page: Page, home: TableStore, tmp_path: Path, what: str):
    build_warehouse(home, "atlas.duckdb")
    if what == "search":
        page.fill("#search", "LAB")
        page.press("#search", "Control+Enter")
    else:
        search(page, BASE if what == "All descendants" else TUNED)
        page.press("#search", "Enter")
        page.click(f"text={what}")
    listed = page.locator("#table tbody td:first-child").all_inner_texts()
    query = page.input_value("#table textarea")
    with duckdb.connect(home.files.path("atlas.duckdb"), read_only=True) as connection:
        relation = connection.sql(query)
        column = next(name for name in ("model_id", "child_id", "parent_id") if name in relation.columns)
        found = {str(each[0]).replace("\u202e", "\ufffd") for each in relation.select(column).fetchall()}
    assert set(listed) == found
    assert listed


def test_the_same_tables_give_the_same_bytes(home: TableStore):
    def made() -> dict[str, bytes]:
        with home.connect(dict.fromkeys(TABLES), optional=TABLES) as connection:
            return dict(map_files(connection, "1"))

    assert made() == made()


def test_an_empty_atlas_says_so(browser: Browser, tmp_path: Path):
    with TableStore(str(tmp_path / "home")).connect(dict.fromkeys(TABLES), optional=TABLES) as connection:
        write(tmp_path / "map", connection)
    page = browser.new_page()
    page.goto((tmp_path / "map" / "index.html").as_uri())
    page.wait_for_selector("text=This release holds no models.")
    page.close()


def test_a_missing_piece_is_named(browser: Browser, folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "map")
    (tmp_path / "map" / "data" / "models-001.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "map" / "index.html").as_uri())
    page.wait_for_selector("text=data/models-001.js cannot be loaded")
    page.close()


def test_the_bundle_is_built_from_these_sources():
    digest = hashlib.sha256()
    for source in sorted((SOURCES / "src").iterdir()):
        digest.update(source.read_bytes())
    digest.update((SOURCES / "package.json").read_bytes())
    site = Path(module.__file__).parent / "site"
    built = re.match(rb"// built from ([0-9a-f]{64})", (site / "map.js").read_bytes())
    assert built is not None
    assert built[1].decode() == digest.hexdigest(), "run `make map`"
    assert "deck.gl" in (site / "licenses.txt").read_text(encoding="utf-8")


def test_the_command_opens_the_map_of_a_release_or_makes_one(home: TableStore, tmp_path: Path):
    atlas = Atlas(Settings(home=home.files.path("")))
    made = map_page(atlas, None, tmp_path / "own")
    assert made == tmp_path / "own" / "index.html"
    build_warehouse(home, "release/atlas.duckdb")
    beside = map_page(atlas, Path(home.files.path("release")), None)
    assert beside.parent.name == "map"
    assert (beside.parent / "data" / "models-000.js").read_bytes() == (
        made.parent / "data" / "models-000.js"
    ).read_bytes()
    with pytest.raises(NotAnAtlasError, match="atlas run"):
        map_page(Atlas(Settings(home=str(tmp_path / "empty"))), None, None)
