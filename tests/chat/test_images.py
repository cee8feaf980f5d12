"""Images in an answer: which are found, which are fetched and from where, how they are shown."""

from __future__ import annotations

import copy
import pickle
import re
import time

import markdown_oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_serving import BOMB, FILES, PNG, ImageServer, images, uri
from markdown_oracle import FRAGMENTS, HOSTILE, wrong_in
from png import png
from serving import TOKEN

from nb_backend import Answer, Chat, RawResponse
from nb_backend.chat import images as answer_images
from nb_backend.chat.export import to_markdown
from nb_backend.chat.images import ImageUrl
from nb_backend.chat.transcript import Transcript
from nb_backend.markdown import data_uris as markdown_data
from nb_backend.markdown.data_uris import DataUriShortener, shorten_data_uris, shorten_images
from nb_backend.markdown.safe import image_addresses, safe_markdown
from nb_backend.transport.routing import same_origin_url

SECOND = FILES["second.png"]
LARGE = uri(FILES["large.png"])


@pytest.fixture
def server(image_server: ImageServer) -> ImageServer:
    return image_server


# -- which images


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("![a](/x.png) and ![b](<a b.png> 'title')", ["/x.png", "a b.png"]),
        ("![a][r] ![r] ![r][]\n\n[r]: /x.png", ["/x.png"] * 3),
        ("[![a](x.png)](https://e.x) - ![b](https://e.x/b.png)", ["x.png", "https://e.x/b.png"]),
        ("`![a](x.png)`\n\n```\n![b](y.png)\n```\n\n    ![c](z.png)", []),
        ("\\![a](x.png) [b](y.png) ! [c](z.png) ![d] (w.png)", []),
        ("| ![a](x.png) |\n| --- |\n| ![b](y.png) |\n\n> - ![c](z.png)", ["x.png", "y.png", "z.png"]),
        (f"![a]({LARGE})", [LARGE]),
        ("![a](x.png?a&amp;b)", ["x.png?a&b"]),
        ("", []),
    ],
)
def test_the_images_of_markdown(text, addresses):
    assert image_addresses(text) == addresses


def test_each_image_once_in_order():
    answer = Answer(text="![a](https://e.x/2.png) ![b](https://e.x/3.png) ![c](https://e.x/2.png)")
    for urls in (["https://e.x/1.png", "https://e.x/2.png", 7, None, {"url": "x"}], "https://e.x/1.png"):
        answer.add(RawResponse(type="content", urls=urls))
    answer.end()
    answer.end()
    assert answer.images == ["https://e.x/1.png", "https://e.x/2.png", "https://e.x/3.png"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*FRAGMENTS, LARGE, f"![a]({LARGE})", "![b](/x.png)"]), max_size=16).map("".join))
def test_finding_images_never_raises(text):
    answer = Answer(text=text)
    answer.add(RawResponse(type="content", urls=[text], alt=text))
    answer.end()
    assert len(set(answer.images)) == len(answer.images)
    for is_live in (True, False):
        assert isinstance(answer.to_markdown(live=is_live), str)


# -- which are fetched


async def test_an_image_of_the_server_stands_in_the_answer(server):
    server.engine.enqueue("Here: ", images("/media/x.png", alt="a [red] dot"), images("/media/x.png"))
    answer = await Chat().ask("Draw")
    assert answer.images == [f"{server.url}/media/x.png"]
    assert answer.to_markdown() == f"Here:\n\n![a red dot]({uri(PNG)})"
    assert answer._repr_markdown_() == answer.to_markdown()
    assert server.asked == ["/media/x.png"]
    for same in (pickle.loads(pickle.dumps(answer)), copy.deepcopy(answer), copy.copy(answer)):
        assert (same, same.to_markdown()) == (answer, answer.to_markdown())
        assert same.images[0].data_uri == uri(PNG)


async def test_images_in_the_form_of_g4f(server):
    text = (
        "<!-- generated images start -->\n[![#1 dot](/media/x.png?w=5)](/media/x.png)\n"
        "[![#2 dot](/media/second.png)](https://e.x/second.png)\n<!-- generated images end -->\n"
    )
    server.engine.enqueue(images("/media/x.png", "/media/second.png", content=text, alt="dot"))
    answer = await Chat().ask("Draw")
    shown = (
        f"[![&#35;1 dot]({uri(PNG)})]({server.url}/media/x.png)\n[![&#35;2 dot]({uri(SECOND)})](https://e.x/second.png)"
    )
    assert answer.to_markdown() == shown
    assert answer.text == text
    assert sorted(server.asked) == ["/media/second.png", "/media/x.png", "/media/x.png?w=5"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I saved it as `/media/x.png`.", "I saved it as `/media/x.png`."),
        ("It is [here](/media/x.png)", "It is [here]({url}/media/x.png)"),
        ("See ![b](/media/x.png?id=10)", f"See ![b]({uri(PNG)})"),
        ("[![b](/media/second.png)](https://e.x/a)", f"[![b]({uri(SECOND)})](https://e.x/a)"),
    ],
)
async def test_an_image_that_is_merely_mentioned_is_shown(server, tmp_path, text, shown):
    server.engine.enqueue(text, images("/media/x.png"))
    chat = Chat()
    answer = await chat.ask("Draw")
    assert answer.to_markdown() == f"{shown.format(url=server.url)}\n\n![image]({uri(PNG)})"
    chat.export(tmp_path / "chat.md")
    assert f"\n\n![image]({uri(PNG)})" in (tmp_path / "chat.md").read_text()


async def test_the_images_of_an_answer_are_addresses_that_hold_the_image(server):
    server.engine.enqueue(images("/media/x.png", "https://e.x/y.png", uri(SECOND)))
    own, foreign, inline = (await Chat().ask("Draw")).images
    assert (own, own.data_uri) == (f"{server.url}/media/x.png", uri(PNG))
    assert (foreign, foreign.data_uri) == ("https://e.x/y.png", None)
    assert inline == inline.data_uri == uri(SECOND)
    assert ImageUrl("x").data_uri is None


async def test_an_image_of_the_text_is_fetched_at_the_end_and_shown_once(server):
    server.engine.enqueue("![a](/me", "dia/x.png) ![b][r] `![c](/media/second.png)`\n\n", "[r]: /media/x.png")
    answer = await Chat().ask("Draw")
    url = f"{server.url}/media/x.png"
    assert answer.to_markdown() == (
        f"![a]({uri(PNG)}) [image: b (127.0.0.1)]({url}) <code>&#33;&#91;c&#93;&#40;&#47;media&#47;second&#46;png&#41;"
        "</code>"
    )
    assert (answer.images, server.asked) == ([url], ["/media/x.png"])


@pytest.mark.parametrize("name", ["drawn.svg", "page.png", "empty.png", "huge.png", "none.png", "away.png", "slow.png",
                                  "near.png", "bomb.png", "bomb.jpg"])  # fmt: skip
async def test_what_is_not_an_image_stays_a_link(server, monkeypatch, name):
    monkeypatch.setattr(answer_images, "MAX_SECONDS", 30 if name != "slow.png" else 0.05)
    server.engine.enqueue(images(f"/media/{name}"), f"Words ![pic](/media/{name})")
    answer = await Chat().ask("Draw")
    url = f"{server.url}/media/{name}"
    assert answer.to_markdown() == f"Words [image: pic (127.0.0.1)]({url})"
    assert (answer.images, server.asked, server.strange) == ([url], [f"/media/{name}"], [])
    assert not answer.stopped


async def test_the_limits_of_an_answer(server, monkeypatch):
    monkeypatch.setattr(answer_images, "MAX_TOTAL_BYTES", len(PNG) + len(SECOND))
    server.engine.enqueue(images("/media/large.png", "/media/x.png", "/media/second.png", "/media/near.png"))
    answer = await Chat().ask("Draw")
    assert answer.to_markdown().count("](data:") == 2
    assert server.asked == ["/media/large.png", "/media/x.png", "/media/second.png"]
    monkeypatch.setattr(answer_images, "MAX_FETCHES", 1)
    server.engine.enqueue(images("/media/x.png", "/media/second.png"))
    assert (await Chat().ask("Draw")).to_markdown().count("](data:") == 1


async def test_nothing_is_fetched_for_an_answer_without_images(server):
    await Chat().ask("![a](/media/x.png")
    assert server.asked == []


STRANGE = [
    "http://{strange}/x.png", "HTTP://{strange}/x.png", "https://127.0.0.1:{port}/media/x.png", "//{strange}/x.png",
    "///{strange}/x.png", "\\\\{strange}\\x.png", "/\\{strange}/x.png", "http:{strange}", "http:/{strange}/x.png",
    "http:///{strange}/x.png", "http:\\\\{strange}\\x.png", "http://127.0.0.1:{port}@{strange}/",
    "http://u:p@127.0.0.1:{port}/media/x.png", "http://127.0.0.1:{port}\\@{strange}/", "http://localhost:{port}/x.png",
    "http://127.0.0.1:{port}%2f@{strange}/", "http://127.0.0.1:{port}%23@{strange}/", "http://127.0.0.1.:{port}/x",
    "http://127.1:{port}/x.png", "http://2130706433:{port}/x.png", "http://0x7f.0.0.1:{port}/x", "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://127.0.0.1/media/x.png", "http://127.0.0.1:99999/x.png",
    "http://127.0.0.1:{port} @{strange}/", "http://127.0.0.1:{port}\t@{strange}/", "\t//{strange}/x.png",
    " http://{strange}/x.png", "\x01http://{strange}/x.png", "/\t/{strange}/x.png", "http://\u24d5.x/x.png",
    "http://127\u30020\u30020\u30022/x.png", "ftp://{strange}/x.png", "file:///etc/passwd", "ws://{strange}/",
    "javascript:hit()", "blob:http://{strange}/x", "view-source:http://{strange}/", "data:text/html,pwned", "//",
    "http://", "https:", "http://[", "http://127.0.0.1:{port}:80/x.png", "x:/media/x.png", "unix:///x",
    "?\n//{strange}", "http://{strange}#@127.0.0.1:{port}/", "http://{strange}?@127.0.0.1:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("address", STRANGE)
def test_an_address_of_another_server_is_not_the_servers(address):
    assert same_origin_url("http://127.0.0.1:8080", address.format(port=8080, strange="127.0.0.1:8081")) is None


@pytest.mark.parametrize(
    ("server", "address", "url"),
    [
        ("http://h:8080", "/media/x.png", "http://h:8080/media/x.png"),
        ("http://h:8080/v1", "/media/x.png?a=b#c", "http://h:8080/media/x.png?a=b#c"),
        ("http://h/under/v1", "x.png", "http://h/under/x.png"),
        ("http://h", "../../x.png", "http://h/x.png"),
        ("http://h", "/a/http://e.x/y", "http://h/a/http://e.x/y"),
        ("http://h", "?x=http://e.x/", "http://h?x=http://e.x/"),
        ("http://h:80", "HTTP://H/x.png", "http://h/x.png"),
        ("https://h:443/v1", "https://h/é.png", "https://h/%C3%A9.png"),
        ("http://münchen.de", "http://xn--mnchen-3ya.de/x", "http://xn--mnchen-3ya.de/x"),
    ],
)
def test_an_address_in_full(server, address, url):
    assert same_origin_url(server, address) in (url, url.replace("h?", "h/?"))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from([*"/\\:@?#.x", "http", "evil", "127.0.0.1:80"])).map("".join))
def test_own_addresses_lead_to_the_server(address):
    url = same_origin_url("http://127.0.0.1:80", address)
    assert url is None or re.match(r"http://127\.0\.0\.1([/?#]|$)", url)


async def test_other_servers_are_never_asked(server):
    strange = server.stranger.removeprefix("http://")
    addresses = [address.format(port=server.port, strange=strange) for address in STRANGE]
    text = "\n\n".join(f"![a](<{address}>) ![b]({address})" for address in addresses)
    references = "\n\n".join(f"![r{n}]\n\n[r{n}]: <{address}>" for n, address in enumerate(addresses))
    server.engine.enqueue(images(*addresses), f"{text}\n\n{references}")
    answer = await Chat().ask("Draw")
    assert server.strange == []
    assert set(server.asked) <= {"/media/x.png"}  # part of a cut address may be left
    assert "](data:" not in answer.to_markdown()
    assert addresses[0] in answer.images


async def test_the_key_is_shown_nowhere(server):
    server.engine.enqueue(images("/media/x.png", "/media/none.png"), "![a](/media/away.png)")
    answer = await Chat().ask("Draw")
    assert server.asked  # these requests carry the key
    assert TOKEN not in f"{vars(answer)} {answer!r} {answer.to_markdown()} {pickle.dumps(answer)!r}"
    assert "data:" not in repr(answer)


# -- how they are shown


def test_addresses_stand_for_others():
    addresses = {
        "/x.png": "http://h/x.png",
        "http://h/x.png": uri(PNG),
        "/y": "https://e.x/y",
        "/z": "javascript:hit()",
    }
    for text, safe in {
        "![a](/x.png)": f"![a]({uri(PNG)})",
        "[a](/x.png)": "[a](http://h/x.png)",
        "[![a](/x.png)](/x.png)": f"[![a]({uri(PNG)})](http://h/x.png)",
        "![a](/x.png) ![b](/x.png)": f"![a]({uri(PNG)}) [image: b (h)](http://h/x.png)",
        "![a][r] [b][r]\n\n[r]: /x.png": f"![a]({uri(PNG)}) [b](http://h/x.png)",
        "![a](/y) [b](/y)": "[image: a (e.x)](https://e.x/y) [b](https://e.x/y)",
        "![a](/z) [b](/z)": "![a]&#40;/z) [b]&#40;/z)",
        "`![a](/x.png)` /x.png": "<code>&#33;&#91;a&#93;&#40;&#47;x&#46;png&#41;</code> /x.png",
        "![a](/&#120;.png)": f"![a]({uri(PNG)})",
    }.items():
        assert safe_markdown(text, addresses) == safe
    assert safe_markdown("![a](x)", {"x": "y", "y": "x"}) == "![a]&#40;x)"


VALUES = [
    uri(PNG), LARGE, uri(b"<script>hit()</script>"), uri(PNG, "image/svg+xml"), "javascript:hit()", "https://e.x/a",
    "x.png", "", "data:text/html,<script>hit()</script>", f'{uri(PNG)}"onload="hit()', f"{uri(PNG)})\n<script>",
    "https://e.x/)\n\n<script>hit()</script>", "\ud800", "https://e.x/\u202e", "\x00", *HOSTILE[:8],
]  # fmt: skip
KEYS = ["https://e.x/i.png", "https://e.x/y", "javascript:hit()", "/x", "https://e.x/a", "x.png", "", *VALUES[:4]]
FORMS = [
    "[a](https://e.x/(",
    f"![a](https://e.x/{LARGE} '",
    f"<{LARGE}>",
    "![a](/x)",
    "[a](/x)",
    "![r]",
    "[![a](/x)](x.png)",
    "[r]: /x\n",
    "![a](<x.png>)",
    LARGE,
    f"![a]({LARGE})",
]


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(st.sampled_from([*FRAGMENTS, *FORMS]), max_size=16).map("".join),
    addresses=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES) | st.text(max_size=20)),
)
@pytest.mark.parametrize("most", [markdown_data.MAX_IMAGE_BYTES, 1000])
def test_no_address_is_active_content(most, text, addresses):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown_data, "MAX_IMAGE_BYTES", most)
        patch.setattr(markdown_oracle, "safe_markdown", lambda text: safe_markdown(text, addresses))
        assert wrong_in(text) == []
        patch.setattr(markdown_oracle, "safe_markdown", lambda text: safe_markdown(shorten_images(text), addresses))
        assert wrong_in(text) == []


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (f"![a]({uri(b'<script>')}) words", "image: a (not a bitmap, or too large) words"),
        (f"![a]({uri(PNG, 'image/svg+xml')})", "image: a (not a bitmap, or too large)"),
        (f"![a]({uri(png(filler=bytes(9 * 2**20)))})", "image: a (not a bitmap, or too large)"),
        (f"![a]({LARGE})", f"![a]({LARGE})"),
        (f"[![a]({LARGE})](https://e.x)", f"[![a]({LARGE})](https://e.x)"),
        (f"![a][r]\n\n[r]: {LARGE}", f"![a]({LARGE})"),
        (f"```\n![a]({LARGE})\n```\n\nand {LARGE} so", f"```\n![a]({LARGE})\n```\n\nand {LARGE} so"),
        (f"`{uri(bytes(9_000_000))}`", "`data:image/png;base64,… (9.0 MB)`"),
        (f"[a](https://e.x/{LARGE})", f"[a]&#40;https://e.x/{LARGE})"),
        (f"![a]({uri(BOMB)})", "image: a (not a bitmap, or too large)"),
        (f"![a]({uri(FILES['bomb.jpg'], 'image/jpeg')})", "image: a (not a bitmap, or too large)"),
        (f"stopped ![a]({LARGE[:9000]}", "stopped *(an image of 7 kB)*"),
        (f"stopped {LARGE[:9000]}", "stopped *(an image of 7 kB)*"),
    ],
    ids=range(13),
)
def test_images_in_the_text(text, safe):
    assert safe_markdown(text) == safe


BLOWUPS = ["data:", "data:;base64,", "![](data:a;base64,", ";base64,", "![a](", "![", "![a](\t", "data:" + ";" * 99,
           "=", "![a](data:;base64,AAAA ", f"![a]({uri(PNG)}) ", "<!-- generated images start -->\n"]  # fmt: skip


@pytest.mark.parametrize("fragment", BLOWUPS)
def test_linear_time(fragment):
    text = (fragment * (200_000 // len(fragment) + 1))[:200_000]
    started = time.process_time()
    assert len(safe_markdown(shorten_images(text), {"": "x"})) < 20 * len(text)
    image_addresses(text)
    assert time.process_time() - started < 10  # a quadratic one takes minutes


@pytest.mark.parametrize("fragment", [*BLOWUPS, ";base64,A", ";base64", f";base64,{'A' * 300} "])
def test_shortening_takes_linear_time(fragment):
    text = (fragment * (8_000_000 // len(fragment) + 1))[:8_000_000]
    started = time.process_time()
    shortener = DataUriShortener()
    assert shortener.feed(text) + shortener.flush() == shorten_data_uris(text)
    assert time.process_time() - started < 25  # with a copy of the rest for each, it takes minutes


def test_many_images_beside_a_long_text_take_linear_time():
    answer = Answer(text="words " * 170_000)
    started = time.process_time()
    answer.add(RawResponse(type="content", urls=[f"https://e.x/{number}.png" for number in range(200_000)]))
    answer.end()
    assert answer.to_markdown().count("image (e.x)") == len(answer.images) == 1000
    many = {f"/{number}": f"http://h/{number}" for number in range(10_000)}
    message = {"role": "assistant", "content": "Hi", "images": many | dict.fromkeys(many.values(), uri(PNG))}
    assert to_markdown(Transcript(messages=[message]), level=4).count(uri(PNG)) == 10_000
    assert time.process_time() - started < 25


def test_references_to_a_large_image_do_not_multiply():
    text = f"[r]: {LARGE}\n\n" + "![r] " * 1000
    assert len(safe_markdown(text)) < 10 * len(text)


FORMS_OF_IMAGES = ["![a]({})", "[![a]({} 'title')](https://e.x)", "![a](<{}>)", "![a][r]\n\n[r]: {}", "<img src='{}'>"]


@pytest.mark.parametrize("form", FORMS_OF_IMAGES)
@pytest.mark.parametrize("size", [2000, 60_000])
def test_no_prefix_is_a_wall_of_base64(form, size):
    image = uri(png(filler=bytes(range(256)) * (size // 256)))
    text = "Before\n\n" + form.format(image) + "\n\nafter"
    begin = text.index("base64,") + len("base64,")
    for end in [*range(begin), *range(begin, len(text) - 60, 997), *range(len(text) - 60, len(text) + 1)]:
        shown = safe_markdown(shorten_images(text[:end]))
        without_pictures = re.sub(r"!\[[^\]]*\]\(data:[^)]*\)", "", shown)
        assert not re.search(r"[A-Za-z0-9+/]{201}", without_pictures)
        assert len(shown) < 30_000
        assert shown.startswith("Before"[:end])
    assert "*(an image of 6" in safe_markdown(shorten_images(text)) or size < 20_000
    assert safe_markdown(shorten_images(f"![a]({uri(PNG)})")) == f"![a]({uri(PNG)})"


def test_what_grows_shows_a_large_image_as_a_word_or_a_link():
    answer = Answer(text=f"![a]({LARGE}) ![b](/x)", _server="http://h")
    answer.end()
    answer.images[1].data_uri = LARGE
    assert answer.to_markdown(live=True) == "*(an image of 60 kB)* [image: b (h)](http://h/x)"
    assert answer.to_markdown() == f"![a]({LARGE}) ![b]({LARGE})"


def test_where_it_is_read_as_text_it_is_shortened():
    text = f"an image ![a]({LARGE}) and ;base64,{uri(PNG)}"
    short = f"an image ![a](data:image/png;base64,… (60 kB)) and ;base64,{uri(PNG)}"
    assert shorten_data_uris(text) == short
    for length in (1, 2, 3, 7, 8, 1000):
        shortener = DataUriShortener()
        pieces = [shortener.feed(text[start : start + length]) for start in range(0, len(text), length)]
        assert "".join(pieces) + shortener.flush() == short


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["data:", "image/png", ";base64,", ";base", "64,", "A", "=", "A" * 300, " ", "é"])))
def test_pieces_are_shortened_as_the_whole(pieces):
    shortener = DataUriShortener()
    assert "".join(map(shortener.feed, pieces)) + shortener.flush() == shorten_data_uris("".join(pieces))


# -- images in the history


async def test_an_image_in_an_answer_is_not_sent_back_as_text(server):
    chat = Chat()
    server.engine.enqueue(f"Here: ![a]({LARGE})")
    await chat.ask("Draw")
    await chat.ask("Another")
    assert chat.messages[1]["content"] == f"Here: ![a]({LARGE})"
    said = server.engine.history[-1]["messages"][1]["content"]
    assert said.startswith("Here: ![a](data:image/png;base64,… (")
    assert len(said) < 100


async def test_the_images_are_in_what_is_saved_and_exported(server, tmp_path):
    chat = Chat()
    server.engine.enqueue("Here: ![a](/media/x.png)", images("/media/second.png"))
    await chat.ask("Draw")
    chat.save(tmp_path / "chat.json")
    for one in (chat, Chat.load(tmp_path / "chat.json")):
        for name in ("chat.md", "chat.ipynb"):
            one.export(tmp_path / name)
            written = (tmp_path / name).read_text()
            assert f"![a]({uri(PNG)})" in written
            assert f"![image]({uri(SECOND)})" in written
        assert uri(PNG) in one._repr_markdown_()
    url = f"{server.url}/media/"
    near = {"/media/x.png": f"{url}x.png", "/media/second.png": f"{url}second.png"}
    assert chat.messages[1]["images"] == near | {f"{url}x.png": uri(PNG), f"{url}second.png": uri(SECOND)}
    await chat.ask("Another")
    assert "images" not in server.engine.history[-1]["messages"][1]


async def test_images_of_the_text_are_not_stored_twice(server):
    chat = Chat()
    server.engine.enqueue(f"![a]({LARGE}) ![b](https://e.x/a.png)", images(LARGE, "https://e.x/b.png"))
    await chat.ask("Draw")
    assert "images" not in chat.messages[1]
    server.engine.enqueue(f"![a]({LARGE})", images(uri(PNG), "https://e.x/b.png"))
    await chat.ask("Draw")
    assert chat.messages[3]["images"] == {uri(PNG): uri(PNG)}
