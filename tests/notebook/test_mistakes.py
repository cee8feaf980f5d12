"""The line of ``%%backend``: comments are ignored, and words that are not models are refused with the correct form."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nb_backend import settings
from nb_backend.notebook.magic.commands import command
from nb_backend.notebook.magic.completion import Known, candidates
from nb_backend.notebook.magic.line import KEY_ON_THE_LINE, words
from nb_backend.notebook.magic.mistakes import not_listed, refuse_unsure
from nb_backend.notebook.magic.model_names import can_be_name, looks_like_name
from nb_backend.notebook.magic.options import Options, declared, parse

NAMES = [
    *("gpt-4o", "o3", "llama3.2:1b", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "@cf/meta/llama-3-8b"),
    "command-r+",
    *("meta-llama/Llama-3.3-70B-Instruct", "anthropic/claude-3.5-sonnet:beta", "accounts/fireworks/models/x"),
    *("models/gemini-2.0", "openai:gpt-5.4", r"C:\models\x.gguf", "/srv/model.gguf", "./model.gguf", "~latest"),
    *("deepseek-ai/DeepSeek-V3@fp8", "mistral.mistral-7b-instruct-v0:2", "ft:gpt-4o:org::id", "qwen2.5(free)"),
    *("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-v2:0", "模型-7b", "modèle-é", "नमस्ते-1"),
]
WORDS = ["m", "phi", "llama", "Mistral", "模型"]
OPTIONS = declared(Options)


def read(line):
    found = parse(line)
    return [*found.models] or [found.model] * (found.model is not None)


def refused(line):
    with pytest.raises(ValueError, match=r".") as failure:
        parse(line)
    assert "\n" not in str(failure.value)
    return str(failure.value)


class TestComments:
    @pytest.mark.parametrize(
        ("line", "models"),
        [
            ("m # my favourite model", ["m"]),
            ("m  #note", ["m"]),
            ("m -t 0.2 # low", ["m"]),
            ("gpt-4o llama3 # both", ["gpt-4o", "llama3"]),
            ("# only a comment", []),
            ("#", []),
            ("m # it's not a \" quote “ either", ["m"]),
            ("m # -n --nonsense {x} $y", ["m"]),
            ("m ; # end", ["m"]),
            ("m#c", ["m#c"]),
        ],
    )
    def test_a_comment_is_ignored(self, line, models):
        assert read(line) == models
        assert parse(line).new is False

    @pytest.mark.parametrize("quote", ['"', "'", "“"])
    def test_a_number_sign_in_quotes_or_in_a_word_is_text(self, quote):
        closing = {"“": "”"}.get(quote, quote)
        assert parse(f"-s {quote}a # b{closing}").system == "a # b"
        assert parse("-p color=#fff m # x").params == {"color": "#fff"}
        assert parse("m -p stop=; # x").params == {"stop": ";"}

    def test_nothing_is_offered_in_a_comment(self):
        known = Known(options=OPTIONS, verbs=["use"], models=lambda: ["model"], variables=["modern"])
        for before in (
            "%%backend m # mo",
            "%%backend -t 0 # ",
            "%backend use # mo",
            "%backend # u",
            "%backend fix # m",
        ):
            assert candidates(before, known)[1] == [], before
        assert candidates("%%backend m#c mo", known)[1] == ["model"]


class TestUnderstood:
    """What editors, web pages and other tools make of a line, where that has one meaning."""

    @pytest.mark.parametrize(
        "text",
        [
            *("“Be brief”", "„Be brief“", "„Be brief”", "«Be brief»", "»Be brief«", "‘Be brief’", "‚Be brief‘"),
            *("＂Be brief＂", "″Be brief″", "「Be brief」", "‹Be brief›"),
        ],
    )
    def test_typographic_quotes(self, text):
        for line in (f"-s {text}", f"m -s {text};", f"--system={text} # x", f"—system {text}", f"–s {text} m"):
            assert parse(line).system == "Be brief", line
        assert parse(f"-n -s{text} m").system == "Be brief"
        assert words(f"-p stop={text}") == ["-p", "stop=Be brief"]

    def test_an_apostrophe_in_typographic_quotes(self):
        assert parse("-s ‘it’s brief’").system == "it’s brief"
        assert parse("-s “say 'hi', \"ho\"”").system == "say 'hi', \"ho\""
        assert parse('-s "say “hi”"').system == "say “hi”"
        assert parse("-s “-n is –n”").system == "-n is –n"

    @pytest.mark.parametrize("dash", [*"‐‑‒–—―−﹘﹣－"])
    def test_typographic_dashes(self, dash):
        for line in (f"{dash}n m", f"{dash}new m", f"m {dash}{dash}new", f"m -{dash}new"):
            assert (parse(line).new, parse(line).model) == (True, "m"), line
        found = parse(f"m {dash}t 0.2 {dash}max{dash}tokens 5 --dry{dash}run")
        assert (found.params, found.dry_run) == ({"temperature": 0.2, "max_tokens": 5}, True)
        assert parse(f"{dash}t0.5").params == {"temperature": 0.5}

    @pytest.mark.parametrize(
        "line", ["m;", "m ;", "m;;", "m\u00a0", "\u3000m", "\tm\t", "m\u200b", "\ufeffm", "\u2060m\u00ad", "m\r"]
    )
    def test_what_cannot_be_seen_or_ends_a_line(self, line):
        assert read(line) == ["m"]
        assert parse(f"--raw {line}").raw is True

    def test_a_space_that_does_not_break_separates_words(self):
        assert read("gpt-4o\u00a0llama3\u3000o3") == ["gpt-4o", "llama3", "o3"]


class TestModels:
    @pytest.mark.parametrize("name", [*NAMES, *WORDS])
    def test_one_name_is_asked_as_given(self, name):
        assert read(name) == read(f"-t 0 {name}") == read(f'"{name}"') == [name]
        assert can_be_name(name)

    @pytest.mark.parametrize("name", ["my model", "Qwen 2.5 (free)", "phi", "temperature=1", "a, b", "-n", "{x}", "a:"])
    def test_a_name_in_quotes_is_asked_as_given(self, name):
        if name != "-n":
            assert read(f'"{name}"') == [name]
        assert read(f'-t 0 gpt-4o "{name}"')[1:] == ([name] if name != "-n" else [])

    @pytest.mark.parametrize("name", NAMES)
    def test_several_that_look_like_names_need_no_list(self, name):
        found = parse(f"gpt-4 {name} 'phi'")
        assert (found.models, found.unsure) == (["gpt-4", name, "phi"], [])
        assert looks_like_name(name)

    @pytest.mark.parametrize("name", [*WORDS, '"two words"'])
    def test_several_of_which_one_may_be_a_word_of_a_text(self, name):
        assert parse(f"gpt-4o {name}").unsure == [name.strip('"')]
        settings.current.aliases = {name.strip('"'): "x"}
        assert parse(f"gpt-4o {name}").unsure == []

    def test_one_word_is_not_unsure_unless_it_is_to_be(self):
        assert parse("phi").unsure == ()
        assert parse("phi", trust_one=False).unsure == ["phi"]
        assert parse("phi3", trust_one=False).unsure == []

    def test_what_is_sent_is_a_plain_text(self):
        found = parse("m x-1 --keep x-1 -s Brief -i a -c b -o c --provider d -p e=f")
        texts = (found.model, *found.models, found.keep, found.system, *found.image, found.chat, found.out)
        assert {type(text) for text in (*texts, found.provider, *found.param[0])} == {str}

    def test_an_alias_may_have_any_name(self):
        settings.current.aliases = {"best!": "x", "and": "y", "a=b": "z", "c,d": "w"}
        assert read("best! and a=b c,d") == ["best!", "and", "a=b", "c,d"]

    @pytest.mark.parametrize(
        ("line", "models", "unsure"),
        [
            ("gpt-4o, llama3.2", ["gpt-4o", "llama3.2"], []),
            ("gpt-4o,llama3.2", ["gpt-4o", "llama3.2"], []),
            ("gpt-4o , llama3.2", ["gpt-4o", "llama3.2"], []),
            ("gpt-4o，llama3.2、o3", ["gpt-4o", "llama3.2", "o3"], []),
            ('"gpt-4o", "llama"', ["gpt-4o", "llama"], []),
            ("gpt-4o, 'my model'", ["gpt-4o", "my model"], ["my model"]),
            ("-t 0 gpt-4o, llama3.2 # both", ["gpt-4o", "llama3.2"], []),
            ("gpt-4o, phi", ["gpt-4o", "phi"], ["phi"]),
            ("gpt-4o, hello", ["gpt-4o", "hello"], ["hello"]),
        ],
    )
    def test_a_comma_between_models_separates_them_as_a_space_does(self, line, models, unsure):
        found = parse(line)
        assert (found.models, found.unsure, found.model) == (models, unsure, models[0])

    @pytest.mark.parametrize(
        ("line", "form"),
        [
            ("gpt-4o , llama3,", "%%backend gpt-4o llama3 "),
            ("gpt-4o and llama3", "%%backend gpt-4o llama3 "),
            ("gpt-4o & llama3", "%%backend gpt-4o llama3 "),
            ("gpt-4o vs. llama3", "%%backend gpt-4o llama3 "),
            ("gpt-4o | llama3", "%%backend gpt-4o llama3 "),
            ("gpt-4o + llama3", "%%backend gpt-4o llama3 "),
            ("gpt-4o,", "%%backend gpt-4o "),
            ("llama,", "%%backend llama "),
            ("gpt-4o:", "%%backend gpt-4o "),
            ("model=gpt-4o", "%%backend gpt-4o "),
            ("model: gpt-4o", "%%backend gpt-4o "),
            ("model gpt-4o", "%%backend gpt-4o "),
            ("--model gpt-4o", "no option --model: the model comes first, %%backend gpt-4o"),
            ("--model=gpt-4o", "%%backend gpt-4o"),
            ("-m gpt-4o", "%%backend gpt-4o"),
            ("[gpt-4o]", "%%backend gpt-4o "),
            ("<gpt-4o>", "%%backend gpt-4o "),
            ("`gpt-4o`", "%%backend gpt-4o "),
            ("**gpt-4o**", "%%backend gpt-4o "),
            ("&lt;gpt-4o&gt;", "%%backend gpt-4o "),
            ("gpt–4o", "%%backend gpt-4o "),
            ("gpt‑4o", "%%backend gpt-4o "),
            ("ｇｐｔ－４ｏ", "%%backend gpt-4o "),
            ("’gpt-4o’", "%%backend gpt-4o "),
            ("temperature=0.2", "-p temperature=0.2"),
            ("m top_p=0.9", "-p top_p=0.9"),
            ("http://localhost:8080/v1", "%backend url http://localhost:8080/v1"),
            ("gpt-4o plot.png", "-i plot.png"),
            ("gpt-4o&nbsp;", "write gpt-4o"),
        ],
    )
    def test_words_that_are_not_quite_models_are_refused_with_the_form(self, line, form):
        assert form in refused(line)

    @pytest.mark.parametrize(
        ("line", "text", "head"),
        [
            ("Why is the sky blue?", "Why is the sky blue?", "%%backend or"),
            ("Hello!", "Hello!", "%%backend or"),
            ("Hello, world", "Hello, world", "%%backend or"),
            ("gpt-4o Why is the sky blue?", "Why is the sky blue?", "%%backend gpt-4o or"),
            ("gpt-4o: hello", "hello", "%%backend gpt-4o or"),
            ('gpt-4o "Answer briefly."', "Answer briefly.", "%%backend gpt-4o or"),
            ('"Why is the sky blue?"', "Why is the sky blue?", "%%backend or"),
            ("gpt-4o - hello", "- hello", "%%backend gpt-4o or"),
            ("gpt-4o 24", "24", "%%backend gpt-4o or"),
            ("1 gpt-4o", "1 gpt-4o", "%%backend or"),
            ("-5", "-5", "%%backend or"),
            ("m // note", "m // note", "%%backend or"),
            ("what's up what's", "what's up what's", "%%backend or"),
        ],
    )
    def test_a_prompt_on_the_line_is_refused(self, line, text, head):
        said = refused(line)
        assert said.startswith((f"'{text}' cannot be", f'"{text}" cannot be'))
        assert f"in the lines below {head}" in said

    @pytest.mark.parametrize(
        "line", ["token abc-def", "token=abc-def", "m key:abc-def", "--key abc'def", "api_key = x"]
    )
    def test_no_message_repeats_a_key(self, line):
        assert refused(line) == KEY_ON_THE_LINE

    @pytest.mark.parametrize("dash", ["–", "\u2011", "－", "&#45;", "\u200b-"])
    def test_no_message_repeats_a_key_that_an_editor_has_changed(self, dash):
        settings.current.api_key = "my-known-key-12345"
        for key in ("sk-proj-abcdefghijklmnopqrstuvwxyz1234567890ABCDEFGH", "my-known-key-12345"):
            assert refused(key.replace("-", dash)) == KEY_ON_THE_LINE
            with pytest.raises(ValueError, match=re.escape(KEY_ON_THE_LINE)):
                command(f"chats {key.replace('-', dash)}")

    @pytest.mark.parametrize("name", ["secret-llama", "token", "my-key-model:1b", "keybert"])
    def test_a_model_may_be_named_like_a_key(self, name):
        assert read(name) == [name]


class TestTextsWithoutQuotes:
    @pytest.mark.parametrize("option", ["-s ", "--system ", "--system=", "-s", "--sys ", "–s ", "-s="])
    @pytest.mark.parametrize(
        "rest", ["briefly", "briefly in one sentence.", "in 2 lines", "briefly, please", "-3 or 4"]
    )
    def test_a_system_prompt_without_quotes_is_refused_with_them(self, option, rest):
        for line in (f"{option}Answer {rest}", f"m {option}Answer {rest} -t 0", f"{option}Answer {rest} # x"):
            assert f'-s "Answer {rest}"' in refused(line), line

    def test_a_parameter_without_quotes_is_refused_with_them(self):
        assert '-p "stop=the very end."' in refused("m -p stop=the very end.")
        assert read("-p top_p=0.9 llama") == read("-p stream=true llama") == read("-p 'stop=a b' llama") == ["llama"]
        assert read("-p stop=END o3") == ["o3"]

    @pytest.mark.parametrize(
        ("line", "unsure"),
        [("-p stop=the end", ["end"]), ("m-1 -p stop=the very end", ["very", "end"]), ("-p user=bob llama", ["llama"])],
    )
    def test_words_after_a_parameter_are_asked_only_if_the_server_lists_them(self, line, unsure):
        found = parse(line)
        assert found.unsure == unsure
        assert found.doubt.startswith(f'put a text of several words in quotes: -p "{line.partition("-p ")[2]}"')
        assert (f"if {unsure[-1]} is a model, write it first" in found.doubt) == (len(unsure) == 1)
        assert parse("-p user=bob gpt-4o").doubt == parse("-p n=1 llama").doubt == ""

    @pytest.mark.parametrize(
        ("line", "form"),
        [
            ("m -i f(1, 2)", '-i "f(1, 2)"'),
            ("-i f(1, -n) m", '-i "f(1, -n)"'),
            ("m --image=df[df.x > 1].plot() -n", '-i "df[df.x > 1].plot()"'),
            ('-i f("a b", 1)', "-i 'f(\"a b\", 1)'"),
            ("-i {x: 1}", '-i "{x: 1}"'),
            ("-i [a, b] m", '-i "[a, b]"'),
            ('m -p stop=["a", "b"]', '-p \'stop=["a", "b"]\''),
            ('-p format={"type": "json_object"} m', '-p \'format={"type": "json_object"}\''),
            ('-p x={"a": "it\'s" }', '-p "x={\\"a\\": \\"it\'s\\" }"'),
            ("m -i a.png, b.png", "else -i a.png -i b.png"),
            ("m -i my plot.png", 'write -i "my plot.png" if its name has a space, else -i my -i plot.png'),
        ],
    )
    def test_a_value_with_spaces_is_refused_with_quotes(self, line, form):
        assert form in refused(line)
        if ".png" not in line:
            assert parse(form)

    def test_a_value_whose_brackets_are_closed_or_never_closed_ends_at_its_space(self):
        assert parse("-i f(1,2) m").image == ["f(1,2)"]
        assert parse("-i figs['a (b'] m").model == "m"
        assert parse("-i a(1.png m -i b").image == ["a(1.png", "b"]
        assert parse('-i "f(1, 2)" -p "x=[1, 2]" m').model == "m"

    def test_the_form_can_be_used_as_it_is(self):
        form = refused('-s Say "hi" to me').partition("quotes: ")[2]
        assert parse(form).system == 'Say "hi" to me'

    def test_a_model_may_follow_a_system_prompt(self):
        settings.current.aliases = {"small": "llama3.2:1b"}
        assert read("-s Brief gpt-4o o3") == ["gpt-4o", "o3"]
        assert read("-s Brief small") == ["small"]
        assert read("-s Brief 'my model'") == ["my model"]
        assert read("-s 'Be brief' llama") == read("-s Brief -t 0 llama") == ["llama"]
        assert "write it first: %%backend llama -s Brief" in refused("-s Brief llama")
        assert "write it first: %%backend gpt-4o llama -s Brief" in refused("gpt-4o -s Brief llama")

    @pytest.mark.parametrize("line", ["-s “Be brief", '-s "Be brief”', "-s Don't be long", "-s «Bref", "-s ’Be brief’"])
    def test_quotes_that_do_not_match(self, line):
        refused(line)

    def test_html_in_place_of_quotes(self):
        assert 'write "Be' in refused("-s &quot;Be brief&quot;")
        assert "has HTML" in refused("-s &#8220;Brief&#8221;")
        assert parse("-s A&amp;B").system == "A&amp;B"


class TestVariables:
    @pytest.mark.parametrize(
        ("line", "setting"),
        [
            ("{model}", "model = model "),
            ("{{ model }}", "model = model "),
            ("{{model}} -t 0", "model = model "),
            ("$model", "model = model "),
            ("${model}", "model = model "),
            ("gpt-4o {models[1]}", "model = models[1] "),
            ('f"{model}"', "model = model "),
            ("openai/{model}", 'model = f"openai/{model}" '),
        ],
    )
    def test_a_variable_is_refused_with_what_to_do(self, line, setting):
        assert f"run %config BackendMagics.{setting}" in refused(line)

    @pytest.mark.parametrize(
        "line",
        ["m -t {t}", "m -s {role}", "m -s {{ role }}", "m -c $chat", "--provider {p}", "m -p x=$a", "m -p x=${a}"],
    )
    def test_a_variable_as_a_value_is_refused(self, line):
        assert "is not replaced on this line" in refused(line)

    def test_braces_that_are_no_variable_stay(self):
        assert parse('-p x={"a":1}').params == {"x": {"a": 1}}
        assert parse("-i {a} -i figs['{x}']").image == ["{a}", "figs['{x}']"]
        assert parse('-s "Use {name} and $x"').system == "Use {name} and $x"


class TestOptions:
    @pytest.mark.parametrize(
        ("line", "form"),
        [
            ("m -temperature 0.2", "write --temperature"),
            ("m -temp 0.2", "write --temperature"),
            ('m -system "Be brief"', "write --system"),
            ('m -sys "Be brief"', "write --system"),
            ("m -new", "write --new"),
            ("m -once", "write --once"),
            ("m -cache", "write --cache"),
            ("m --sytem x", "no option --sytem: did you mean --system?"),
            ("m --temprature 0.2", "did you mean --temperature?"),
            ("m --max_tokens 5", "did you mean --max-tokens?"),
            ('m --sytem="Be brief"', "did you mean --system?"),
            ("m --no-cache", "no option --no-cache: leave out --cache"),
            ("m --nonsense", "no option --nonsense: %%backend? shows all options"),
            ("m --seed 3", "write -p seed=3"),
            ("m --top-p=0.9", "write -p top_p=0.9"),
            ("m --pwd abc-secret", "write -p pwd=… for"),
            ("m --system-prompt x", "use -s TEXT"),
            ("m --url http://x", "use %backend url URL"),
            ("m --file a.txt", "use -i EXPRESSION_OR_PATH"),
            ("m --stream", "no option --stream: %%backend? shows all options"),
            ("m -x", "no option -x: %%backend? shows all options"),
            ("m --help", "%%backend? shows the options"),
            ("-h", "%%backend? shows the options"),
            ("m -> x", "->"),
            ("m -s", '-s needs a value: -s "Be brief"'),
            ("m --temperature", "--temperature needs a value: --temperature 0.2"),
            ("m -s -n", "-s needs a value"),
            ("m \\", "in it, without the \\"),
            ("m -t 0.2\\", "in it, without the \\"),
        ],
    )
    def test_a_mistyped_option_is_refused_with_the_form(self, line, form):
        assert form in refused(line)

    def test_what_looks_like_one_is_still_a_value(self):
        assert parse("-cwork m").chat == "work"
        assert parse("m --max-token 5").max_tokens == 5  # the beginning of an option, and not a key
        assert parse("-c new").chat == "new"
        assert parse('-s "-system"').system == "-system"
        assert parse("-t=0.2 m --sys Brief").system == "Brief"


class TestLists:
    def test_the_message_names_what_is_missing_and_what_is_close(self):
        said = str(not_listed(["gpt-4o", "lama3"], ["lama3"], ["gpt-4o", "llama3", "phi"]))
        assert "does not list lama3" in said
        assert "did you mean llama3?" in said
        said = str(not_listed(["m", "is", "blue"], ["is", "blue"], ["m"]))
        assert said.startswith("'is blue' is not in the server's list")
        assert "below %%backend m or" in said

    def test_without_a_list_the_form_with_quotes_is_shown(self):
        with pytest.raises(ValueError, match=re.escape('%%backend gpt-4o "llama" "phi";')):
            refuse_unsure(["gpt-4o", "llama", "phi"], ["llama", "phi"])
        with pytest.raises(ValueError, match="'is the sky' may be a text"):
            refuse_unsure(["gpt-4o", "is", "the", "sky"], ["is", "the", "sky"])
        refuse_unsure(["gpt-4o", "phi"], [])


FRAGMENTS = (
    *("-s", "-t", "0.2", "–n", "—new", "--keep", "-p", "a=1", "#", "# x", "“", "”", '"', "'", "{x}", "$y", "and"),
    *(",", ";", "\\", "\u00a0", "\u200b", "&quot;", "?", "why", "in", "-", "--", "=", "--model", "-i", "-x"),
)
pieces = st.sampled_from([*NAMES, *WORDS, *FRAGMENTS])


@given(st.lists(pieces | st.text(max_size=6), max_size=8), st.sampled_from([" ", ""]))
@example(["-s", "“", "”"], " ")
def test_any_line_is_refused_or_asks_only_words_that_can_be_models(typed, between):
    line = between.join(typed)
    with suppress(ValueError):
        found = words(line)
        for model in read(line):
            assert any(
                model in (word, *re.split("[,，、]", word), *re.split("[,，、\"']+", word))
                and (word.is_quoted or can_be_name(model) or f'"{model}"' in word or f"'{model}'" in word)
                for word in found
            )


@given(st.lists(pieces, max_size=4), st.text(st.characters(exclude_characters="\n")))
def test_a_comment_changes_nothing(typed, comment):
    line = " ".join(typed)

    def outcome(text):
        try:
            return parse(text)
        except ValueError as error:
            return str(error)

    if "#" not in line and line.count("“") == line.count('"') == line.count("'") == 0:
        assert outcome(f"{line} #{comment}") == outcome(line) or outcome(f"{line} #{comment}") == KEY_ON_THE_LINE
