"""Makes, rotates and revokes API keys, each with its line in the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from testops.access.audit import entry_of
from testops.access.ports import AccessStore, Ending
from testops.access.records import Holder, KeyRecord, ms_of
from testops.access.settings import ROTATION_OVERLAP_S
from testops.access.tokens import (
    OWN_TOKEN_LENGTH_MIN,
    TOKEN_LENGTH_MAX,
    Draw,
    Minted,
    mint_key,
    presented_key,
)
from testops.domain.access import Permission, Principal, Role, reaches
from testops.domain.errors import BadInput
from testops.telemetry.clock import Clock

LIFETIME_S_MAX = 10 * 366 * 24 * 3600
NAME_LENGTH_MAX = 100
ENVIRONMENT = "environment"


class UnknownKey(BadInput):
    """There is no key of that id, or none that its asker may see."""


class KeyEnded(BadInput):
    """The key is revoked, expired or has been rotated already; nothing was done."""


class TooWide(BadInput):
    """The key would reach further than whoever asks for it."""


@dataclass(frozen=True, slots=True)
class WantedKey:
    """What a new key is to be."""

    name: str
    role: Role
    workspaces: frozenset[str] | None = None
    lifetime_s: int | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; nobody can ask for its `token` again."""

    record: KeyRecord
    token: str = field(repr=False)


class Keys:
    """The API keys of a store."""

    def __init__(self, store: AccessStore, clock: Clock, draw: Draw) -> None:
        self._store = store
        self._clock = clock
        self._draw = draw

    def create(self, wanted: WantedKey, *, by: Principal, client: str = "") -> NewKey:
        """A new key, never wider in workspaces than `by`; every role is given by who may give."""
        _check(wanted, by)
        now_ms = self._now_ms()
        minted = mint_key(self._draw)
        record = _record(minted, wanted, by=by.name, now_ms=now_ms)
        entry = entry_of(
            by, "key.create", self._clock.now(),
            target=record.key_id, client=client, detail=_told(record),
        )  # fmt: skip
        if not self._store.add_key(record, entry):
            raise BadInput(f"there is a key {record.key_id} already", fix="try again")
        return NewKey(record, minted.token)

    def listed(self, *, by: Principal) -> Sequence[KeyRecord]:
        """The keys within the workspaces of `by`, oldest first."""
        return [
            one for one in self._store.all_keys() if reaches(by.workspaces, one.holder.workspaces)
        ]

    def rotate(
        self,
        key_id: str,
        *,
        by: Principal,
        overlap_s: int = ROTATION_OVERLAP_S,
        client: str = "",
    ) -> NewKey:
        """A successor with the same rights and lifetime; the old key works on for `overlap_s`.

        A key may rotate itself: that gives nobody anything new.
        """
        if by.id != key_id:
            _may_manage(by)
        if not 0 <= overlap_s <= LIFETIME_S_MAX:
            raise BadInput("the overlap must be between 0 and ten years", where="overlap")
        old = self._usable(key_id, by)
        now_ms = self._now_ms()
        lifetime = None if old.expires_ms is None else old.expires_ms - old.created_ms
        minted = mint_key(self._draw)
        new = replace(
            _record(minted, WantedKey(old.holder.name, old.holder.role), by=by.name, now_ms=now_ms),
            holder=old.holder,
            expires_ms=None if lifetime is None else now_ms + lifetime,
            replaces=key_id,
        )
        until_ms = min(now_ms + overlap_s * 1000, old.expires_ms or now_ms + overlap_s * 1000)
        entry = entry_of(
            by, "key.rotate", self._clock.now(),
            target=key_id, client=client, detail={"new": new.key_id, "overlap_s": overlap_s},
        )  # fmt: skip
        if not self._store.replace_key(key_id, old_until_ms=until_ms, by=new, entry=entry):
            raise KeyEnded(f"key {key_id} has been rotated or revoked", fix="create a new one")
        return NewKey(new, minted.token)

    def revoke(self, key_id: str, *, by: Principal, client: str = "") -> None:
        """End a key and every session that came from it."""
        _may_manage(by)
        self._seen(key_id, by)
        entry = entry_of(by, "key.revoke", self._clock.now(), target=key_id, client=client)
        if not self._store.revoke_key(key_id, Ending(self._now_ms(), by.name), entry):
            raise KeyEnded(f"key {key_id} had been revoked before")

    def install(self, token: str | None, *, by: Principal) -> KeyRecord | None:
        """Make `token` (`TESTOPS_API_KEY`) the maintainer key of the environment.

        Whatever was installed before and is another one ends now: a key that its operator took
        out of the environment must not go on to open the door.
        """
        presented = None if token is None else presented_key(token)
        if token is not None and presented is None:
            raise BadInput(
                "the key is too short, too long, or holds what no key has",
                where="TESTOPS_API_KEY",
                fix=f"give one that `testops keys create` printed, or {OWN_TOKEN_LENGTH_MIN} to "
                f"{TOKEN_LENGTH_MAX} printable characters (`openssl rand -hex 32`)",
            )
        wanted = None if presented is None else presented.key_id
        for old in self._store.all_keys():
            if old.origin == ENVIRONMENT and old.key_id != wanted and old.revoked_ms is None:
                self._end_installed(old, by)
        return None if presented is None else self._install(presented.key_id, presented.digest, by)

    def _install(self, key_id: str, digest: str, by: Principal) -> KeyRecord:
        now = self._clock.now()
        wanted = WantedKey("TESTOPS_API_KEY", Role.MAINTAINER)
        record = replace(
            _record(Minted(key_id, "", digest), wanted, by=ENVIRONMENT, now_ms=ms_of(now)),
            origin=ENVIRONMENT,
        )
        entry = entry_of(by, "key.install", now, target=key_id, detail=_told(record))
        if self._store.add_key(record, entry):
            return record
        known = self._store.key(key_id)
        assert known is not None, "a key that could not be added is there"
        if known.digest != digest:
            raise BadInput(
                f"another secret is stored for the key {key_id}", where="TESTOPS_API_KEY"
            )
        if known.origin == ENVIRONMENT and known.revoked_by == ENVIRONMENT:
            self._store.restore_key(key_id, entry)
        elif (ended := known.ended(ms_of(now))) is not None:
            raise BadInput(
                f"the key {key_id} is {ended}", where="TESTOPS_API_KEY", fix="set another one"
            )
        return known

    def _end_installed(self, old: KeyRecord, by: Principal) -> None:
        entry = entry_of(
            by, "key.revoke", self._clock.now(),
            target=old.key_id, detail={"why": "no longer in TESTOPS_API_KEY"},
        )  # fmt: skip
        self._store.revoke_key(old.key_id, Ending(self._now_ms(), ENVIRONMENT), entry)

    def _seen(self, key_id: str, by: Principal) -> KeyRecord:
        found = self._store.key(key_id)
        if found is None or not reaches(by.workspaces, found.holder.workspaces):
            raise UnknownKey(f"there is no key {key_id!r}", fix="see `testops keys list`")
        return found

    def _usable(self, key_id: str, by: Principal) -> KeyRecord:
        found = self._seen(key_id, by)
        ended = found.ended(self._now_ms())
        if ended is not None or found.replaced_by is not None:
            why = ended or f"replaced by {found.replaced_by}"
            raise KeyEnded(f"key {key_id} is {why}", fix="create a new one")
        return found

    def _now_ms(self) -> int:
        return ms_of(self._clock.now())


def _check(wanted: WantedKey, by: Principal) -> None:
    if not wanted.name.strip() or len(wanted.name) > NAME_LENGTH_MAX:
        raise BadInput(f"a name has 1 to {NAME_LENGTH_MAX} characters", where="name")
    if not wanted.name.isprintable():
        raise BadInput("a name is one line of printable characters", where="name")
    if wanted.lifetime_s is not None and not 1 <= wanted.lifetime_s <= LIFETIME_S_MAX:
        raise BadInput("a key lives between a second and ten years", where="lifetime")
    if wanted.workspaces is not None and not wanted.workspaces:
        raise BadInput("a key for no workspace opens nothing", where="workspaces")
    _may_manage(by)
    if not reaches(by.workspaces, wanted.workspaces):
        raise TooWide("the key would reach workspaces that you do not", where="workspaces")


def _may_manage(by: Principal) -> None:
    if not by.may(Permission.KEYS_MANAGE):
        raise TooWide(f"the role {by.role} does not manage keys")


def _record(minted: Minted, wanted: WantedKey, *, by: str, now_ms: int) -> KeyRecord:
    lifetime_s = wanted.lifetime_s
    return KeyRecord(
        key_id=minted.id,
        digest=minted.digest,
        holder=Holder(wanted.name, wanted.role, wanted.workspaces),
        origin="",
        created_by=by,
        created_ms=now_ms,
        expires_ms=None if lifetime_s is None else now_ms + lifetime_s * 1000,
    )


def _told(record: KeyRecord) -> dict[str, str | int | bool]:
    workspaces = record.holder.workspaces
    return {
        "name": record.holder.name,
        "role": record.holder.role.value,
        "workspaces": "*" if workspaces is None else " ".join(sorted(workspaces)),
        "expires": record.expires_ms is not None,
    }
