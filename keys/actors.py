"""Who changes something of an account, and from where: what the log of changes keeps of it."""

from dataclasses import dataclass

from keys.models import KeyChange

Kind = KeyChange.Actor


@dataclass(frozen=True, slots=True)
class Actor:
    """In the dashboard and as support a user, in a session of theirs; by the management API an admin key."""

    kind: Kind
    user_id: int | None = None
    admin_key_id: int | None = None
    session: str = ""
    address: str | None = None


OPERATOR = Actor(Kind.OPERATOR)  # from a shell
