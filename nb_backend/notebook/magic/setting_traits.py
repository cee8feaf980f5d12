"""Traits of the magic that read and write ``settings``, for ``%config`` and ``ipython_config.py``."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Float, Int, TraitError, TraitType, Unicode

from ... import settings


class _Setting(TraitType[Any, Any]):
    """A trait whose value is the field of ``settings.current`` that has the trait's name."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        """Return the setting of this process."""
        return getattr(settings.current, self.name or "")

    def set(self, obj: Any, value: Any) -> None:
        """Change the setting of this process; ``TraitError`` if its type is wrong, or its value not valid."""
        value = self._validate(obj, value)
        try:
            if self.name == "url":
                _set_url(value)
                return
            if self.name == "api" and value:
                from ...providers.registry import provider_named

                provider_named(value)
            elif self.name in ("connect_timeout", "idle_timeout"):
                settings.seconds(self.name, value)
        except ValueError as error:
            raise TraitError(str(error)) from None
        setattr(settings.current, self.name or "", value)


def _set_url(text: str | None) -> None:
    """Ask another server; the dialect that was set for the one before is forgotten."""
    current = settings.current
    dialect = current.api if current.url in (None, text) else None
    if text and len(urls := settings.urls(text)) > 1 and dialect is None:
        from ...providers.registry import check_same_dialect  # one url needs no check

        check_same_dialect(urls)
    settings.change_url(text, dialect)


class TextSetting(_Setting, Unicode[Any, Any]):
    """A setting that is a text."""


class FlagSetting(_Setting, Bool[Any, Any]):
    """A setting that is true or false."""


class NumberSetting(_Setting, Int[Any, Any]):
    """A setting that is a whole number."""


class SecondsSetting(_Setting, Float[Any, Any]):
    """A setting that is a number of seconds above 0."""


class DictSetting(_Setting, Dict):
    """A setting that maps texts to texts."""
