"""Interpolation of prompts: what is an expression, what is evaluated, and how a value is written."""

from __future__ import annotations

import base64
import datetime
import io
import subprocess
import sys
from pathlib import Path

import pytest
from cpu_time import cpu_time
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import Answer, attach
from nb_backend.notebook.prompt.expression import expressions
from nb_backend.notebook.prompt.interpolate import Prompt, PromptError, render
from nb_backend.tools.values import LONGEST_VALUE

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


def ask(source: str, **names) -> Prompt:
    return render(source, lambda code: eval(code, names), names=names)


def pictures(prompt: Prompt) -> list[tuple[bytes, str]]:
    assert all(image.name == name for name, image in prompt.images.items())
    return [(image.data, name) for name, image in prompt.images.items()]


def text(source: str, **names) -> str:
    prompt = ask(source, **names)
    assert not prompt.images
    return prompt.text


def outcome(source: str) -> str:
    """The text that is sent, or the message of the PromptError; no other exception may be raised."""
    try:
        return ask(source, x=1).text
    except PromptError as error:
        said = str(error)
    assert said.endswith("or use --raw to send the braces as typed")
    assert "\n" not in said
    return said


class Shows:
    """An object with the given hooks."""

    def __new__(cls, **hooks):
        def hook(shown):
            return lambda self, **options: shown

        return object.__new__(type("Shows", (), {name: hook(shown) for name, shown in hooks.items()}))


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("{{x}} {{ x }} {{\n  x\n}}", "7 7 7"),
        ("{{x}}{{x}}", "77"),
        ("file_{{x}}.csv, ${{x}}, \"{{x}}\", {'a': {{x}}}", "file_7.csv, $7, \"7\", {'a': 7}"),
        ('{{ {"a": {"b": 1}}["a"] }}', "{'b': 1}"),
        ('{{{"a": 1}["a"]}}', '{{{"a": 1}["a"]}}'),
        ('{{ {"a": {"b": 1}}}}', "{'a': {'b': 1}}"),
        ("{{ [{1}, {2}] }}}", "[{1}, {2}]}"),
        ('{{ "}}" }} {{ "{{" }} {{ "\\"}}" }}', '}} {{ "}}'),
        ("{{ '''a\n\"}}''' }}", 'a\n"}}'),
        ('{{ """}}""" + r"\\{{" }}', "}}\\{{"),
        ("{{ f'{x}{x:>{3}}' }}", "7  7"),
        ("{{ (x +\n x) }}", "14"),
        ("{{ (1, x) }} {{ [x, x] }} {{ max(x, 9) }}", "(1, 7) [7, 7] 9"),
        ("{{ [y for y in range(x) if (z := y)] }} {{ z }}", "[1, 2, 3, 4, 5, 6] 6"),
        ("{{ (lambda a, *b, c=x, **d: a + c)(1) }}", "8"),
        ("{{ x {{ x }} }}", "{{ x 7 }}"),
        ("{{ 'it is {{ x }}", "{{ 'it is 7"),
        ("a \\{{ x }} b {{ x }}", "a {{ x }} b 7"),
        ("\\\\{{ x }} \\\\\\{{ missing }}", "\\\\7 \\\\{{ missing }}"),
        ("\\n{{ x }}", "\\n7"),
    ],
)
def test_expressions_are_replaced_by_their_values(source, sent):
    assert text(source, x=7) == sent


@pytest.mark.parametrize(
    "source",
    [
        *("{x}", "{ {x} }", "{{{x}}}", "{{{{x}}}}", "{{}}", "{{ }}", "{{", "}}", "{{ x", "{{ x }", "{{ x } }", "x }}"),
        *("{{ ... }}", "{{ … }}", "{{0}}", "{{ None }}", "int a[1][2] = {{1, 2}};", "{{1, 2}, {3, 4}}", "{{x, x}}"),
        *(r"\frac{{x}}{{x}}", r"\frac{x}{{x}}", r"x^{{x}}", r"\sum_{{x}}^{{x}}", r"\{{x}_x\}", "{{\\alpha}}"),
        *("{{ .Name }}", "{{#if x}}", "{{/if}}", "{{> x}}", "{{ x ? 1 : 2 }}", "{{ x | f: 'a' }}", "<p :k={{ a: x }}>"),
        *('{"a":{"b":{}}}', "f'{{\"a\": {x}}}'", "{{ x # why }}", "{{ x\n\n}}", "{{ (x\n \t\n) }}", "{{ '''\n\n''' }}"),
        *(
            "{{ x = 1 }}",
            "{{ x; x }}",
            "{{ import os }}",
            "{{ for }}",
            "{{ (x] }}",
            "{{ x) }}",
            "{{ \0 }}",
            "{{ \ud800 }}",
        ),
        *("{{ 'x }}", '{{ """x }}', "{{ " + "x+" * 1000 + "x }}", "{{ " + "(" * 900 + ")" * 900 + " }}"),
    ],
)
def test_text_that_is_not_an_expression_stays(source):
    assert render(source, pytest.fail, names={"x": 1}).text is source


@pytest.mark.parametrize(
    "inner", ["-" * 1900 + "x", "x" + ".x" * 900, "x" + "()" * 900, "not " * 450 + "x", "[" * 99 + "]" * 99]
)
def test_deep_expressions_do_no_harm(inner):
    assert outcome(f"{{{{ {inner} }}}}")


@given(st.text().filter(lambda source: "{{" not in source))
def test_text_without_double_braces_is_the_same_object(source):
    assert render(source, pytest.fail, names=()).text is source


LITERALS = st.text(alphabet="ab {\n\"'#.,:()|é", max_size=8).map(lambda part: part.replace("{{", "{ {").rstrip("{"))
VALUES = {"a": "{{ b }}", "b['}}']": "}} {{a}}", "[\n{1: {}}]": "\\{{ b }}", "f(x, '{{')": "", "(a, b)": "{{{"}


@given(st.lists(st.tuples(LITERALS, st.sampled_from(sorted(VALUES)), st.sampled_from(["", " ", "\n"]))), LITERALS)
def test_exactly_the_expressions_are_evaluated_once_and_in_order(parts, rest):
    source = "".join(f"{literal}{{{{{space}{code} {space}}}}}" for literal, code, space in parts) + rest
    asked = []

    def evaluate(code):
        asked.append(code)
        return VALUES[code]

    prompt = render(source, evaluate, names="abfx")
    assert asked == [code for _, code, _ in parts]
    assert prompt.text == "".join(literal + VALUES[code] for literal, code, _ in parts) + rest


@given(st.text(alphabet="{{{}}}xy()[]\"'\\ \n#,.:=^_-1") | st.text())
def test_any_text_is_sent_or_refused_in_one_line(source):
    said = outcome(source)
    assert "{{" in source or said == source


@pytest.mark.parametrize(
    "unit",
    [
        "{{",
        "{{ ",
        "{{ x ",
        "{{ '",
        "{{ '\" ",
        "{{ \"' ",
        "{{ '''",
        "{{ (",
        "{{ '{{' ",
        "}}",
        "\\",
        "\\{{",
        "{{ x }}",
        "{{'\n",
    ],
)
def test_parsing_takes_linear_time(unit):
    def work(count):
        steps = 0

        def step(frame, event, arg):
            nonlocal steps
            steps += 1

        source = unit * count
        sys.setprofile(step)
        try:
            list(expressions(source))
        finally:
            sys.setprofile(None)
        return steps

    assert work(4000) <= 2.1 * work(2000) + 100


def test_a_hundred_thousand_openings_are_parsed_fast():
    for unit in ("{{", "{{ ", "{{ '"):
        with cpu_time(most=2):
            assert list(expressions(unit * 10**5)) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ df }}", "{{ df }}: df is not defined: define it, or"),
        (
            "{{df}} {{ x.y }} {{ df+q }}",
            "{{ df }}, {{ x.y }} and {{ df+q }}: df, x and q are not defined: define them, or",
        ),
        ("{{ a\n}} {{ (b\n) }}", "{{ a }} and {{ (b ) }}: a and b are not defined: define them, or"),
        (
            "".join(f"{{{{ a{n} }}}}" for n in range(7)),
            "{{ a0 }}, {{ a1 }}, {{ a2 }}, {{ a3 }}, {{ a4 }} and 2 more: a0, a1, a2, a3, a4, a5 and a6 are not",
        ),
        ("{{ [i for i in r if j] + [i] }}", "i, r and j are not defined"),
        ("{{ (lambda a, b=c: a + b + d)(1) }}", "c and d are not defined"),
        ("{{ [[i * j * k for j in i] for i in r] }} {{ i }} {{ j }}", "k, r, i and j are not defined"),
        ("{{ {k: v for k in k for v in w} }} {{ {a.b for a in (b for b in c)} }}", "k, w and c are not defined"),
        ("{{ (lambda: (m := 1) + m)() }} {{ m }}", "{{ m }}: m is not defined"),
        ("{{ n }} {{ (n := 1) }}", "{{ n }}: n is not defined"),
        ("{{ None if True else nothing }}", "nothing is not defined"),
    ],
)
def test_missing_names_are_listed_and_nothing_is_evaluated(source, said):
    with pytest.raises(PromptError) as caught:
        render("{{ known() }} " + source, pytest.fail, names={"known"})
    assert said in str(caught.value)
    assert str(caught.value).endswith("or use --raw to send the braces as typed")


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 1/0 }}", "{{ 1/0 }} raised ZeroDivisionError: division by zero: correct it, or use --raw"),
        ("{{ x.y }}", "{{ x.y }} raised AttributeError: 'int' object has no attribute 'y': correct it"),
        ("{{ fail('a\\n\\nb') }}", "raised ValueError: a b: correct it"),
        ("{{ fail('a' * 10**6) }}", "aaa…: correct it"),
        ("{{ odd() }}", "Unprintable"),
        ("{{ (yield) }}", "SyntaxError"),
        ("{{ await x }}", "SyntaxError"),
        ("{{ 10**5000 + x }}", "ValueError: Exceeds the limit"),
        ("{{ broken }}", "raised RuntimeError: no repr"),
    ],
)
def test_an_expression_that_fails_is_named(source, said):
    def fail(message):
        raise ValueError(message)

    def odd():
        raise Unprintable

    class Broken:
        def __repr__(self):
            raise RuntimeError("no repr")

    with pytest.raises(PromptError) as caught:
        ask(source, x=1, fail=fail, odd=odd, broken=Broken())
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_an_interrupt_goes_through():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask("{{ stop() }}", stop=stop)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\n{{ x }}", "a\n{{ x }}"),
        (Text("a"), "a"),
        ("long " * 10_000, "long " * 10_000),
        (None, "None"),
        (True, "True"),
        (0.1, "0.1"),
        ([1, "a", {"b": None}], "[1, 'a', {'b': None}]"),
        (Path("a/b"), "a/b"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (b"ab\xff", r"b'ab\xff'"),
        (ValueError("a: b"), "ValueError: a: b"),
        (KeyError(), "KeyError"),
        (int, "int"),
        (Shows, "test_interpolate.Shows"),
        (Answer(text="**yes**"), "**yes**"),
        (Shows(_repr_markdown_="**m**", _repr_png_=PNG), "**m**"),
        (Shows(_repr_markdown_=("**m**", {}), _repr_latex_="$l$"), "**m**"),
        (Shows(_repr_markdown_=None, _repr_latex_="$l$", _repr_png_=PNG), "$l$"),
    ],
)
def test_values_as_text(value, shown):
    assert text("<{{ v }}>", v=value) == f"<{shown}>"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (list(range(10**6)), "[list of 1,000,000 items, the rest left out]"),
        (["a" * 10**6] * 3, "[list of 3 items, the rest left out]"),
        ({n: [n] * 900 for n in range(900)}, "[dict of 900 items, the rest left out]"),
        (bytes(10**6), "[995,000 more bytes left out]"),
        (ValueError("a" * 10**6), "more characters left out]"),
        (Path("a" * 50_000), "[30,000 more characters left out]"),
        (Shows(_repr_markdown_="a" * 50_000), "[30,000 more characters left out]"),
        (type("Huge", (), {"__repr__": lambda self: "a" * 10**6})(), "[the rest left out]"),
    ],
)
def test_a_huge_value_is_cut_with_a_note(value, said):
    shown = text("{{ v }}", v=value)
    assert said in shown
    assert len(shown) < LONGEST_VALUE + 100


def test_a_value_of_several_lines_is_on_lines_of_its_own():
    rows = {"a": "x" * 90, "b": "y" * 90}
    shown = f"{{'a': '{'x' * 90}',\n 'b': '{'y' * 90}'}}"
    assert text("see {{ v }}!", v=rows) == f"see \n{shown}\n!"
    assert text("see\n{{ v }}\n!", v=rows) == f"see\n{shown}\n!"


@pytest.mark.parametrize(
    ("value", "name", "data"),
    [
        (PNG, "v.png", PNG),
        (Shows(_repr_png_=PNG), "v.png", PNG),
        (Shows(_repr_png_=base64.b64encode(PNG).decode()), "v.png", PNG),
        (Shows(_repr_png_=(PNG, {"width": 1})), "v.png", PNG),
        (Shows(_repr_png_=None, _repr_jpeg_=JPEG), "v.jpeg", JPEG),
        (Shows(_repr_svg_="<svg href='http://a/'/>"), "v.svg", b"<svg href='http://a/'/>"),
        (Shows(_repr_mimebundle_={"text/html": "", "image/svg+xml": "<svg/>", "image/png": PNG}), "v.png", PNG),
        (Shows(_repr_mimebundle_=({"image/jpeg": JPEG}, {}), _repr_png_=PNG), "v.jpeg", JPEG),
        (Shows(_repr_mimebundle_={"text/plain": "v"}, _repr_png_=PNG), "v.png", PNG),
    ],
)
def test_a_value_that_shows_itself_as_an_image_is_attached(value, name, data):
    prompt = ask("see {{ v }}!", v=value)
    assert prompt.text == f"see [image: {name}]!"
    assert pictures(prompt) == [(data, name)]


@pytest.mark.parametrize(
    "hook", [{"_repr_html_": "<b>"}, {"_repr_png_": b"none"}, {"_repr_png_": "é"}, {"_repr_mimebundle_": 1}]
)
def test_a_value_that_is_not_an_image_is_text(hook):
    assert ".Shows" in text("{{ v }}", v=Shows(**hook))
    assert "Shows" in text("{{ v }}", v=type(Shows(**hook)))


def test_names_of_pictures_come_from_their_expressions_and_are_unique():
    made = [PNG + bytes([n]) for n in range(9)]
    fig = Shows(_repr_png_=made[1])
    names = {"Out": made, "fig": fig, "fig_2": made[2], "Fig": made[3], "x": {"a b": made[4]}}
    prompt = ask("{{Out[0]}} {{fig_2}} {{fig}} {{Fig}} {{ x['a b'] }} {{ (Out)[5] }} {{Out[6] or 1}} {{fig}}", **names)
    order = [0, 2, 1, 3, 4, 5, 6]
    shown = ["Out_0.png", "fig_2.png", "fig.png", "Fig_3.png", "x_a_b.png", "image.png", "image_2.png"]
    assert pictures(prompt) == [(made[n], name) for n, name in zip(order, shown, strict=True)]
    assert prompt.text == " ".join(f"[image: {name}]" for name in [*shown, "fig.png"])
    assert list(ask("{{ " + "a" * 300 + " }}", **{"a" * 300: PNG}).images) == ["a" * 40 + ".png"]


def test_an_attachment_keeps_its_name():
    one, two = attach(PNG + b"1", "before.png"), attach(PNG + b"2", "before.png")
    assert ask("{{ one }} and {{ two }}", one=one, two=two).text == "[image: before.png] and [image: before_2.png]"
    assert ask("{{ attach(v) }}", attach=attach, v=PNG).text == "[image: image.png]"


def test_a_dataframe_is_a_bounded_table():
    pd = pytest.importorskip("pandas")
    df = pd.DataFrame({"n": [1, 2], "a|b": ["x|y\nz", "w" * 200], "f": [0.1 + 0.2, float("nan")]}, index=["r", "s"])
    assert text("{{ df }}", df=df).splitlines() == [
        f"DataFrame, 2 rows × 3 columns; dtypes: n int64, a\\|b {df.dtypes['a|b']}, f float64",
        "",
        "|  | n | a\\|b | f |",
        "| --- | --- | --- | --- |",
        "| r | 1 | x\\|y\\nz | 0.3 |",
        f"| s | 2 | {'w' * 79}… | nan |",
    ]
    big = pd.DataFrame({f"c{n}": range(10**5) for n in range(50)}).rename_axis("day")
    lines = text("{{ df }}", df=big).splitlines()
    assert lines[0].startswith("DataFrame, 100,000 rows × 50 columns; dtypes: c0 int64, ")
    assert ", c9 int64, …, c40 int64," in lines[0]
    assert len(lines) == 2 + 2 + 21
    assert {line.count("|") for line in lines[2:]} == {23}
    assert lines[2].startswith("| day | c0 |")
    assert "| c9 | … | c40 |" in lines[2]
    assert lines[14] == "|" + " … |" * 22
    assert lines[-1].startswith("| 99999 | 99999 |")


@pytest.mark.parametrize(
    ("after", "expected"), [("", ""), (" x", "\n\n x"), ("\nx", "\n\nx"), ("\n\nx", "\n\nx"), ("\n", "\n\n")]
)
def test_text_after_a_table_is_not_a_row_of_it(after, expected):
    df = pytest.importorskip("pandas").DataFrame({"a": [1]})
    assert text("{{ v }}" + after, v=df).endswith(f"| 0 | 1 |{expected}")


def test_odd_tables():
    pd = pytest.importorskip("pandas")
    assert text("{{ v }}", v=pd.DataFrame()).startswith("DataFrame, 0 rows × 0 columns; dtypes: \n\n|  |\n| --- |")
    assert text("{{ v }}", v=pd.Series([1], name="s")).startswith("Series, 1 value; dtypes: s int64\n\n|  | s |")
    assert "value int64" in text("{{ v }}", v=pd.Series([1]))
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"], index=pd.MultiIndex.from_tuples([("x", 1)], names=["p", "q"]))
    assert text("{{ v }}", v=twice).endswith("| p, q | a | a |\n| --- | --- | --- |\n| ('x', 1) | 1 | 2 |")
    assert "2024-05-01" in text("{{ v }}", v=pd.Timestamp("2024-05-01"))
    assert text("{{ v }}", v=type("Mine", (pd.DataFrame,), {})({"a": [1]})).startswith("Mine, 1 row ")


def test_polars_tables():
    pl = pytest.importorskip("polars")
    df = pl.DataFrame({f"c{n}": range(100) for n in range(30)})
    lines = text("{{ df }}", df=df).splitlines()
    assert lines[0].startswith("DataFrame, 100 rows × 30 columns; dtypes: c0 Int64, ")
    assert {line.count("|") for line in lines[2:]} == {22}
    assert len(lines) == 25
    assert text("{{ v }}", v=pl.Series([1])) == "Series, 1 value; dtypes: value Int64\n\n| value |\n| --- |\n| 1 |"
    assert text("{{ v }}", v=pl.DataFrame()).startswith("DataFrame, 0 rows")


def test_arrays():
    np = pytest.importorskip("numpy")
    assert text("{{ v }}", v=np.arange(3)) == "ndarray, shape (3,), dtype int64:\narray([0, 1, 2])"
    with np.printoptions(threshold=sys.maxsize):
        big = text("{{ v }}", v=np.zeros((1000, 1000, 20)))
    assert big.startswith("ndarray, shape (1000, 1000, 20), dtype float64:")
    assert len(big) < 2000
    assert len(text("{{ v }}", v=np.zeros((4,) * 9))) < LONGEST_VALUE + 100
    assert text("{{ v }} {{ v > 1 }}", v=np.float64(1.5)) == "1.5 True"


def test_figures_and_axes_are_pictures_and_stay_as_they_are():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    fig = Figure(figsize=(2, 1))
    ax = fig.subplots()
    (line,) = ax.plot([1, 2])
    inner = Figure().subfigures(1, 2)[0].subplots()
    before = (fig.dpi, fig.get_size_inches().tolist(), ax.get_position().bounds, fig.get_facecolor())
    prompt = ask("{{ fig }} {{ ax }} {{ line }} {{ inner }}", fig=fig, ax=ax, line=line, inner=inner)
    assert before == (fig.dpi, fig.get_size_inches().tolist(), ax.get_position().bounds, fig.get_facecolor())
    assert prompt.text.startswith("[image: fig.png] [image: ")
    assert prompt.text.endswith(" [image: inner.png]")
    assert {image.media_type for image in prompt.images.values()} == {"image/png"}
    assert ask("{{ [[ax]] }} {{ axes }}", ax=ax, axes=fig.subplots(2, 2)).images.keys() == {"axes.png"}
    ax.remove()
    with pytest.raises(PromptError, match="it does not belong to a figure any more"):
        ask("{{ ax }}", ax=ax)


def test_pillow_images():
    image = pytest.importorskip("PIL.Image")
    ((data, name),) = pictures(ask("{{ photo }}", photo=image.new("RGB", (4, 3))))
    assert name == "photo.png"
    assert image.open(io.BytesIO(data)).size == (4, 3)


def test_in_a_shell():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import HTML, Image, Markdown

    shell = InteractiveShell()
    shell.user_ns.update(In=["", "a", "b"], Out={1: Image(data=PNG), 2: Markdown("*m*"), 3: HTML("<b>")})
    prompt = render(
        "{{In[2]}} {{Out[1]}} {{Out[2]}} {{Out[3]}}",
        lambda code: eval(code, shell.user_global_ns, shell.user_ns),
        names=shell.user_ns,
    )
    assert prompt.text == "b [image: Out_1.png] *m* <IPython.core.display.HTML object>"
    assert pictures(prompt) == [(PNG, "Out_1.png")]


def test_nothing_heavy_is_imported():
    code = (
        "import sys; import nb_backend.notebook.prompt.interpolate\n"
        "print({'IPython', 'numpy', 'pandas', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
