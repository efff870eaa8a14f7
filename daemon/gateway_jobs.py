"""Jobs over HTTP: `POST /jobs`, `GET` and `DELETE /jobs/ID`, `GET /answers/NAME` and its body.

A job is checked before it is accepted, so that whoever sent it hears at once what is wrong with it. A 202 means that it
is on the disk; a 429 or 503 that it is not, and when to try again.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import secrets
import uuid
from collections import defaultdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from inboxd.daemon import names
from inboxd.daemon.desk import Desk, Refused
from inboxd.daemon.gateway_http import (
    BOM,
    Table,
    chunks,
    header,
    is_json,
    json_response,
    media_type,
    preferred_wait,
    read,
    until_gone,
)
from inboxd.daemon.lines import is_array, of_array
from inboxd.daemon.postbox import Key, Letter, number_lines
from inboxd.daemon.spool import Spool
from inboxd.jobs.api import Api
from inboxd.jobs.client import ApiClient
from inboxd.jobs.faults import Invalid
from inboxd.jobs.ids import uuid7
from inboxd.jobs.job import Job, load, parse_object

LINES = frozenset({"application/x-ndjson", "application/jsonl", "application/jsonlines"})
# Of larger bodies the reading alone would hold up the loop.
SMALL = 64 * 1024
# Told of a list, beyond which nobody reads on.
MISTAKES = 20
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class Jobs:
    """The routes. Bounds are in bytes."""

    def __init__(self, desk: Desk, spool: Spool, client: ApiClient, *, max_job: int, max_request: int) -> None:
        self._desk = desk
        self._spool = spool
        self._client = client
        self._max_job = max_job
        self._max_request = max_request
        self.table: Table = {
            "/jobs": {"POST": self.post},
            "/jobs/{id}": {"GET": self.get, "DELETE": self.delete},
            "/answers/{name}": {"GET": self.answer},
            "/answers/{name}/body": {"GET": self.body},
        }

    # -- for other dialects -------------------------------------------------------------------------------------

    def check(self, job: dict[str, Any], field: str) -> None:
        """Raise Refused when this is no job, and say that it is because of `field`."""
        try:
            self._placed(orjson.dumps(job))
        except Invalid as fault:
            raise Refused(400, f"{field}: {fault}", field=field) from None

    async def post_one(self, job: dict[str, Any]) -> str:
        """Accept a job that was made here; gives its id. Raises Refused and Invalid."""
        letter = self._letter(orjson.dumps(job), None)
        await self._desk.post([letter])
        return letter.id

    def key_of(self, name: str) -> str | None:
        """Say by which key a job asks for the call or the handler of that name; None when there is none."""
        return self._client.key_of(name)

    # -- POST /jobs -------------------------------------------------------------------------------------------

    async def post(self, request: Request) -> Response:
        """Accept one job, a list of jobs, lines of jobs, or a binary body for a named call."""
        self._desk.check_room()
        key = _key(request)
        if request.scope["query_string"] and "call" in request.query_params:
            letter = await self._upload(request, key)
            try:
                return await self._reply(request, letter)
            finally:
                # What was known, or is refused, is not dropped.
                self._spool.discard_written([path for _, path in filter(None, [letter.attachment])])
        kind = media_type(request)
        if kind in LINES:
            return await self._lines(request, key)
        if not is_json(kind):
            raise Refused(415, f"{kind or 'a body of no type'}: expected application/json, or ?call=NAME with any body")
        body = (await read(request, self._max_request)).removeprefix(BOM)
        if is_array(body):
            letters = await asyncio.to_thread(self._list, body, key)
            await self._desk.post(letters)
            return json_response({"ids": [letter.id for letter in letters]}, 202)
        if len(body) > self._max_job:
            raise Refused(413, f"a job has at most {self._max_job} bytes")
        letter = self._letter(body, key) if len(body) < SMALL else await asyncio.to_thread(self._letter, body, key)
        return await self._reply(request, letter)

    def new(self, body: bytes) -> Letter | None:
        """Make a letter of a body that is one small job without an id; None for any other. Raises Invalid."""
        body = body.removeprefix(BOM)
        if is_array(body) or len(body) > self._max_job or len(body) >= SMALL:
            return None
        letter = self._letter(body, None)
        return None if letter.place else letter

    async def _reply(self, request: Request, letter: Letter) -> Response:
        """Accept one job, and wait for its answer as the client prefers."""
        await self._desk.post([letter])
        headers = {"location": f"/jobs/{letter.id}"} | ({"idempotent-replayed": "true"} if letter.known else {})
        wait = preferred_wait(request)
        if wait:
            headers["preference-applied"] = f"wait={wait:.0f}"
            found = await until_gone(request, self._desk.find(letter.id, wait))
            if found is not None and found.answer is not None:
                return json_response(found.to_json(), 200, headers)
        return json_response({"id": letter.id}, 202, headers)

    def _letter(self, body: bytes, key: str | None) -> Letter:
        """Make a letter of one job; raises Invalid."""
        job, api = self._placed(body)
        if job.id is not None and key not in {None, job.id}:
            raise Invalid("the job has an id, and the request another Idempotency-Key; expected one of them")
        identifier = job.id or key
        # One that may have to wait by itself shares no file.
        lane = None if job.delay or job.not_before else api.name
        letter = Letter(_one_line(body), lane, has_id=job.id is not None)
        if identifier is not None:
            letter.id, letter.place = identifier, names.of_posted(identifier)
            letter.keys = (Key(letter.place, hashlib.sha256(letter.line).hexdigest()),)
        return letter

    def _list(self, body: bytes, key: str | None) -> list[Letter]:
        """Make letters of a list; raises Invalid that tells of each element what is wrong with it."""
        letters, mistakes = [], []
        for number, element in enumerate(of_array(io.BytesIO(body), self._max_job), 1):
            try:
                letters.append(self._letter(element.rstrip(b"\n"), None))
            except Invalid as fault:
                mistakes.append(f"job {number}: {fault}")
                if len(mistakes) >= MISTAKES:
                    break
        if mistakes:
            raise Invalid("; ".join(mistakes))
        if key is not None:
            _place(letters, key)
            known_by = Key(names.of_posted(key), hashlib.sha256(body).hexdigest())
            for letter in letters:
                letter.keys = (*letter.keys, known_by)
        return letters

    def _placed(self, body: bytes, own: str | None = None) -> tuple[Job, Api]:
        """Read a job as strictly as a dropped one, and more: it may say neither its past nor what lies in the inbox.

        Gives it as the plain job that will be called, and its API; raises Invalid. `own` is the file that came with it.
        """
        job, api = self._client.place(parse_object(load(body)))
        if job.trace is not None:
            raise Invalid("trace: is written by the daemon only; leave it out")
        if any(name != own for name in job.attachments):
            raise Invalid("file: over HTTP a file comes as the body of POST /jobs?call=NAME")
        return job, api

    async def _upload(self, request: Request, key: str | None) -> Letter:
        """Stream a body into a file, and make the job that hands it to a named call as its argument `file`."""
        given = dict(request.query_params)
        identifier = key or uuid7()
        place = names.of_posted(identifier)
        # Nobody can name the attachment of somebody else's job, for nobody can guess its name.
        filename = f"{place}.{secrets.token_hex(8)}.body"
        name = given.pop("call")
        job: dict[str, Any] = {"id": identifier}
        if self._client.key_of(name) == "do":
            job |= {"do": name, "file": filename} | ({"with": given} if given else {})
        else:
            job |= {"call": name, "with": {**given, "file": filename}}
        line = orjson.dumps(job)
        self._placed(line, own=filename)
        path = self._spool.staging(filename, ".upload")
        try:
            digest = await self._stream(request, path)
        except BaseException:
            self._spool.discard_written([path])
            raise
        letter = Letter(line, has_id=True, attachment=(filename, path), id=identifier, place=place)
        if key is not None:
            asked = orjson.dumps([name, given, digest], option=orjson.OPT_SORT_KEYS)
            letter.keys = (Key(place, hashlib.sha256(asked).hexdigest()),)
        return letter

    async def _lines(self, request: Request, key: str | None) -> Response:
        """Stream lines of jobs into a file, which is a batch; they are checked as they are read from there."""
        token = key or uuid7()
        name = names.of_posted(token)
        # Two may be sending the same at a time.
        path = self._spool.staging(uuid7(), ".upload")
        try:
            digest = await self._stream(request, path)
            known = await self._desk.drop(name + ".jsonl", path, None if key is None else Key(name, digest))
        except BaseException:
            self._spool.discard_written([path])
            raise
        headers = {"location": f"/jobs/{token}"} | ({"idempotent-replayed": "true"} if known else {})
        return json_response({"id": token}, 202, headers)

    async def _stream(self, request: Request, path: str) -> str:
        """Write a body into a file; gives its digest."""
        digest = hashlib.sha256()
        with await self._desk.look(open, path, "wb") as file:
            async for chunk in chunks(request, self._max_request):
                self._desk.check_room()
                await self._desk.look(file.write, chunk)
                digest.update(chunk)
        return digest.hexdigest()

    # -- GET, DELETE ------------------------------------------------------------------------------------------

    async def get(self, request: Request) -> Response:
        """Say where a job is, what it waits for, or its answer."""
        identifier = request.path_params["id"]
        found = await until_gone(request, self._desk.find(identifier, preferred_wait(request)))
        if found is None:
            raise _unknown(identifier)
        return json_response(found.to_json())

    async def delete(self, request: Request) -> Response:
        """Take a job back that is not being called yet."""
        identifier = request.path_params["id"]
        taken = await self._desk.cancel(identifier)
        if taken is None:
            raise _unknown(identifier)
        if taken == "cancelled":
            return json_response({"id": identifier, "state": "cancelled"})
        why = "it has its answer already" if taken == "answered" else "it is being called, or about to be"
        raise Refused(409, f"{identifier[:100]} cannot be taken back: {why}")

    async def answer(self, request: Request) -> Response:
        """Give an answer as it lies in the outbox."""
        found = await self._desk.answer(request.path_params["name"])
        if found is None:
            raise _unknown(request.path_params["name"])
        return json_response(found)

    async def body(self, request: Request) -> Response:
        """Give the body that an answer names, as what it is: somebody else's bytes, which no browser is to run."""
        path = await self._desk.body(request.path_params["name"])
        if path is None:
            raise _unknown(request.path_params["name"])
        headers = {"content-security-policy": "default-src 'none'; sandbox"}
        name = os.path.basename(path)
        return FileResponse(path, headers=headers, media_type="application/octet-stream", filename=name)


def _unknown(what: str) -> Refused:
    return Refused(404, f'nothing is known of "{what[:100]}"')


def _key(request: Request) -> str | None:
    """Read the Idempotency-Key, which may stand in quotes (draft-ietf-httpapi-idempotency-key-header)."""
    key = header(request, "idempotency-key")
    if key is None:
        return None
    key = key.strip().removeprefix('"').removesuffix('"')
    if not _ID.fullmatch(key):
        raise Refused(400, "Idempotency-Key: expected 1 to 200 visible ASCII characters")
    return key


def _one_line(body: bytes) -> bytes:
    # Within strings JSON has no line breaks, so they are only white space.
    return body.strip(b" \t\r\n").translate(bytes.maketrans(b"\r\n", b"  "))


def _place(letters: list[Letter], key: str) -> None:
    """Give the jobs of a list places that follow from its key, so that the same list sent again is known."""
    lanes: defaultdict[str | None, list[Letter]] = defaultdict(list)
    for letter in letters:
        if not letter.place:
            lanes[letter.lane].append(letter)
    for lane, together in lanes.items():
        digest = hashlib.sha256(f"{key}\n{lane}".encode()).digest()
        number_lines(str(uuid.UUID(bytes=digest[:16])), together)
