"""Lean trafilatura: the same texts and the same elements as the plain one."""

import json
import random
import subprocess
import sys

import pytest
from lxml.etree import XPath
from lxml.html import HtmlElement, fromstring
from trafilatura import xpaths

from tasks.extract import lean
from tasks.extract.lean import RememberedSelector, remembered_selector
from tests.miniature import miniature_pages

# Words that trafilatura's expressions look for, some that they must not mistake for these, and some of neither.
WORDS = """
    post entry article-content articleBody body-text story-body main-column main content content-main page-content Main
    fulltext text comment commentary comments-title post-comments disqus_thread akismet reply-1 nav navbar menu sidebar
    footer share-x social ad-slot widget related teaser Teaser bottom article-bottom border-bottom-0 link permalink
    hidden hide-x noprint infinite-scroll mvp-post-add-box elementor-share-buttons caption cookie respond prose x y grid
""".split()  # noqa: SIM905
TAGS = ("div", "section", "article", "main", "p", "span", "ul", "ol", "aside", "details", "header", "item", "list")
STYLES = ("display:none", "display: none", "border: 1px", "color: red")


def random_tree(seed: int) -> HtmlElement:
    """A page of nested elements whose attributes hold such words, in any order of attributes."""
    draw = random.Random(seed)
    pieces: list[str] = []

    def element(depth: int) -> None:
        tag = draw.choice(TAGS)
        attributes = [f'{name}="{" ".join(draw.sample(WORDS, draw.randint(1, 2)))}"' for name in ("class", "id")]
        attributes += [f'style="{draw.choice(STYLES)}"', 'aria-hidden="true"', 'role="article"', 'role="Navigation"']
        attributes += ['itemprop="articleBody"', "data-lp-replacement-content", 'data-component="MostPopularStories"']
        kept = [attribute for attribute in attributes if draw.random() < (0.5 if "=" in attribute[:6] else 0.1)]
        draw.shuffle(kept)
        pieces.append(f"<{' '.join([tag, *kept])}>text ")
        for _ in range(draw.randint(0, 3) if depth < 6 else 0):
            element(depth + 1)
        pieces.append(f"</{tag}> tail ")

    for _ in range(12):
        element(0)
    return fromstring(f"<html><body>{''.join(pieces)}</body></html>")


def original_selectors() -> list[tuple[str, int, XPath]]:
    return [
        (name, k, XPath(selector.path, namespaces={"re": xpaths.REGEXP_NS}))
        for name in lean._SELECTOR_LISTS
        for k, selector in enumerate(getattr(xpaths, name))
        if isinstance(selector, XPath)
    ]


SELECTORS = original_selectors()


@pytest.fixture(scope="module")
def trees() -> list[HtmlElement]:
    return [random_tree(seed) for seed in range(25)]


def test_most_selectors_have_the_shape() -> None:
    remembered = [remembered_selector(s, only_first=name in lean._ONLY_THE_FIRST) for name, _, s in SELECTORS]
    assert sum(selector is not None for selector in remembered) >= 18


@pytest.mark.parametrize(("name", "k", "selector"), SELECTORS, ids=[f"{name}-{k}" for name, k, _ in SELECTORS])
def test_remembered_selectors_find_the_same_elements(
    name: str, k: int, selector: XPath, trees: list[HtmlElement]
) -> None:
    only_first = name in lean._ONLY_THE_FIRST
    remembered = remembered_selector(selector, only_first=only_first)
    if remembered is None:
        pytest.skip("another shape: left to XPath")
    n_found = 0
    for tree in (*trees, *trees):  # the second time from memory alone
        expected = selector(tree)
        n_found += len(expected)
        assert remembered(tree) == (expected[:1] if only_first else expected)
    if name != "RAW_TREE_PRUNE_XPATH":
        assert n_found > 0


def test_the_order_of_attributes_counts_where_xpath_reads_the_first() -> None:
    path = ".//*[self::div][re:test(@id|@class, 'cookie')]"
    tree = fromstring('<body><div id="x" class="cookie">a</div><div class="cookie" id="x">b</div></body>')
    found = RememberedSelector(path)(tree)
    assert [element.text for element in found] == ["b"]
    assert found == XPath(path, namespaces={"re": xpaths.REGEXP_NS})(tree)


def test_what_depends_on_more_than_the_element_is_asked_each_time() -> None:
    path = ".//*[self::div][@class='x'][not(.//h1)]"
    tree = fromstring("<body><div class='x'><p>a</p></div><div class='x'><h1>b</h1></div></body>")
    assert RememberedSelector(path)(tree) == [tree[0]]


@pytest.mark.parametrize(
    "path",
    [
        "(.//article)[1]",
        ".//header",
        ".//cite|.//quote",
        ".//*[rel='me']",
        ".//*[@id='a']/p",
        ".//*[@id='a'][2]",
        ".//*[position()=1]",
        ".//*[../@id='a']",
        "(.//*[self::div][@id='a'])[1]|(.//main)[1]",
    ],
)
def test_other_shapes_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"shape|test of attributes|more than predicates"):
        RememberedSelector(path)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "MAX_VERDICTS", 10)
    selector = RememberedSelector(".//*[contains(@class, 'a')]")
    tree = fromstring("".join(f"<p class='{k}a{'x' * (2000 * (k % 2))}'>x</p>" for k in range(100)))
    assert len(selector(tree)) == 100
    assert len(selector._verdicts) <= 10
    assert all(len(str(key)) < 2000 for key in selector._verdicts)


WHOLE = """
import json, sys
from tasks.extract import lean
from tasks.extract.page import ExtractionOptions, Page, extract_page
if sys.argv[1] == "lean":
    lean.use_lean_trafilatura()
    lean.use_lean_trafilatura()
modes = [ExtractionOptions(mode=mode) for mode in ("precision", "balanced", "recall")]
found = [extract_page(page, "2024-05-18", options) for page in json.load(sys.stdin) for options in modes]
print(json.dumps([page.text if isinstance(page, Page) else page.reason for page in found]))
"""


def test_texts_are_the_same_with_and_without() -> None:
    pages = [page.body.decode("utf-8", "replace") for part in miniature_pages() for page in part]
    pages += [
        f"<html><body>{'<p>Some words of a paragraph, which is long enough.</p>' * k}</body></html>" for k in (1, 9)
    ]
    results = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", WHOLE, how],
                input=json.dumps(pages),
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for how in ("lean", "plain")
    ]
    assert results[0] == results[1]
    assert sum(len(text) > 200 for text in results[0]) > 20
