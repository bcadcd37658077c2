"""Run folders and the loop that fills them."""

from __future__ import annotations

from suite.storage import IntegrityError as IntegrityError
from suite.storage import read_directory as read_directory
from suite.storage import write_directory as write_directory
