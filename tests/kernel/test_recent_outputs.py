"""The images that recent cells have shown, as the panel and ``-i @output`` get them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from test_tab import tab

PRELUDE = """
import base64, io, json
import matplotlib.pyplot as plt
from IPython.display import HTML, Image as Shown, SVG, clear_output, display, publish_display_data, update_display
from PIL import Image
from nb_backend.notebook import outputs

def wide(width, kind="png"):
    Image.new("RGB", (width, 1)).save(file := io.BytesIO(), kind)
    return file.getvalue()

def widths(images):
    return [Image.open(io.BytesIO(image)).width if b"<svg" not in image else "svg" for image in images]

def seen():
    cells = [(cell.cell_id, widths(cell.images)) for cell in outputs.recent_images(get_ipython())]
    print(json.dumps([cells, widths(outputs.last_images(get_ipython()))]))
"""


@pytest.fixture(scope="module")
def ready(kernel):
    assert kernel.run(PRELUDE).error is None
    return kernel


@pytest.fixture(autouse=True)
def forgotten(ready):
    assert ready.run("%reload_ext nb_backend").error is None


def recent(kernel):
    """The widths of the images of recent cells, by the ids of the cells, and those of the last one."""
    return json.loads(kernel.run("seen()").printed)


def one(kernel, code, *, error=None):
    """The widths of the images that a cell is recorded with."""
    run = kernel.run(code, cell="one")
    assert (run.error and run.error[0]) == error, run.error
    cells, last = recent(kernel)
    assert cells == ([["one", last]] if last else [])
    return last


def test_figures(kernel):
    shown = one(kernel, "plt.figure(figsize=(2, 1)); plt.plot([1, 2])\nplt.figure(figsize=(4, 1)); plt.plot([3])")
    assert len(shown) == 2
    assert shown[0] < shown[1]
    assert len(one(kernel, "for n in range(3):\n    plt.plot([n])\n    plt.show()")) == 3
    assert len(one(kernel, "%config InlineBackend.figure_formats = ['svg', 'png']\nplt.plot([1]);")) == 1
    kernel.run("%config InlineBackend.figure_formats = ['png']")


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("display(Shown(wide(3)), Shown(wide(4)))", [3, 4]),
        ("Image.new('RGB', (5, 1))", [5]),
        ("Image.new('RGB', (5, 1));", []),
        ("display(Shown(wide(3)))\nImage.new('RGB', (5, 1))", [3, 5]),
        ("Shown(wide(6, 'jpeg'))", [6]),
        ("Shown(wide(7, 'gif'), format='gif')", [7]),
        ("publish_display_data({'image/webp': base64.b64encode(wide(8, 'webp')).decode()})", [8]),
        ("""SVG('<svg xmlns="http://www.w3.org/2000/svg"/>')""", ["svg"]),
        ("publish_display_data({'image/jpeg': wide(1, 'jpeg'), 'image/png': wide(2), 'image/gif': wide(3)})", [2]),
        ("publish_display_data({'image/jpeg': wide(1, 'jpeg'), 'image/png': 'no picture'})", [1]),
        ("1 + 1", []),
        ("HTML('<img src=x>')", []),
        ("get_ipython().run_cell('display(Shown(wide(3)))'); display(Shown(wide(4)))", [3, 4]),
    ],
)
def test_what_counts(kernel, code, shown):
    assert one(kernel, code) == shown


@pytest.mark.parametrize(
    "data",
    [
        "'%%%'",
        "''",
        "None",
        "b''",
        "['iVBORw0KGgo=', 'AAAA']",
        "(wide(3), {})",
        "7",
        "'é'",
        "wide(3)[:-9]",
        "'\\ud800'",
    ],
)
def test_odd_bundles_are_not_images(kernel, data):
    plain = f"publish_display_data({{'text/plain': 'x', 'image/png': {data}, 'image/svg+xml': {data}}})"
    kernel.run("%unload_ext nb_backend")
    without = kernel.run(plain).error
    kernel.run("%load_ext nb_backend")
    assert one(kernel, plain, error=without and without[0]) == []


def test_a_thread_and_the_cell_that_it_was_started_in(kernel):
    code = "import threading\nthread = threading.Thread(target=lambda: display(Shown(wide(3))))\nthread.start()"
    assert one(kernel, f"{code}\nthread.join()") == [3]


def test_the_latest_of_a_display_id(kernel):
    assert one(kernel, "display(Shown(wide(3)), display_id='a'); display(Shown(wide(4)))") == [3, 4]
    kernel.run("update_display(Shown(wide(5)), display_id='a'); display(Shown(wide(9)))", cell="two")
    assert recent(kernel) == [[["two", [9]], ["one", [5, 4]]], [9]]
    kernel.run("update_display(HTML('gone'), display_id='a')", cell="three")
    assert recent(kernel) == [[["two", [9]], ["one", [4]]], [9]]


def test_a_display_that_becomes_an_image(kernel):
    assert one(kernel, "shown = display('...', display_id=True); shown.update(Shown(wide(3)))") == [3]
    assert one(kernel, "shown = display('...', display_id=True)") == []
    kernel.run("shown.update(Shown(wide(4)))", cell="two")
    assert recent(kernel) == [[["two", [4]]], [4]]


@pytest.mark.parametrize("after", ["", "1 + 1", "print('x')", "display(Shown(wide(4)))", "1 / 0"])
@pytest.mark.parametrize("wait", [True, False])
def test_clear_output(kernel, wait, after):
    error = "ZeroDivisionError" if after == "1 / 0" else None
    shown = one(kernel, f"display(Shown(wide(3)))\nclear_output(wait={wait})\n{after}", error=error)
    assert shown == ([4] if "4" in after else [3] if wait and not after else [])


def test_what_is_captured_is_not_shown(kernel):
    assert one(kernel, "%%capture kept\ndisplay(Shown(wide(3)))\nImage.new('RGB', (5, 1))") == []
    assert one(kernel, "kept.show()") == [3, 5]


def test_a_cell_that_fails_or_is_stopped(kernel):
    assert one(kernel, "display(Shown(wide(3)))\n1 / 0", error="ZeroDivisionError") == [3]
    run = kernel.run_and_interrupt(
        "import time\ndisplay(Shown(wide(4)))\nwhile True: time.sleep(0.01)",
        lambda message: message["msg_type"] == "display_data",
        cell="one",
    )
    assert run.error is not None
    assert recent(kernel) == [[["one", [4]]], [4]]


def test_the_cell_that_runs_is_not_the_last_one(kernel):
    kernel.run("display(Shown(wide(3)))", cell="one")
    run = kernel.run("display(Shown(wide(4)))\nseen()", cell="two")
    assert json.loads(run.printed) == [[["two", [4]], ["one", [3]]], [3]]


def test_a_cell_that_runs_again_begins_anew(kernel):
    kernel.run("display(Shown(wide(3)))", cell="one")
    kernel.run("display(Shown(wide(4)))", cell="two")
    kernel.run("display(Shown(wide(5)))", cell="one")
    assert recent(kernel) == [[["one", [5]], ["two", [4]]], [5]]
    kernel.run("1", cell="one")
    assert recent(kernel) == [[["two", [4]]], [4]]
    kernel.run("1", deleted=("two",), cell="three")
    assert recent(kernel) == [[], []]


def test_cells_without_ids_have_their_numbers(kernel):
    numbers = [kernel.run(f"display(Shown(wide({width})))").reply["execution_count"] for width in (3, 4)]
    run = kernel.run("[(cell.cell_id, cell.number) for cell in outputs.recent_images(get_ipython())]")
    assert run.result == str([("", numbers[1]), ("", numbers[0])])


def test_ten_cells_are_kept(kernel):
    for number in range(12):
        kernel.run(f"display(Shown(wide({number + 1})))", cell=str(number))
        kernel.run("1")
    assert [cell for cell, _ in recent(kernel)[0]] == [str(number) for number in range(11, 1, -1)]


def test_the_oldest_images_are_dropped_above_the_limit(kernel):
    kernel.run("most, outputs.MAX_BYTES = outputs.MAX_BYTES, 3 * len(wide(3)) + 10")
    try:
        kernel.run("display(Shown(wide(3)))", cell="one")
        kernel.run("display(Shown(wide(4)), Shown(wide(5)))", cell="two")
        assert recent(kernel)[0] == [["two", [4, 5]], ["one", [3]]]
        kernel.run("display(Shown(wide(6)), Shown(wide(7)))", cell="three")
        assert recent(kernel)[0] == [["three", [6, 7]], ["two", [5]]]
        kernel.run("Image.effect_noise((100, 100), 99)", cell="four")
        assert recent(kernel)[0] == [["three", [6, 7]], ["two", [5]]]
    finally:
        kernel.run("outputs.MAX_BYTES = most")


def test_unloaded_it_leaves_nothing(kernel):
    kernel.run("display(Shown(wide(3)))", cell="one")
    kernel.run("session = get_ipython().kernel.session; sends = session.send")
    kernel.run("%unload_ext nb_backend")
    try:
        kernel.run("display(Shown(wide(4)))", cell="two")
        assert recent(kernel) == [[], []]
        assert kernel.run("session.send == type(session).send.__get__(session)").result == "True"
        assert kernel.run("sends == session.send").result == "False"
    finally:
        kernel.run("%load_ext nb_backend")


def test_it_is_registered_once(kernel):
    kernel.run("import nb_backend\nfor _ in range(3):\n    nb_backend.load_ipython_extension(get_ipython())")
    assert one(kernel, "display(Shown(wide(3)))") == [3]
    assert kernel.run("session.send.__self__._send == type(session).send.__get__(session)").result == "True"


def test_wrappers_of_other_code_still_work(kernel):
    """A wrapper that other code has put around the same method stays, and no image is recorded through it."""
    kernel.run("inner = session.send; session.send = lambda *args, **options: inner(*args, **options)")
    assert one(kernel, "display(Shown(wide(3)))") == [3]
    kernel.run("somebody = session.send\nfor _ in range(3):\n    %reload_ext nb_backend")
    assert kernel.run("session.send is somebody, session.send == inner").result == "(True, False)"
    assert one(kernel, "display(Shown(wide(3)))") == [3]
    kernel.run("%unload_ext nb_backend")
    kernel.run("display(Shown(wide(4)))")
    assert recent(kernel) == [[], []]
    kernel.run("%load_ext nb_backend")
    assert one(kernel, "display(Shown(wide(5)))") == [5]
    kernel.run("%unload_ext nb_backend\nsession.send = type(session).send.__get__(session)\n%load_ext nb_backend")


def test_the_cell_that_loads_the_extension(kernel):
    kernel.run("%unload_ext nb_backend")
    number = kernel.run("%load_ext nb_backend\ndisplay(Shown(wide(3)))", cell="one").reply["execution_count"]
    assert recent(kernel) == [[["one", [3]]], [3]]
    assert kernel.run("outputs.recent_images(get_ipython())[0].number").result == str(number)


def test_an_answer_is_not_recorded_as_an_image(kernel):
    kernel.run("%%backend\nhello", cell="one")
    assert recent(kernel) == [[], []]


def test_tab_offers_the_output_and_the_clipboard(kernel, tmp_path):
    kernel.run(f"%cd -q {tmp_path}")
    (tmp_path / "plot.png").touch()
    for option in ("-i ", "--image ", "--image=", "-i"):
        assert tab(kernel, f"%%backend {option}@|\nhi") == [
            f"%%backend {option}@output\nhi",
            f"%%backend {option}@clipboard\nhi",
        ]
        assert tab(kernel, f"%%backend {option}@o|\nhi") == [f"%%backend {option}@output\nhi"]
        assert tab(kernel, f"%%backend {option}@clip|board\nhi") == [f"%%backend {option}@clipboardboard\nhi"]
    assert {"%%backend -i @output\nhi", "%%backend -i plot.png\nhi"} <= set(tab(kernel, "%%backend -i |\nhi"))
    assert tab(kernel, '%%backend -i "@o|"\nhi') == ['%%backend -i "@output"\nhi']
    assert "%%backend -o @output\nhi" not in tab(kernel, "%%backend -o |\nhi")
    assert tab(kernel, "%backend fix -i @c|") == ["%backend fix -i @clipboard"]


TERMINAL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nb_backend")
shell.run_cell("from IPython.display import display; display(1)")
from nb_backend.notebook import outputs
assert not outputs.recent_images(shell)
assert not outputs.last_images(shell)
shell.run_line_magic("unload_ext", "nb_backend")
"""


def test_a_terminal_shows_no_images():
    subprocess.run([sys.executable, "-W", "error", "-c", TERMINAL], check=True)
