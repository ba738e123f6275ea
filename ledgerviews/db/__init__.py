"""The one door to PostgreSQL: connecting, time-outs, and driver errors turned into ours."""

from .connecting import (
    CONNECT_TIMEOUT_S,
    END_IF_IDLE,
    READ_ALIKE,
    asking,
    connect,
    conninfo,
    describe_target,
    look_only,
    looking,
    missing_schema,
    read_alike,
    set_timeouts,
)
from .rights import Task, mend, require_trusted_schema
from .translation import end_of_prepared, session_in_words, translate, translated

__all__ = [
    "CONNECT_TIMEOUT_S",
    "END_IF_IDLE",
    "READ_ALIKE",
    "Task",
    "asking",
    "connect",
    "conninfo",
    "describe_target",
    "end_of_prepared",
    "look_only",
    "looking",
    "mend",
    "missing_schema",
    "read_alike",
    "require_trusted_schema",
    "session_in_words",
    "set_timeouts",
    "translate",
    "translated",
]
