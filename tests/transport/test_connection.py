"""The check of aiohttp's internals, and the public names of the package."""

from __future__ import annotations

import pytest

import nb_backend.transport
from nb_backend.transport import StreamResponse, StreamSession, connection


def test_the_installed_aiohttp_has_all_internals_that_are_used():
    connection.check_internals()


def test_a_missing_internal_is_named(monkeypatch):
    monkeypatch.setattr(connection, "INTERNALS", ((connection.ResponseHandler, ("closed", "gone")),))
    with pytest.raises(ImportError, match=r"has no ResponseHandler\.gone: install an older aiohttp"):
        connection.check_internals()


async def test_the_set_of_acquired_connections_exists():
    async with connection.Connector() as connector:
        assert connector._acquired == set()
        assert not connector.is_free


def test_the_package_hands_on_its_two_classes():
    assert StreamSession.__module__ == "nb_backend.transport.session"
    assert StreamResponse.__module__ == "nb_backend.transport.response"
    assert {"StreamResponse", "StreamSession"} <= {*dir(nb_backend.transport)}
    with pytest.raises(AttributeError, match="has no attribute 'Sessions'"):
        nb_backend.transport.Sessions  # noqa: B018
