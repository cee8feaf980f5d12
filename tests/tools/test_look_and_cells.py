"""``look`` and ``cells``: what a model may see of variables and of executed cells."""

from __future__ import annotations

import asyncio

import pytest
from IPython.core.interactiveshell import InteractiveShell

from nb_backend import tools
from nb_backend.tools.variables import MAX_NAMES


@pytest.fixture(scope="module")
def shell():
    shell = InteractiveShell.instance()
    getattr(shell.history_manager, "outputs", {}).clear()  # all shells of a process share it
    shell.run_cell("1 + 1", store_history=True)
    shell.run_cell("api_key = 'zq8-very-secret-value'\nprint(api_key)\napi_key", store_history=True)
    shell.run_cell("1 / 0", store_history=True)
    yield shell
    InteractiveShell.clear_instance()


def test_the_package_has_the_function_tool_and_not_its_module():
    from nb_backend.tools import calls, tool

    assert calls is not None
    assert tool(tools.look, name="glance").name == "glance"


class TestLook:
    def test_it_returns_types_and_shapes_without_values(self, shell):
        shell.run_cell("""
            rows = [{'a': 1}]
            counts = {'Oslo': 700_000}
            def area(width, height=2):
                '''Return the area.

                Of a rectangle.
                '''
            class Loud:
                def __repr__(self): raise SystemExit
                __str__ = __len__ = __repr__
            loud = Loud()
        """)
        assert tools.look(["rows", "counts", "area", "loud"]).splitlines() == [
            "rows: list of 1 item: dict",
            "counts: dict of 1 item: str → int",
            "area: function area(width, height=…) – Return the area.",
            "loud: Loud",
        ]

    def test_a_secret_name_gets_its_type_only(self, shell):
        assert tools.look("api_key") == "api_key: str"

    def test_unknown_and_dotted_names_are_answered(self, shell):
        shell.user_ns["table"] = [1]
        assert tools.look(["nope", "table.columns", "table[0]", "a\x1b[2Jb"]).splitlines() == [
            "nope: there is no variable of this name",
            "table.columns: there is no variable of this name; only whole variables can be looked at, such as table",
            "table[0]: there is no variable of this name; only whole variables can be looked at, such as table",
            "a\ufffd[2Jb: there is no variable of this name",
        ]

    def test_without_names_it_lists_the_users_variables(self, shell):
        shell.user_ns |= {f"many_{at}": at for at in range(100)}
        lines = tools.look().splitlines()
        assert len(lines) == MAX_NAMES + 1
        assert not any(line.startswith(("_", "In:", "Out:", "get_ipython", "exit")) for line in lines)
        assert "more names" in lines[-1]
        for at in range(100):
            del shell.user_ns[f"many_{at}"]

    @pytest.mark.parametrize("arguments", [{"names": "x"}, {"names": [1]}, {"name": ["x"]}])
    def test_wrong_arguments_are_refused(self, arguments):
        with pytest.raises(ValueError, match="name"):
            tools.look.check(arguments)


class TestCells:
    def cells(self, *numbers):
        return asyncio.run(tools.cells(*numbers))

    def test_it_returns_source_value_and_error_with_secrets_masked(self, shell):
        found = self.cells(1, 3)
        assert found.startswith("In [1]:\n1 + 1\nOut [1]:\n2\n\nIn [2]:\napi_key = '***'\nprint(api_key)\napi_key\n")
        assert "zq8" not in found
        assert "In [3]:\n1 / 0" in found

    def test_an_answer_is_shown_by_its_text(self, shell):
        from nb_backend import Answer

        shell.history_manager.input_hist_raw.append("%%backend\nWhy?")
        number = len(shell.history_manager.input_hist_raw) - 1
        shell.user_ns["Out"][number] = Answer(text="Because.")
        assert self.cells(number) == f"In [{number}]:\n%%backend\nWhy?\nOut [{number}]:\nBecause."

    def test_what_is_long_is_cut(self, shell):
        shell.history_manager.input_hist_raw.extend(["x = 1\n" * 5_000] * 100)
        found = self.cells(1, 1000)
        assert found.startswith("[earlier cells are left out: ask for fewer]\n\nIn [")
        assert len(found) < 20_000
        assert "characters left out" in found
        del shell.history_manager.input_hist_raw[-100:]

    def test_numbers_that_name_no_cell_are_answered(self, shell):
        assert self.cells(900).startswith("(there are no such cells")
        assert "In [1]" in self.cells(-5, 1)

    @pytest.mark.parametrize("arguments", [{"first": "1"}, {"first": True}, {"begin": 1}])
    def test_wrong_arguments_are_refused(self, arguments):
        with pytest.raises(ValueError, match=r"first|begin"):
            tools.cells.check(arguments)
