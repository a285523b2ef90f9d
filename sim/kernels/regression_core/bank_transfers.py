"""Tellers move money between two banks; a transfer is a withdrawal and then a deposit elsewhere.

Either message may be lost after it was acted on, and a bank or a teller may lose power between any
two of them. Exactly once is therefore made of two halves: the teller repeats each step until it is
confirmed, also after its own crash, and the bank remembers by key what it has done. The money that
has been withdrawn and not yet deposited is in transit, and counts.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import toron
from sim.kernels.messages import Channel, Message, Unanswered, answer_questions

BANKS = ("north", "south")
TELLERS = ("kim", "lee", "max")
ACCOUNTS_EACH = 2
OPENING_BALANCE = 100
TRANSFERS_EACH = 6
AMOUNTS = (10, 90)
FAULTS_S = 6.0
RECOVERY_S = 14.0
ANSWER_S = 0.3
DISK_S = (0.005, 0.06)
PACE_S = (0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps the money safe. Tests break one rule at a time and Toron must notice."""

    keys_are_checked: bool = True
    one_writer_an_account: bool = True


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a customer has asked for. ``key`` names it for ever."""

    key: str
    source: tuple[str, str]
    target: tuple[str, str]
    amount: int


@dataclass(slots=True)
class Vault:
    """What a bank still knows after a power cut."""

    balances: dict[str, int]
    answers: dict[str, str] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    """The keys of all changes, in order: one that stands here twice was applied twice."""


class Bank:
    """One bank between two power cuts."""

    def __init__(self, vault: Vault, rules: Rules) -> None:
        self._vault = vault
        self._rules = rules
        self._writers = {account: asyncio.Semaphore(1) for account in vault.balances}

    async def answer(self, question: Message) -> Message:
        writer = self._writers[question["account"]]
        if not self._rules.one_writer_an_account:
            writer = asyncio.Semaphore(1)
        async with writer:
            result = await self._change(question["account"], question["by"], question["key"])
        return {"result": result}

    async def _change(self, account: str, by: int, key: str) -> str:
        vault = self._vault
        if key in vault.answers and self._rules.keys_are_checked:
            return vault.answers[key]
        is_covered = vault.balances[account] + by >= 0
        await asyncio.sleep(random.uniform(*DISK_S))
        # One write: after a power cut either all of it is on the disk or nothing.
        vault.answers[key] = "done" if is_covered else "refused"
        if is_covered:
            vault.balances[account] += by
            vault.applied.append(key)
        return vault.answers[key]


@dataclass(slots=True)
class Journal:
    """What a teller still knows after a power cut: how each transfer ended."""

    ended: dict[str, str] = field(default_factory=dict)
    retries: int = 0


class Teller:
    """One teller between two power cuts; begins again with the first transfer not yet ended."""

    def __init__(self, transfers: list[Transfer], journal: Journal) -> None:
        self._transfers = transfers
        self._journal = journal
        self._banks = {name: Channel(name, timeout_s=ANSWER_S) for name in BANKS}

    async def work(self) -> None:
        for transfer in self._transfers:
            if transfer.key in self._journal.ended:
                continue
            await asyncio.sleep(random.uniform(*PACE_S))
            result = await self._insist(transfer.source, -transfer.amount, _out(transfer))
            if result == "done":
                await self._insist(transfer.target, transfer.amount, _in(transfer))
            self._journal.ended[transfer.key] = result

    async def _insist(self, place: tuple[str, str], by: int, key: str) -> str:
        """Repeat one step until the bank confirms or refuses it, slower each time."""
        bank, account = place
        wait_s = 0.05
        while True:
            try:
                answer = await self._banks[bank].ask("change", account=account, by=by, key=key)
            except Unanswered:
                self._journal.retries += 1
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
                wait_s = min(2 * wait_s, 1.0)
            else:
                return str(answer["result"])


def _out(transfer: Transfer) -> str:
    return f"{transfer.key}/out"


def _in(transfer: Transfer) -> str:
    return f"{transfer.key}/in"


class Audit:
    """What somebody sees who can open all vaults at once; neither bank nor teller may."""

    def __init__(self, vaults: dict[str, Vault], transfers: list[Transfer]) -> None:
        self._vaults = vaults
        self._transfers = transfers
        self.opening_total = self.total()

    def total(self) -> int:
        """All balances and what is in transit."""
        held = sum(sum(vault.balances.values()) for vault in self._vaults.values())
        done = {key for vault in self._vaults.values() for key in vault.applied}
        moving = [t for t in self._transfers if _out(t) in done and _in(t) not in done]
        return held + sum(transfer.amount for transfer in moving)

    def lowest(self) -> int:
        return min(min(vault.balances.values()) for vault in self._vaults.values())

    def has_repeats(self) -> bool:
        lists = [vault.applied for vault in self._vaults.values()]
        return any(len(applied) != len(set(applied)) for applied in lists)


def draw_transfers(teller: str) -> list[Transfer]:
    """What the customers of one teller ask for in this run."""
    places = [(bank, f"{bank}-{number}") for bank in BANKS for number in range(ACCOUNTS_EACH)]
    transfers = []
    for number in range(TRANSFERS_EACH):
        source, target = random.sample(places, 2)
        transfers.append(Transfer(f"{teller}-{number}", source, target, random.randint(*AMOUNTS)))
    return transfers


async def move_money(world: toron.World, rules: Rules) -> None:
    """Transfers through faults: money is conserved, never negative, each step applied once."""
    vaults = {
        bank: Vault({f"{bank}-{number}": OPENING_BALANCE for number in range(ACCOUNTS_EACH)})
        for bank in BANKS
    }
    journals = {teller: Journal() for teller in TELLERS}
    orders = {teller: draw_transfers(teller) for teller in TELLERS}
    audit = Audit(vaults, [transfer for order in orders.values() for transfer in order])

    async def bank(name: str) -> None:
        await answer_questions(Bank(vaults[name], rules).answer)

    async def teller(name: str) -> None:
        await Teller(orders[name], journals[name]).work()

    def is_settled() -> bool:
        return all(len(journal.ended) == TRANSFERS_EACH for journal in journals.values())

    for name in BANKS:
        world.host(name).spawn(bank, name)
    for name in TELLERS:
        world.host(name).spawn(teller, name)
        for other in BANKS:
            world.net.link(name, other, latency=(0.001, 0.020), loss=0.05)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always("each step of a transfer is applied once", lambda: not audit.has_repeats())
    world.always("money is conserved", lambda: audit.total() == audit.opening_total)
    world.always("no balance is negative", lambda: audit.lowest() >= 0)
    world.eventually("every transfer ends", is_settled, within=FAULTS_S + RECOVERY_S)
    while not is_settled() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    results = [result for journal in journals.values() for result in journal.ended.values()]
    world.sometimes("a step was repeated", any(journal.retries for journal in journals.values()))
    world.sometimes("a transfer was refused", "refused" in results)
    world.record("balances", {name: vault.balances for name, vault in vaults.items()})
    world.record("ended", {name: journal.ended for name, journal in journals.items()})
    world.record("retries", {name: journal.retries for name, journal in journals.items()})


@toron.kernel
async def bank_transfers(world: toron.World) -> None:
    await move_money(world, Rules())
