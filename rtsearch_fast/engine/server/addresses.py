"""Hosts and ports of this machine."""

from __future__ import annotations

import ipaddress
import socket

__all__ = ["cannot_listen", "free_port", "is_loopback", "root_url"]


def is_loopback(host: str) -> bool:
    """Is this address reached from this machine alone?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def root_url(host: str, port: int) -> str:
    # "any address" is no address to go to
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def cannot_listen(host: str, port: int) -> str | None:
    """Try a port as vLLM will; returns why it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def free_port(host: str, first: int = 0) -> int:
    for port in range(first, min(first + 50, 65536)) if first else ():
        if cannot_listen(host, port) is None:
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
