"""What may be shown of an address: enough for whoever knows it to recognise it, too little for anybody else."""

from __future__ import annotations


def masked(address: str) -> str:
    """``anna@example.org`` -> ``a…@example.org``."""
    local, at, domain = address.strip().rpartition("@")
    return f"{local[:1]}…@{domain}" if at else "…"
