"""What happens to a key: it is created, used, changed, replaced, revoked. Its secret leaves here once, never stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from keys import changes, revocations, signals
from keys.actors import OPERATOR, Actor
from keys.changes import Action, Changes, Subject
from keys.models import AdminKey, APIKey, KeyChange, Member, Project
from keys.reading import State, UnknownKey, get, working
from keys.rules import KeyRules
from keys.secret import digest, generate

MAX_ACTIVE_KEYS = 1_000  # a reseller has one for each customer
MAX_CREATED_A_DAY = 1_000
DAY = timedelta(days=1)
SESSION_LIFE = timedelta(hours=1)
SESSION_NAME = "Playground"

TOUCH = """
WITH used AS (
    SELECT * FROM unnest(%s::bigint[], %s::timestamptz[]) AS used (key_id, used_at)
), locked AS MATERIALIZED (
    SELECT id FROM keys_apikey WHERE id IN (SELECT key_id FROM used) ORDER BY id FOR NO KEY UPDATE
)
UPDATE keys_apikey k SET last_used_at = used.used_at
FROM used JOIN locked ON locked.id = used.key_id
WHERE k.id = used.key_id AND (k.last_used_at IS NULL OR k.last_used_at < used.used_at)
"""


class TooManyKeys(Exception):
    """The user already has the most active keys that are allowed."""


class TooManyToday(Exception):
    """The user has created the most keys per day that may be created, and may create the next one at `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until)
        self.until = until


class AlreadyCreated(Exception):
    """This form has already made its key, whose secret cannot be shown again."""


class UnknownProject(Exception):
    """The user has no such project, or it is closed."""


class KeyEnded(Exception):
    """The key is revoked, expired or replaced by another: there is nothing to change any more."""


class StillReplacing(Exception):
    """The key this one replaced still works; it has to end before this one can be replaced in turn."""


class NoNewKeys(Exception):
    """The user's number has just been changed by an admin, so that nothing gives out a secret before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until)
        self.until = until


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key at the only moment when its secret is known."""

    key_id: int
    secret: str = field(repr=False)
    last_four: str


def create(
    *,
    user_id: int,
    name: str,
    rules: KeyRules | None = None,
    creation_token: UUID | None = None,
    by: Actor = OPERATOR,
    also: Changes | None = None,
    project_id: int | None = None,
    created_by_id: int | None = None,
) -> CreatedKey:
    """Makes a key; opens a transaction. With a `creation_token`, at most one key per (user, token).

    In a project of the user's, made by them or by a member (`keys.projects` asks who else may what); each project may
    have as many keys as the user may have outside of all.

    `also`: what the log of changes is told besides, of what other apps keep about the key. Raises TooManyKeys,
    NoNewKeys, AlreadyCreated, TooManyToday (with a token), User.DoesNotExist; IntegrityError (`apikey_has_name`)
    without a name.
    """
    rules = rules or KeyRules()
    with transaction.atomic():
        keys = _lock_owner(user_id, creation_token, project_id).filter(project=project_id)
        if keys.filter(working(timezone.now()), replaced_by=None).count() >= MAX_ACTIVE_KEYS:
            raise TooManyKeys
        if project_id is not None and not _takes_keys(user_id, project_id, created_by_id):
            raise UnknownProject(project_id)
        key = APIKey(
            user_id=user_id,
            name=name.strip(),
            creation_token=creation_token,
            project_id=project_id,
            created_by_id=created_by_id,
        )
        created = _give_secret(key, rules)
        _log(key, Action.CREATED, by, {**changes.of_rules(KeyRules(), rules), **(also or {})})
        signals.created(key)
        return created


def rotate(
    *,
    user_id: int,
    key_id: int,
    grace: timedelta,
    creation_token: UUID | None = None,
    by: Actor = OPERATOR,
) -> CreatedKey:
    """A new key with the name and the rules of another one, which stops working after `grace`. Opens a transaction.

    What either of them spends counts towards the same budget. Raises UnknownKey, KeyEnded, StillReplacing (at
    most two keys of a line of replacements work at once), NoNewKeys, AlreadyCreated, TooManyToday (with a token).
    """
    now = timezone.now()
    with transaction.atomic():
        old = get(user_id=user_id, key_id=key_id, now=now)
        keys = _lock_owner(user_id, creation_token, old.project_id)
        old = get(user_id=user_id, key_id=key_id, now=now)
        if old.state is not State.WORKING:
            raise KeyEnded(key_id)
        if old.replaces and keys.filter(working(now), pk=old.replaces).exists():
            raise StillReplacing(key_id)
        ends_at, ended_at = old.rules.expires_at, None
        if grace:
            ends_at = min(now + grace, ends_at or now + grace)
        else:
            ended_at = now
        keys.filter(pk=key_id).update(expires_at=ends_at, revoked_at=ended_at)
        announce(keys.filter(pk=key_id))
        new = APIKey(
            user_id=user_id,
            name=old.name,
            replaces_id=key_id,
            creation_token=creation_token,
            project_id=old.project_id,
            created_by_id=old.created_by_id,
        )
        created = _give_secret(new, old.rules)
        ends = changes.of_rules(old.rules, replace(old.rules, expires_at=ends_at))
        replaced = {**ends, "replaced_by": (None, created.key_id)}
        replaced_key = keys.get(pk=key_id)
        _log(replaced_key, Action.ROTATED, by, replaced)
        if not grace:
            signals.revoked(replaced_key, replaced_by=created.key_id)
        rules = changes.of_rules(KeyRules(), old.rules)
        _log(new, Action.CREATED, by, {**rules, "replaces": (None, key_id)})
        signals.created(new)
        return created


def change(
    *,
    user_id: int,
    key_id: int,
    name: str,
    rules: KeyRules,
    by: Actor = OPERATOR,
    also: Changes | None = None,
) -> None:
    """Sets the name and the rules of a key, in force at once. Opens a transaction. Raises UnknownKey, KeyEnded.

    A key that it replaces, and that still works, counts towards the same budget from then on. `also` as in `create`.
    """
    name = name.strip()
    now = timezone.now()
    with transaction.atomic():
        keys = _lock_owner(user_id)
        key = get(user_id=user_id, key_id=key_id, now=now)
        if key.state is not State.WORKING:
            raise KeyEnded(key_id)
        keys.filter(pk=key_id).update(name=name, **_columns(rules))
        if key.replaces:
            keys.filter(pk=key.replaces).update(budget_id=rules.budget_id)
        announce(keys.filter(pk__in=[key_id, key.replaces or key_id]))
        renamed = {} if name == key.name else {"name": (key.name, name)}
        if changed := {**renamed, **changes.of_rules(key.rules, rules), **(also or {})}:
            _log(keys.get(pk=key_id), Action.CHANGED, by, changed)


def session_key(*, user_id: int) -> CreatedKey:
    """A key for the playground in the user's own browser, good for SESSION_LIFE. Opens a transaction.

    A user has one, which every call replaces: the secret of the call before stops working. It is not among the keys
    that the pages list, nor counted as one. Raises NoNewKeys, User.DoesNotExist.
    """
    now = timezone.now()
    with transaction.atomic():
        lock_owner(user_id=user_id)
        key = APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.SESSION).first()
        if key is None:
            key = APIKey(user_id=user_id, kind=APIKey.Kind.SESSION, name=SESSION_NAME)
        else:
            announce(APIKey.objects.filter(pk=key.pk))
        key.created_at, key.revoked_at = now, None
        return _give_secret(key, KeyRules(expires_at=now + SESSION_LIFE))


def end_session_key(*, user_id: int) -> None:
    """Ends the key of the playground, if it works; `session_key` gives another. Opens a transaction.

    settings.SESSIONS_ENDED names this. Raises User.DoesNotExist.
    """
    now = timezone.now()
    with transaction.atomic():
        lock_owner(user_id=user_id)
        session_keys = APIKey.objects.filter(working(now), user_id=user_id, kind=APIKey.Kind.SESSION)
        announce(session_keys)
        session_keys.update(revoked_at=now)


def revoke(*, user_id: int, key_id: int, by: Actor = OPERATOR) -> None:
    """Ends a key for good, in a transaction of its own, and tells the web processes after the commit.

    A repeat changes nothing. Raises UnknownKey.
    """
    with transaction.atomic():
        key = APIKey.objects.select_for_update(no_key=True).filter(pk=key_id, user_id=user_id).first()
        if key is None:
            raise UnknownKey(key_id)
        if key.revoked_at is None:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            if key.kind == APIKey.Kind.STANDARD:
                _log(key, Action.REVOKED, by)
                signals.revoked(key)
        announce(APIKey.objects.filter(pk=key_id))


def lock_owner(*, user_id: int) -> None:
    """Keeps others from making, replacing or changing the user's keys until the transaction ends, which it needs.

    What also locks other rows calls it first, or two of them could wait for each other. Raises User.DoesNotExist.
    """
    User.objects.select_for_update(no_key=True).get(pk=user_id)


def check_new_keys(*, user_id: int) -> None:
    """Raises NoNewKeys. Needs the lock of the keys' owner."""
    until = User.objects.values_list("no_new_keys_until", flat=True).get(pk=user_id)
    if until is not None and until > timezone.now():
        raise NoNewKeys(until)


def check_created_today(keys: QuerySet[Any], *, most: int) -> None:
    """Of keys of either kind. They are never deleted, so who creates and revokes in turn would fill the table.

    Raises TooManyToday. Needs the lock of the keys' owner.
    """
    counted = keys.order_by("-created_at").values_list("created_at", flat=True)[most - 1 : most].first()
    if counted is not None and counted + DAY > timezone.now():
        raise TooManyToday(counted + DAY)


def stamp(key: APIKey | AdminKey, secret: str) -> None:
    """What is kept of a key's secret."""
    version, pepper = next(iter(settings.PEPPERS.items()))
    key.digest, key.pepper_version, key.last_four = digest(secret, pepper), version, secret[-4:]


def touch(last_used: Mapping[int, datetime]) -> None:
    """Moves keys' last use forward to the given moments, never back. Unknown keys are ignored."""
    with connection.cursor() as cursor:
        cursor.execute(TOUCH, [list(last_used), list(last_used.values())])


def _takes_keys(user_id: int, project_id: int, maker_id: int | None) -> bool:
    """Whether the project is open and whoever makes the key still its owner (None) or a member."""
    projects = Project.objects.filter(pk=project_id, owner_id=user_id, closed_at=None)
    if maker_id is not None:
        projects = projects.filter(members__user_id=maker_id, members__role=Member.Role.MEMBER)
    return projects.exists()


def _lock_owner(
    user_id: int, creation_token: UUID | None = None, project_id: int | None = None
) -> QuerySet[APIKey]:
    """The user's keys, with their owner locked: two requests at once pass neither a limit nor a token.

    How many may be made per day is counted for each project by itself.

    Raises AlreadyCreated, TooManyToday, User.DoesNotExist.
    """
    lock_owner(user_id=user_id)
    keys = APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.STANDARD)
    if creation_token and keys.filter(creation_token=creation_token).exists():
        raise AlreadyCreated
    if creation_token:
        check_created_today(keys.filter(project=project_id), most=MAX_CREATED_A_DAY)
    return keys


def _give_secret(key: APIKey, rules: KeyRules) -> CreatedKey:
    """Needs the lock of the key's owner. Raises NoNewKeys."""
    check_new_keys(user_id=key.user_id)
    if key.created_by_id is not None:
        check_new_keys(user_id=key.created_by_id)
    secret = generate()
    stamp(key, secret)
    for column, value in _columns(rules).items():
        setattr(key, column, value)
    key.save()
    return CreatedKey(key_id=key.pk, secret=secret, last_four=key.last_four)


def _log(key: APIKey, action: KeyChange.Action, by: Actor, changed: Changes | None = None) -> None:
    changes.record(
        user_id=key.user_id,
        by=by,
        subject=Subject.KEY,
        subject_id=key.pk,
        name=key.name,
        last_four=key.last_four,
        action=action,
        changes=changed,
    )


def announce(keys: QuerySet[APIKey]) -> None:
    """Tells the web processes, after the commit, to look these keys up anew."""
    for stored in keys.values_list("digest", flat=True):
        transaction.on_commit(partial(revocations.announce, bytes(stored)))


def _columns(rules: KeyRules) -> dict[str, Any]:
    lists = {"allowed_models": list(rules.allowed_models), "allowed_networks": list(rules.allowed_networks)}
    return {**asdict(rules), **lists}
