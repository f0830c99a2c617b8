"""Measuring: gates that an artifact must pass, and figures about it."""

from __future__ import annotations
