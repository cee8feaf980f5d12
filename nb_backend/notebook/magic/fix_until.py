"""``%backend fix --until COUNT``: the model looks at variables and runs its correction, at most so many times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ... import settings
from ...text import counted
from ...tools.tool import Tool, ToolFailed
from .declaration import option
from .option_values import positive_integer
from .options import Options

if TYPE_CHECKING:
    from .question import Question

_TASK = (
    "A cell of my Jupyter notebook failed. Find out what went wrong, and correct it. First propose a correction in a "
    "sentence. Then run it with the tool run; the tool look returns the types of variables. You may call run at most "
    "{runs}. Once it runs without an error, or if I do not allow it, call no more tools: say in a sentence or two what "
    "went wrong, and give the whole corrected cell as one fenced Python code block, and no other code block."
)


@dataclass(frozen=True)
class FixOptions(Options):
    """What the line of ``%backend fix`` says."""

    until: int | None = option(
        "--until",
        example="3",
        metavar="COUNT",
        type=positive_integer,
        help="the model runs its correction, after you are asked, at most so many times",
    )


def task(runs: int) -> str:
    """Return what the model is told to do; ``runs`` is how often it may run code."""
    return _TASK.format(runs=counted(runs, "time"))


def with_tools(question: Question, runs: int) -> Question:
    """Return a question with the tools ``look`` and ``run``; ``ValueError`` if that cannot be."""
    from ...tools.run_code import run
    from ...tools.variables import look

    if off := settings.tools_off():
        raise ValueError(f"--until needs tools, and they are turned off by {off}: leave out --until")
    if question.options.models:
        raise ValueError("--until works with one model: name one, or leave out --until")
    others = [one for one in question.tools if one.wire_name not in ("look", "run")]
    return replace(question, tools=[*others, look, limited(run, runs)])


def limited(run: Tool, most: int) -> Tool:
    """Return the tool ``run`` that runs code at most ``most`` times, and says how often it still may."""
    used = 0

    def refuse_more() -> None:
        if used >= most:
            raise ToolFailed(f"all runs are used up, {most} of {most}: answer now, without another call")

    def check(arguments: dict[str, Any]) -> dict[str, Any]:
        refuse_more()
        return run.check(arguments)

    async def function(code: str) -> Any:
        nonlocal used
        refuse_more()
        used += 1
        shown = await run.function(code)
        left = f"[{counted(most - used, 'run')} left]" if used < most else "[no run is left: answer now]"
        return [*shown, left] if isinstance(shown, list) else f"{shown}\n{left}"

    return replace(run, function=function, check=check)
