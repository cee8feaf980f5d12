"""Errors inside a stream, whatever the fields that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..text import letters_and_digits

# Names of fields in small letters without punctuation.
_ERRORS = ("error", "errors", "exception", "fault", "errormessage", "errormsg", "errmsg", "errordescription")
_MESSAGES = ("message", "msg", "statusmsg", "statusmessage", "detail", "details", "description", "reason")
_CODES = ("code", "errorcode", "errcode", "errno", "statuscode", "httpstatus", "httpcode")
_FAILED = ("error", "failed", "failure", "fail")
_FINE = ("", "0", "200", "ok", "success", "none", "null", "false")


def find_error(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the failure that an object tells of, with ``message``, ``code`` and ``type`` if it has them; else None.

    An object tells of a failure if it has a field for errors, a code that does not mean success, or a status that means
    failure. ``base_resp`` of MiniMax is read too.
    """
    fields = {letters_and_digits(key): value for key, value in data.items()}
    if isinstance(response := fields.get("baseresp"), dict) and (found := find_error(response)) is not None:
        return found
    code = next((fields[name] for name in _CODES if not _is_fine(fields.get(name))), None)
    if code is None and re.fullmatch(r"[45]\d\d", str(fields.get("status"))):
        code = fields["status"]
    for name in _ERRORS:
        value = fields.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict) and any(value.values()):
            return value
        if not _is_fine(value):
            more = next((fields[one] for one in _MESSAGES if isinstance(fields.get(one), str) and fields[one]), None)
            return {"type": value, "message": more, "code": code} if more else {"message": value, "code": code}
    kinds = [str(fields.get(name)).casefold() for name in ("type", "object", "status", "state")]
    message = next((fields[name] for name in _MESSAGES if fields.get(name)), None)
    is_failed = any(kind in _FAILED for kind in kinds) or fields.get("success") is False or fields.get("detail")
    if is_failed or (code is not None and message is not None):
        kind = fields.get("type") if fields.get("type") != "error" else None
        return {"message": message or {**data, "type": kind}, "code": code, "type": kind}
    return None


def find_message(data: Mapping[str, Any]) -> str:
    """Return the message of an object that has nothing else to say, or ``""``; it may be an error's."""
    found = next((data[name] for name in ("message", "msg", "Message") if isinstance(data.get(name), str)), "")
    return str(found)


def _is_fine(value: Any) -> bool:
    return value is None or isinstance(value, dict | list) or str(value).strip().casefold() in _FINE
