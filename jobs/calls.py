"""From a named call to a plain job: the one place where `{"call": "shop.close_order", "with": {…}}` gets its request.

Its one rule: what comes out was checked like any job that was written by hand, after it was filled. A job that cannot
be made is `Invalid`, and says which argument, and the nearest name there is.
"""

from __future__ import annotations

from collections.abc import Collection

from inboxd.jobs.api import Api, Apis
from inboxd.jobs.definition import NamedCall
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import Job, parse_object
from inboxd.jobs.slips import nearest
from inboxd.jobs.template import TemplateError


def placed(job: Job, apis: Apis) -> tuple[Job, Api]:
    """Give the plain job, and the API that it belongs to: the one it names, or the one its URL belongs to."""
    if job.call is None:
        return job, apis.of(job.url)
    # By name, for a call may lie within the base_url of another API.
    return plain(job, apis), find(job.call, apis)[0]


def plain(job: Job, apis: Apis) -> Job:
    """Give the job that makes the call which `job` names; any other job is given back as it is. Raises `Invalid`.

    It keeps the name of the call and all that is not about the request. What the job leaves open of attempts,
    timeout, ok, cache and select comes from the definition.
    """
    if job.call is None or job.url:
        return job
    api, definition = find(job.call, apis)
    try:
        request = parse_object(definition.request(api.base_url, job.arguments or {}))
    except TemplateError as error:
        raise Invalid(f"{job.call}: {error}") from None
    except Invalid as fault:
        raise Invalid(f"{job.call}, filled with its arguments: {fault.message}") from None
    policy = {key: value for key, value in definition.policy.items() if getattr(job, key) is None}
    made = job.model_copy(update=policy | {name: getattr(request, name) for name in request.model_fields_set})
    # The copy brought along what was found out about a job without a body.
    made.__dict__.pop("_bodies", None)
    return made


def find(name: str, apis: Apis) -> tuple[Api, NamedCall]:
    """Give the API and the definition of the call `API.CALL`; raises `Invalid` with the nearest name."""
    owner, dot, call = name.rpartition(".")
    api = apis.named.get(owner)
    if not dot or api is None:
        known = [f"{api.name}.{one}" for api in apis.named.values() for one in api.calls]
        raise Invalid(f'call: there is no call "{name}"{nearest(name, known) or "; the config defines none"}')
    definition = api.calls.get(call)
    if definition is None:
        raise Invalid(f'call: [api.{owner}] has no call "{call}"{nearest(call, api.calls)}')
    return api, definition


def check(name: str, arguments: Collection[str], apis: Apis) -> None:
    """Raise `Invalid` when there is no such call, or its arguments have other names; for values not yet known."""
    try:
        find(name, apis)[1].check(arguments)
    except TemplateError as error:
        raise Invalid(f"{name}: {error.under('with')}") from None
