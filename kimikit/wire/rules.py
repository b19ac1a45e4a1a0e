"""Choose the error for a host's report: by its status, its codes, then its words.

Types and codes are what a host means; words are searched only for phrases that say one
thing, as an ordinary rate limit links to a billing page and a proxy speaks of access.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from kimikit import errors
from kimikit.wire.reports import WORDS_LIMIT, Report

_REQUEST = (0, 200, 400, 403, 404, 409, 410, 412, 413, 422)
"""Statuses of a request that the host read; 0 and 200 stand for an error in a 200."""
_NO_STATUS = (0, 200)
_SERVER = tuple(range(500, 600))


class Rule(NamedTuple):
    """One way in which hosts say one thing.

    Attributes:
        name: What the debug log calls it.
        error: The error it stands for.
        kinds: A pattern that a whole type or code must fit.
        phrases: A pattern searched for in the host's words; empty for none.
        statuses: The statuses with which either counts, all if empty.
        remedy: What to do, where the error's own remedy does not help.
    """

    name: str
    error: type[errors.StatusError]
    kinds: str
    phrases: str
    statuses: tuple[int, ...] = ()
    remedy: str = ""


_MODEL_GONE = (
    r"(?:was |is |been |could )?(?:not (?:be )?found|does not exist|doesn't exist"
    r"|not exist\b|no longer|retired|deprecated|decommissioned|not registered"
    r"|(?:is )?not (?:currently )?(?:supported|available|a valid|loaded|recognized"
    r"|served|deployed|enabled|accessible))"
)
_THE_MODEL = (
    r"(?:use |access |call |invoke )?(?:the |this |that )?(?:requested |specified )?"
    r"model\b"
)
_OPEN_IT = "Open {model!r} to your account on the host's pages, or name another model."
RULES = (
    Rule(
        "content filter",
        errors.ContentFiltered,
        r"content_filter\w*|content_policy_violation|moderation\w*|sensitive\w*"
        r"|responsibleaipolicyviolation|data_inspection_failed|content_moderation\w*",
        r"considered high risk|content[_ ](?:filter|management policy|policy violation)"
        r"|\b(?:was|been|is) flagged\b|flagged (?:as|by|for)\b|moderation policy"
        r"|output (?:new_)?sensitive|input (?:new_)?sensitive"
        r"|inappropriate content",
        (*_REQUEST, 451, 500),
    ),
    Rule(
        "balance",
        errors.NoBalance,
        r"exceeded_current_quota(?:_error)?|insufficient_(?:quota|balance|credits?|funds"
        r"|user_quota)|billing_(?:hard_limit_reached|not_active)|payment_required"
        r"|account_(?:deactivated|suspended)|arrearage|out_of_credits?",
        r"\baccounts? .{0,80}?\b(?:is|was|has been|are) (?:currently )?"
        r"(?:suspended|deactivated|in arrears|overdue)"
        r"|\b(?:insufficient|not enough|no remaining|out of|ran out of) (?:\w+ )?"
        r"(?:balance|quota|credits?|funds)\b"
        r"|\bbalance (?:is )?(?:insufficient|not enough|too low|exhausted|negative)"
        r"|\brequires more credits|exceeded your current quota"
        r"|(?:\bbalance|\bcredits?) (?:is|are|has been|have been) (?:used up|exhausted"
        r"|depleted)|reach\w* (?:your |the )?(?:monthly )?spend(?:ing)? limit"
        r"|\u4f59\u989d\u4e0d\u8db3|\u6b20\u8d39",
        (0, 200, 400, 401, 403, 412, 429),
    ),
    Rule(
        "context",
        errors.ContextTooLong,
        r"context_(?:length|window|size)_exceeded|exceed_context_size_error"
        r"|contextwindowexceedederror|context_too_long|prompt_too_long|input_too_long"
        r"|request_too_large|max_input_tokens_exceeded|token_limit_exceeded",
        r"\bmaximum (?:context|prompt|model|input|sequence) length"
        r"|\bmax_?(?:seq|model)_?len\b"
        r"|\b(?:exceed\w*|larger than|longer than|over|beyond|too \w+ for"
        r"|fits? in(?:to)?)\b.{0,80}?\bcontext(?:[ _](?:size|length|window|limit)| of )"
        r"|\bcontext[ _](?:size|length|window|limit)\b.{0,40}?"
        r"\b(?:exceed\w*|too small|reached|is full)"
        r"|\b(?:prompt|inputs?|messages?|requests?|conversation|query|text)\b.{0,60}?"
        r"\btoo (?:long|large)\b"
        r"|\btoo many (?:input |prompt )?tokens\b(?!, please wait)"
        r"|\breduce (?:the length|your (?:\w+ )?"
        r"(?:message|prompt|input|request)s?\b)"
        r"|inputs?`? tokens \+ .{0,4}max_new_tokens"
        r"|\binputs?`? must have (?:less|fewer) than [\d,]+ tokens"
        r"|\bcontext (?:the )?overflows|\bloaded with (?:a )?context length"
        r"|\bexceed\w*.{0,60}?\b(?:token limit|max(?:imum)? (?:\w+ )?(?:of )?(?:\w+ )?"
        r"(?:tokens|length)\b(?! per))"
        r"|\b(?:prompt|input|request)s? (?:has|have|of|contains?|with) [\d,]+ "
        r"(?:\w+ )?tokens\b.{0,80}?\b(?:context|window|limit|maximum|holds)\b"
        r"|range of input length should be|\binput token (?:length|count)\b"
        r"|prompt ?\u8d85\u957f"
        r"|\u8d85\u8fc7.{0,20}(?:\u957f\u5ea6|\u4e0a\u4e0b\u6587)|\u4e0a\u4e0b\u6587.{0,20}\u8d85",
        (0, 200, 400, 413, 422, *_SERVER),
    ),
    Rule(
        "overloaded",
        errors.Overloaded,
        r"engine_overloaded(?:_error)?|overloaded(?:_error)?|server_overloaded"
        r"|server_is_overloaded|model_overloaded|no_capacity|capacity_exceeded"
        r"|service_unavailable(?:_error)?|provider_unavailable|serviceunavailable\w*",
        r"\boverloaded\b|\bat capacity\b|\bno capacity\b|\bover capacity\b"
        r"|\binsufficient capacity\b|\b(?:server|service|model|engine|system) is "
        r"(?:currently |too |very )?busy|high demand",
        (*_NO_STATUS, 429, 498, *_SERVER),
    ),
    Rule(
        "rate limit",
        errors.RateLimited,
        r"rate_?limit\w*|too_many_requests|requests|tokens|dynamic_(?:request|token)"
        r"_limited|throttl\w+|resource_exhausted|toomanyrequests\w*",
        r"\btoo many tokens, please wait"
        r"|\brate[ _-]?limit|\btoo many requests\b|\brequest limit reached\b|\bqps\b"
        r"|\brpm\b|\btpm\b|\brequests per (?:second|minute|day)\b",
        (*_NO_STATUS, 429, 449, 503, 529),
    ),
    Rule(  # AWS refuses so with status 400
        "throttled",
        errors.RateLimited,
        r"throttl\w+|toomanyrequests\w*|too_many_requests",
        r"\bthrottlingexception\b|\btoo many (?:tokens|requests), please wait",
        (400,),
    ),
    Rule(
        "model not open to this account",
        errors.ModelNotFound,
        r"modelnotopen|accessdenied\.unpurchased|model\.accessdenied"
        r"|model_permission_blocked\w*|\w+_model_access_denied",
        r"\bnot activated the model\b|\bmodel access (?:is )?denied"
        r"|\bmodel (?:is )?disabled\b|\b(?:(?:(?:do|does) ?n[o'\u2019]t have"
        r"|(?:has|have) no|without|no) (?:access|permissions?) (?:to|for)"
        rf"|not (?:allowed to|authori[sz]ed (?:to|for))) {_THE_MODEL}"
        rf"|\baccess to {_THE_MODEL}.{{0,200}}?\b(?:denied|restricted|forbidden)\b"
        r"|\u6a21\u578b.{0,10}\u672a\u5f00\u901a"
        r"|(?:\u6ca1\u6709|\u65e0)\u6743.{0,20}\u6a21\u578b",
        (*_REQUEST, 401),
        _OPEN_IT,
    ),
    Rule(  # DashScope says no more; elsewhere, as at Azure, a reason follows
        "access denied",
        errors.ModelNotFound,
        "",
        r"\Aaccess denied\W*\Z",
        (403,),
        _OPEN_IT,
    ),
    Rule(
        "model",
        errors.ModelNotFound,
        r"model_not_(?:found|available|supported|exist\w*)|model_?decommissioned"
        r"|unknown_model|invalid_model(?:_id|_name)?|deploymentnotfound|modelnotfound\w*"
        r"|model_does_not_exist|unsupported_model",
        rf"(?<![\w/-])models?\b(?!/).{{0,80}}?{_MODEL_GONE}"
        r"|\bnot found the model|\bno such model"
        r"|\b(?:unknown|invalid|unsupported) model\b|\bis not a (?:valid|known) model\b"
        r"|\bno (?:allowed )?(?:endpoints|providers) (?:found|available) for\b"
        r"|\bnot a valid model\b"
        r"|\u6a21\u578b.{0,20}\u4e0d\u5b58\u5728",
        (*_REQUEST, 503),
    ),
    Rule(
        "place",
        errors.StatusError,
        r"unsupported_country_region_territory",
        r"\bcountry, region,? or territory not supported"
        r"|\blocation is not supported\b"
        r"|\bnot (?:available|supported) in your (?:country|region|location)\b",
        (0, 200, 400, 403, 451),
        "The host does not serve the place that you ask from, whatever the key: use "
        "another host, or a network elsewhere (HTTPS_PROXY).",
    ),
    Rule(
        "key",
        errors.AuthenticationFailed,
        r"invalid_authentication\w*|incorrect_api_key\w*|invalid_api_key\w*"
        r"|authentication_?error|unauthorized|unauthenticated|invalid_token",
        r"\b(?:invalid|incorrect|expired|missing|wrong|no) (?:\w+ )?"
        r"(?:api[ -]?key|access token|credentials|authentication)\b"
        r"|\bapi[ -]?key .{0,40}?\b(?:invalid|expired|not valid|incorrect|revoked)\b",
        (0, 200, 400, 401, 403),
    ),
    Rule(
        "a call that fits no tool",
        errors.BadRequest,
        r"tool_use_failed",
        "",
        remedy="The model wrote a call that fits no tool; ask again.",
    ),
)
_STATUSES: dict[type[errors.StatusError], tuple[int, ...]] = {
    errors.AuthenticationFailed: (401, 403),
    errors.NoBalance: (402,),
    errors.RateLimited: (429, 449),
    errors.BadRequest: (400, 413, 422),
    errors.EndpointNotServed: (501,),
    errors.Overloaded: tuple(s for s in _SERVER if s != 501),
}
_QUOTED = re.compile(
    r"models?:?\s{1,4}[`'\"\u201c]([^`'\"\u201d]{1,200})[`'\"\u201d]", re.I
)


def matching(
    status: int, report: Report, model: str
) -> tuple[type[errors.StatusError], str, str]:
    """Return the error that a report stands for, what shows it, and its own remedy.

    Args:
        status: The HTTP status, or the one named inside the answer, 0 if none is.
        report: What the body says.
        model: The model that was asked for.
    """
    words, kinds = report.message[:WORDS_LIMIT], report.kind.split()
    for rule in RULES:
        if rule.statuses and status not in rule.statuses:
            continue
        if any(_pattern(rule.kinds).fullmatch(kind) for kind in kinds):
            return rule.error, f"the type or code of {rule.name!r}", rule.remedy
    # A page of a proxy may use any word; a status is all that it says for certain.
    for rule in RULES if not (report.page and status in (403, 404)) else ():
        if (rule.statuses and status not in rule.statuses) or not rule.phrases:
            continue
        if rule.error is errors.ModelNotFound and _of_another(words, model):
            continue
        if found := _pattern(rule.phrases).search(words):
            shown = f"the words of {rule.name!r}: {found[0]!r}"
            return rule.error, shown, rule.remedy
    if status == 403 and report.page:
        return errors.StatusError, "status 403 with a page: a proxy, not the host", ""
    for kind, statuses in _STATUSES.items():
        if status in statuses:
            return kind, f"status {status}", ""
    return errors.StatusError, "no rule", ""


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.I)


def _of_another(words: str, model: str) -> bool:
    """Say whether the words name a model, and another one than was asked for."""
    named = _QUOTED.search(words)
    one, other = (named[1] if named else "").lower().strip(), model.lower()
    if min(len(one), len(other)) < 4:  # too short to be told from an alias
        return False
    return one not in other and other.rpartition("/")[2] not in one
