"""The provider example of the README runs as a script, on the embedded backend: a real process, a real socket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = """
from nb_backend import BackendApi
from nb_backend.typing import Messages, MediaListType
import asyncio

async def main():
    model = "gpt-3.5-turbo"
    messages: Messages = [{"role": "user", "content": "Hello, how are you?"}]
    media: MediaListType = None
    api_key = "your_api_key"
    kwargs = {"temperature": 0.7}
    async for response in BackendApi.create_async_generator(
        model=model, messages=messages, media=media, api_key=api_key, **kwargs
    ):
        print(response)

if __name__ == "__main__":
    asyncio.run(main())
"""

SLOW = re.compile(r"^Executing <.+> took [\d.]+ seconds\n", re.MULTILINE)  # asyncio's message on a busy machine

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a script on the embedded backend, which plays the given steps; without steps, the model answers."""

    def run(script: str, steps: str | None) -> subprocess.CompletedProcess[str]:
        (tmp_path / "example.py").write_text(script)
        if steps is not None:
            (tmp_path / "steps.json").write_text(steps)
            monkeypatch.setenv("NB_BACKEND_SCRIPT", str(tmp_path / "steps.json"))
        command = [sys.executable, "-W", "error", "-X", "dev", str(tmp_path / "example.py")]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False)
        done.stderr = SLOW.sub("", done.stderr)
        return done

    return run


def test_it_prints_the_answer(run):
    done = run(EXAMPLE, '["Fine, ", "thank you."]')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("\n", "") == "Fine, thank you."


def test_it_prints_the_answer_of_the_real_model(run):
    done = run(EXAMPLE, None)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.replace("\n", "")) > 10


def test_it_is_in_the_readme():
    assert EXAMPLE.strip() in README.read_text()


@pytest.mark.parametrize(("leave", "code"), [("break", 0), ("raise SystemExit(3)", 3)])
def test_leaving_it_early_prints_nothing_to_stderr(run, leave, code):
    script = EXAMPLE.replace("print(response)", f"if str(response): print(response); {leave}")
    done = run(script, '["Fine, ", null]')
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == "Fine, \n"
