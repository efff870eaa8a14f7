"""What a start finds after a crash, and how it goes on from there.

A staged answer is the end of its job: if it is whole, it is published, whether the job has left active/ already or not.
Everything else that is staged is worthless, because whatever it was made from is still there. A job in active/ that has
an answer, or a newer version in deferred/, is removed; all others go back to work.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections import defaultdict
from typing import Any

from inboxd.daemon import children, names
from inboxd.daemon.names import Claim
from inboxd.daemon.settlement import (
    ANSWER,
    BODY,
    DEFERRED,
    FAILED,
    LARGEST,
    LINES,
    SINGLE,
    SUMMARY,
    publish,
    publish_batch,
    trace_of,
    with_trace,
)
from inboxd.daemon.spool import Spool, Unfit
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import instant, parse
from inboxd.jobs.tree import has_followers

log = logging.getLogger("inboxd.recovery")

# How an answer of ours begins; what a server said comes later in it and cannot be taken for this.
_STRING = rb'"(?:[^"\\]|\\.)*"'
_CLAIM_OF_ANSWER = re.compile(rb'\{"id":' + _STRING + rb',"name":' + _STRING + rb',"claim":"([0-9a-f-]{36})"')
# The longest first, for .json is the end of .summary.json too.
SUFFIXES = (SUMMARY, DEFERRED, LINES + FAILED, SINGLE + FAILED, BODY, ANSWER)


def recover(spool: Spool) -> list[Claim]:
    """Bring the spool to a state that the daemon can go on from; gives the jobs in active/ that go back to work."""
    claims = {claim.token: claim for claim in _without_twins(spool)}
    published = _publish_answers(spool, claims) + _publish_batches(spool, claims)
    swept = _sweep(spool)
    back = [claim for claim in claims.values() if not _is_over(spool, claim)]
    if published or swept or back:
        fields = {"published": published, "swept": swept, "back_to_work": len(back)}
        log.warning("recovered after a crash", extra={"fields": fields})
    return back


def _without_twins(spool: Spool) -> list[Claim]:
    """Give the claims in active/; of an array that was just brought to a batch, only the batch."""
    claims = list(spool.claims())
    batches = {claim.token for claim in claims if claim.kind == ".jsonl"}
    for claim in claims:
        if claim.kind == ".json" and claim.token in batches:
            spool.remove(claim)
    return [claim for claim in claims if claim.kind == ".jsonl" or claim.token not in batches]


def _publish_answers(spool: Spool, claims: dict[str, Claim]) -> int:
    """Publish all single answers that are staged whole, and take their jobs out of active/ and out of `claims`."""
    count = 0
    born = children.left_behind(spool)
    for token, suffixes in _staged(spool).items():
        answer = _whole(spool.staging(token, ANSWER)) if ANSWER in suffixes else None
        if answer is None or (BODY in suffixes and token in claims and not _has_body(spool, token, answer)):
            continue
        claim = claims.pop(token, None)
        ok = answer["status"] == "done"
        renamed = answer["status"] != "rejected"
        if claim is not None:
            renamed, born[token] = _let_go(spool, claim, answer, suffixes)
        kind = LINES if LINES + FAILED in suffixes else SINGLE
        gone = claim or Claim(answer["name"], token, kind)
        children.publish(spool, gone.name, born.get(token, ()))
        publish(
            spool, gone, spool.attachments_of(token), answer.get("response", {}).get("file"), ok=ok, renamed=renamed
        )
        count += 1
    return count


def _let_go(spool: Spool, claim: Claim, answer: dict[str, Any], suffixes: set[str]) -> tuple[bool, list[str]]:
    """Do what the outbox was about to do when it was cut off between staging an answer and removing its job.

    Gives whether the copy for failed/ asks for its attachments by their names there, and the staged children.
    """
    born = _born_again(spool, claim, answer)
    paths = [spool.staging(claim.token, suffix) for suffix in (ANSWER, BODY) if suffix in suffixes]
    copy = None
    if answer["status"] not in {"done", "rejected"}:
        # The staged copy may be torn where the answer is not; it is made again.
        trace = trace_of(answer["id"], instant(answer["received"]), 0, answer["attempts"])
        copy = with_trace(spool, claim, trace, failed=True)
    if copy is not None:
        paths.append(spool.stage(claim, claim.kind + FAILED, copy))
    spool.disk.sync([*paths, *(os.path.join(spool.staged, filename) for filename in born)], spool.staged)
    if copy is not None or answer["status"] == "done":
        spool.remove(claim)
    else:
        spool.set_aside(claim, claim.kind + FAILED)
    return copy is not None, born


def _born_again(spool: Spool, claim: Claim, answer: dict[str, Any]) -> list[str]:
    """Stage the children of a job once more: they may be torn where its answer is not."""
    try:
        job = parse(spool.read(claim, LARGEST)[1])
    except (OSError, Unfit, Invalid):
        return []
    return children.stage(spool, claim, job, answer) if has_followers(job) else []


def _publish_batches(spool: Spool, claims: dict[str, Claim]) -> int:
    """Publish the answers of batches that have left active/ already."""
    count = 0
    for claim in spool.parts():
        if claim.token not in claims and not spool.is_deferred(claim) and _is_summed_up(spool, claim):
            publish_batch(spool, claim)
            count += 1
    return count


def _is_summed_up(spool: Spool, claim: Claim) -> bool:
    """Tell whether a batch had come to its end; if not, somebody has put it aside and its answers are kept for then."""
    if os.path.lexists(spool.staging(claim.token, SUMMARY)):
        return True
    return any(f'"id": "{claim.token}"'.encode() in summary for summary in spool.answers(claim.name, batch=True))


def _staged(spool: Spool) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for filename in os.listdir(spool.staged):
        suffix = next((suffix for suffix in SUFFIXES if filename.endswith(suffix)), None)
        if suffix is not None:
            found[filename.removesuffix(suffix)].add(suffix)
    return found


def _whole(path: str) -> dict[str, Any] | None:
    """Read a staged answer; None when it is torn."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        answer = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and data.endswith(b"\n") else None


def _has_body(spool: Spool, token: str, answer: dict[str, Any]) -> bool:
    """Tell whether the staged body is the one that the answer speaks of; a power cut may have torn it alone."""
    response = answer.get("response", {})
    if "file" not in response:
        return True
    with open(spool.staging(token, BODY), "rb") as body:
        return bool(hashlib.file_digest(body, "sha256").hexdigest() == response["sha256"])


def _sweep(spool: Spool) -> int:
    leftovers = os.listdir(spool.staged)
    for filename in leftovers:
        spool.disk.unlink(os.path.join(spool.staged, filename))
    return len(leftovers)


def _is_over(spool: Spool, claim: Claim) -> bool:
    """Tell whether a job in active/ lives on elsewhere, and if so remove it here.

    In the outbox its answer may stand already where a power cut has undone the removal but not the answer.
    """
    if spool.is_deferred(claim) or (claim.kind == ".json" and _is_answered(spool, claim)):
        spool.remove(claim)
        return True
    return False


def _is_answered(spool: Spool, claim: Claim) -> bool:
    for stem in names.stems(claim.name):
        try:
            with open(os.path.join(spool.outbox, stem + ANSWER), "rb") as file:
                head = file.read(4096)
        except OSError:
            return False
        found = _CLAIM_OF_ANSWER.match(head)
        if found is not None and found[1] == claim.token.encode():
            return True
    return False
