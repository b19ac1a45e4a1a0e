"""Tell a quota that is used up for today from a rate that passes in a minute."""

from __future__ import annotations

import re

_LONG_QUOTA = re.compile(
    r"\b[TR]PD\b|per[ _-]?(?:day|week|month)|\b(?:daily|weekly|monthly)\b|for today"
    r"|每日|每天|每月|当日|当天|今日",
    re.IGNORECASE,
)
_SHORT_QUOTA = re.compile(
    r"\b[TR]PM\b|per[ _-]?(?:second|min(?:ute)?|hour)\b|concurrency|每分钟|并发",
    re.IGNORECASE,
)


def is_used_up(words: str) -> bool:
    """Tell whether a host's refusal names a quota of a day or longer, and no shorter.

    Hosts write "TPD rate limit", "requests per day", "free-models-per-day".
    """
    return bool(_LONG_QUOTA.search(words)) and not _SHORT_QUOTA.search(words)
