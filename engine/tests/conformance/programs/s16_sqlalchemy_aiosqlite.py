"""SQLAlchemy's asyncio layer over aiosqlite, whose connections live in threads of their own."""

import asyncio

from sqlalchemy import ForeignKey, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import StaticPool

import toron

TRANSFERS = 8
PATH = "/var/lib/accounts.db"
LEFT = [["ann", 70, [-5] * 6], ["bob", 30, [5] * 6]], 100


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]
    moves: Mapped[list["Move"]] = relationship(order_by="Move.id")


class Move(Base):
    __tablename__ = "moves"
    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    amount: Mapped[int]


def open_memory():
    return create_async_engine("sqlite+aiosqlite:///:memory:", poolclass=StaticPool)


async def prepare(engine):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([Account(name="ann", balance=100), Account(name="bob", balance=0)])


async def transfer(engine, number, amount):
    async with AsyncSession(engine) as session, session.begin():
        for name, signed in (("ann", -amount), ("bob", amount)):
            account = await session.get_one(Account, name)
            account.balance += signed
            session.add(Move(id=2 * number + (signed > 0), account=name, amount=signed))
        if account.balance > 30:
            raise ValueError("too rich")


async def balances(engine):
    async with AsyncSession(engine) as session:
        statement = select(Account).options(selectinload(Account.moves)).order_by(Account.name)
        accounts = (await session.scalars(statement)).all()
        total = await session.scalar(select(func.sum(Account.balance)))
        return [[a.name, a.balance, [m.amount for m in a.moves]] for a in accounts], total


async def work(engine):
    await prepare(engine)
    refused = 0
    for number in range(TRANSFERS):
        try:
            await transfer(engine, number, 5)
        except ValueError:
            refused += 1
        await asyncio.sleep(0.1)
    return refused


async def main():
    engine = open_memory()
    refused = await work(engine)
    found, total = await balances(engine)
    assert (found, total) == LEFT
    try:
        await prepare(engine)
    except IntegrityError as error:
        again = type(error.orig).__name__
    await engine.dispose()
    assert (refused, total, again) == (2, 100, "IntegrityError")
    return [refused, found, total, again]


# The same on a file, by a program that goes on where it was


def open_file():
    engine = create_async_engine(f"sqlite+aiosqlite:///{PATH}")

    @event.listens_for(engine.sync_engine, "connect")
    def _be_durable(connection, _record):
        # SQLite's default may lose the last commit with the power: the journal's end is not synced.
        connection.execute("PRAGMA synchronous=EXTRA")

    return engine


class Teller:
    """Carries out the transfers one after the other, each until it is in the books."""

    def __init__(self):
        self.confirmed, self.lost, self.left = [], [], None

    async def run(self):
        engine = open_file()
        await self.insist(self.open_books, engine)
        await self.insist(self.find_what_was_confirmed, engine)
        for number in range(TRANSFERS):
            await self.insist(self.transfer_once, engine, number)
            await asyncio.sleep(0.01)
        self.left = await balances(engine)
        await engine.dispose()

    async def insist(self, attempt, *arguments):
        while True:
            try:
                return await attempt(*arguments)
            except DBAPIError as error:
                self.lost.append(str(error.orig))
            await asyncio.sleep(0.05)

    async def open_books(self, engine):
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session, session.begin():
            if await session.get(Account, "ann") is None:
                session.add_all([Account(name="ann", balance=100), Account(name="bob", balance=0)])

    async def find_what_was_confirmed(self, engine):
        async with AsyncSession(engine) as session:
            assert await session.scalar(text("PRAGMA integrity_check")) == "ok"
            found = (await session.scalars(select(Move.id))).all()
            total = await session.scalar(select(func.sum(Account.balance)))
        assert {2 * number for number in self.confirmed} <= set(found), (self.confirmed, found)
        assert total == 100, "half of a transfer"

    async def transfer_once(self, engine, number):
        async with AsyncSession(engine) as session:
            is_known = await session.get(Move, 2 * number) is not None
        try:
            if not is_known:
                await transfer(engine, number, 5)
        except ValueError:
            return
        self.confirmed.append(number)


@toron.kernel
async def crashed(world):
    """Power goes three times; what was confirmed is in the books, and nothing is there by half."""
    teller = Teller()
    database = world.host("database")
    database.spawn(teller.run)
    for number in range(3):
        await world.sleep(0.06)
        world.record(f"confirmed before cut {number}", len(set(teller.confirmed)))
        database.crash()
        await world.sleep(0.1)
        assert teller.left is None, "the power cut came after the work"
        database.restart()
    await world.sleep(10)
    assert teller.left == LEFT, teller.left


@toron.kernel
async def disk_full(world):
    """No byte fits for a second: transfers fail, and are all made once there is room."""
    teller = Teller()
    database = world.host("database")
    database.spawn(teller.run)
    await world.sleep(0.1)
    disk = database.disk
    disk.capacity = sum(len(disk.read(path)) for path in disk.files())
    await world.sleep(1)
    assert teller.left is None, "the disk was full after the work"
    disk.heal()
    await world.sleep(10)
    assert "database or disk is full" in teller.lost, teller.lost
    assert teller.left == LEFT, teller.left


@toron.kernel
async def io_errors(world):
    """Reads, writes and syncs fail now and then: nothing is lost of what was confirmed."""
    teller = Teller()
    database = world.host("database")
    database.spawn(teller.run)
    await world.sleep(0.06)
    assert teller.left is None, "the disk failed after the work"
    disk = database.disk
    rules = [disk.fail_reads(probability=0.2), disk.fail_writes(probability=0.2)]
    rules.append(disk.fail_fsync(probability=0.2))
    await world.sleep(0.4)
    disk.heal(rules)
    await world.sleep(10)
    assert teller.lost, "no fault met the work"
    assert teller.left == LEFT, teller.left
    await world.host("database").spawn(teller.find_what_was_confirmed, open_file())
