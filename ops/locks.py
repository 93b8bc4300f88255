"""List order locks in Redis, and release the claims of a deployment that will not come back.

millrace locks list                        count the locks by application and incarnation
millrace locks show ORDER_ID               show the lock of one order
millrace locks release --app APP           let other deployments emit the orders APP claimed but did not emit
millrace locks release --order ORDER_ID    let other deployments emit this order

A release never touches a lock marked as emitted. A worker that died after it emitted an order leaves an unmarked claim:
a release therefore first fences the application, reads order_final, and marks the orders it finds there.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaException

from agents.guard import locks
from config.errors import UsageError
from config.json_output import add_json_option, print_json
from config.settings import KafkaSettings, OrdersSettings, RedisSettings
from ops.claims import emitted_among, fence
from ops.consumer_groups import described_groups
from ops.context import add_stack_option, settings_environment
from ops.lock_table import Group, duration, format_groups, group_members
from stack.errors import StackError
from streams.adapters.redis import RedisAwayError, RedisConsole
from streams.topics import ORDER_FINAL

_GONE = -2  # time to live that Redis reports for a key that does not exist
_UNREADABLE = locks.Lock("unreadable", "", "")
_encode = msgspec.msgpack.Encoder().encode


class Claimed(NamedTuple):
    """A claimed order, the id of the application that claimed it, and the token of the claim."""

    order_id: str
    app_id: str
    token: str


def add_commands(subparsers: Any) -> None:
    """Add `locks list`, `locks show` and `locks release`."""
    parser = subparsers.add_parser("locks", help="list, show and release order locks")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    list_ = _add(actions, "list", run_list, "count the locks by application and incarnation")
    add_json_option(
        list_,
        locks="objects with `app` (null for locks without an owner), `incarnation`, the numbers of locks `claimed`, "
        "`emitted` and `other`, and the times to live `shortest_s` and `longest_s` (null for locks that never expire)",
    )
    show = _add(actions, "show", run_show, "show the lock of one order; exit code 1 if it has no lock")
    add_json_option(
        show,
        order_id="the order",
        state="claimed, emitted, released or unreadable; null if the order has no lock",
        app="id of the application that has the lock, or null",
        incarnation="the application's incarnation, or null",
        expires_in_s="time to live; null if the lock never expires",
    )
    show.add_argument("order_id", metavar="ORDER_ID")
    release = _add(
        actions, "release", run_release, "let other deployments emit orders that were claimed but not emitted"
    )
    whose = release.add_mutually_exclusive_group(required=True)
    whose.add_argument("--app", type=_app_id, help="release all claims of this application")
    whose.add_argument("--order", metavar="ORDER_ID", help="release the claim on one order")
    release.add_argument("--incarnation", type=_incarnation, metavar="HEX", help="limit --app to this incarnation")
    release.add_argument("--dry-run", action="store_true", help="only report the number of claims")
    release.add_argument(
        "--force",
        action="store_true",
        help="release even if workers of the application are running, or if the order has no lock",
    )


def run_list(arguments: argparse.Namespace) -> int:
    """Print the number of locks by application and incarnation."""
    groups: dict[tuple[str, str], Group] = {}
    with _redis(arguments) as redis:
        for page in _pages(redis):
            for lock, seconds in _read(redis, page):
                owner = (lock.app_id, lock.incarnation) if lock.app_id else (f"({lock.state})", "")
                groups.setdefault(owner, Group()).add(lock.state, seconds)
    if arguments.json:
        return print_json(arguments, locks=group_members(groups))
    print(format_groups(groups) if groups else "no locks")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print the lock of one order; return 1 if it has no lock."""
    with _redis(arguments) as redis:
        found = _read(redis, [locks.lock_key(arguments.order_id)])
    if arguments.json:
        lock, seconds = found[0] if found else (None, -1)
        return print_json(
            arguments,
            exit_code=0 if found else 1,
            order_id=arguments.order_id,
            state=lock.state if lock else None,
            app=lock.app_id or None if lock else None,
            incarnation=lock.incarnation or None if lock else None,
            expires_in_s=seconds if seconds >= 0 else None,
        )
    if not found:
        print(f"order {arguments.order_id!r} has no lock")
        return 1
    [(lock, seconds)] = found
    by = f" by {lock.app_id}, incarnation {lock.incarnation}" if lock.app_id else ""
    print(f"order {arguments.order_id!r}: {lock.state}{by}; time to live: {duration(seconds)}")
    return 0


def run_release(arguments: argparse.Namespace) -> int:
    """Release the claims of an application or of one order; mark claims on emitted orders as emitted instead."""
    if arguments.incarnation and not arguments.app:
        raise UsageError("--incarnation can be used only with --app")
    with _redis(arguments) as redis:
        if arguments.order is not None and arguments.force and not _read(redis, [locks.lock_key(arguments.order)]):
            return _release_without_lock(redis, arguments)
        claims = _claims_on(redis, arguments.order) if arguments.order is not None else _claims_of(redis, arguments)
        if claims:
            _require_no_workers(arguments, claims[0].app_id)
        released, marked = _release_or_mark(redis, claims, arguments)
    would = "would be " if arguments.dry_run else ""
    print(f"{released} {'claim' if released == 1 else 'claims'} {would}released")
    if marked:
        print(f"claims {would}marked as emitted, because the order is in {ORDER_FINAL}: {marked}")
    return 0


def _release_without_lock(redis: RedisConsole, arguments: argparse.Namespace) -> int:
    """Let any deployment emit an order that no longer has a lock, but that workers are still holding back."""
    environment = settings_environment(arguments)
    if emitted_among(KafkaSettings.read(environment), [arguments.order]):
        raise StackError(f"order {arguments.order!r} is in {ORDER_FINAL}, so it was not released")
    if arguments.dry_run:
        print(f"order {arguments.order!r} has no lock; without --dry-run, any deployment would be allowed to emit it")
        return 0
    blob = _encode((OrdersSettings.read(environment).lock_retention_s, locks.lock_key(arguments.order)))
    if not redis.call(locks.FREE, blob):
        raise StackError(f"order {arguments.order!r} has just been claimed, so it was not released")
    print(f"order {arguments.order!r} had no lock; any deployment may now emit it")
    return 0


def _claims_on(redis: RedisConsole, order_id: str) -> list[Claimed]:
    found = _read(redis, [locks.lock_key(order_id)])
    if not found or found[0][0].state != "claimed":
        what = f"is {found[0][0].state}" if found else "has no lock"
        hint = "" if found else "; if workers hold the order back because Redis lost its lock, use --force"
        raise StackError(f"order {order_id!r} {what}: there is no claim to release{hint}")
    lock = found[0][0]
    return [Claimed(order_id, lock.app_id, locks.token_of(lock.app_id, lock.incarnation))]


def _claims_of(redis: RedisConsole, arguments: argparse.Namespace) -> list[Claimed]:
    claims = []
    for page in _pages(redis):
        values = redis.call(locks.READ, _encode(page))[::2]
        for key, value in zip(page, values, strict=True):
            lock = locks.parse_lock(value)
            if lock is None or (lock.state, lock.app_id) != ("claimed", arguments.app):
                continue
            if arguments.incarnation in (None, lock.incarnation):
                token = locks.token_of(lock.app_id, lock.incarnation)
                claims.append(Claimed(locks.order_id_of(key), lock.app_id, token))
    return claims


def _release_or_mark(redis: RedisConsole, claims: Sequence[Claimed], arguments: argparse.Namespace) -> tuple[int, int]:
    """Release each claim, or mark it if its order is in order_final; return the numbers released and marked."""
    if not claims:
        return 0, 0
    environment = settings_environment(arguments)
    kafka, retention_s = KafkaSettings.read(environment), OrdersSettings.read(environment).lock_retention_s
    if not arguments.dry_run:
        fence(kafka, claims[0].app_id)
    out = emitted_among(kafka, [claim.order_id for claim in claims])
    by_token: dict[str, list[str]] = defaultdict(list)
    for claim in claims:
        if claim.order_id in out:
            by_token[claim.token].append(claim.order_id)
    if arguments.dry_run:
        return len(claims) - len(out), len(out)
    for token, order_ids in by_token.items():
        for begin in range(0, len(order_ids), locks.MOST_PER_CALL):
            marks = [(token, order_ids[begin : begin + locks.MOST_PER_CALL])]
            redis.call(locks.MARK, _encode((retention_s, marks)))
    released = 0
    for token in {claim.token for claim in claims}:
        keys = [locks.lock_key(c.order_id) for c in claims if c.token == token and c.order_id not in out]
        for begin in range(0, len(keys), locks.MOST_PER_CALL):
            blob = _encode((token, retention_s, keys[begin : begin + locks.MOST_PER_CALL]))
            released += int(redis.call(locks.RELEASE, blob))
    return released, len(out)


def _require_no_workers(arguments: argparse.Namespace, app_id: str) -> None:
    """Raise `StackError` if workers of the application run, because they may be about to emit orders they claimed."""
    if arguments.force or arguments.dry_run:
        return
    kafka = KafkaSettings.read(settings_environment(arguments))
    try:
        members = described_groups(kafka.bootstrap, [app_id])[app_id].members
    except KafkaException as error:
        raise StackError(
            f"can't check whether workers of {app_id} are running: {error.args[0].str() or error.args[0].name()}. "
            f"Is Kafka at {kafka.bootstrap} running and reachable? To release without this check, use --force"
        ) from None
    if members:
        raise StackError(
            f"workers of {app_id} are still running ({members}): orders that they have claimed could be emitted twice. "
            "Stop them first, or use --force"
        )


def _pages(redis: RedisConsole) -> Iterator[list[str]]:
    for page in redis.scan(locks.ALL_KEYS):
        yield [key.decode(errors="replace") for key in page]


def _read(redis: RedisConsole, keys: list[str]) -> list[tuple[locks.Lock, int]]:
    """Read the locks at the given keys, each with its time to live in seconds; skip keys that do not exist."""
    answers: list[Any] = redis.call(locks.READ, _encode(keys))
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [(locks.parse_lock(value) or _UNREADABLE, seconds) for value, seconds in pairs if seconds != _GONE]


def _add(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    add_stack_option(parser)
    parser.set_defaults(run=lambda arguments: _guarded(run, arguments))
    return parser


def _guarded(run: Any, arguments: argparse.Namespace) -> int:
    try:
        return int(run(arguments))
    except RedisAwayError as error:
        raise StackError(f"{error}; is Redis running and reachable?") from None


def _redis(arguments: argparse.Namespace) -> RedisConsole:
    return RedisConsole(RedisSettings.read(settings_environment(arguments)).url, database=locks.DATABASE)


def _app_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError(f"invalid application id {text!r}: use only letters, digits, '.', '_' and '-'")
    return text


def _incarnation(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError(
            f"invalid incarnation {text!r}: use the 32 hexadecimal digits that `locks list` shows"
        )
    return text
