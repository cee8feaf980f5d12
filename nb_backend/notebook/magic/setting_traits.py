"""Traits of the magic that stand for what ``settings`` holds: ``%config`` and ``ipython_config.py`` set the same."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Int, TraitError, TraitType, Unicode

from ... import settings


class _Setting(TraitType[Any, Any]):
    """A trait that stands for the one of ``settings.current`` with its name, whoever changes that."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        """Give what is set in this process."""
        return getattr(settings.current, self.name or "")

    def set(self, obj: Any, value: Any) -> None:
        """Set it for this process; ``TraitError`` if it is of another type, or a url that is none."""
        value = self._validate(obj, value)
        try:
            if self.name == "url" and value:
                _check_urls(settings.urls(value))
        except ValueError as error:
            raise TraitError(str(error)) from None
        setattr(settings.current, self.name or "", value)


def _check_urls(urls: list[str]) -> None:
    if len(urls) > 1:  # for one url the providers need not be loaded
        from ...providers.registry import check_same_dialect

        check_same_dialect(urls)


class TextSetting(_Setting, Unicode[Any, Any]):
    """A text that ``settings.current`` holds."""


class NumberSetting(_Setting, Int[Any, Any]):
    """A whole number that ``settings.current`` holds."""


class DictSetting(_Setting, Dict):
    """Texts by name that ``settings.current`` holds."""
