"""SQLAlchemy's asyncio layer over aiosqlite, whose connections live in threads of their own."""

import asyncio

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import StaticPool

import toron

TRANSFERS = 8


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
    try:
        await prepare(engine)
    except IntegrityError as error:
        again = type(error.orig).__name__
    await engine.dispose()
    assert (refused, total, again) == (2, 100, "IntegrityError")
    assert found == [["ann", 70, [-5] * 6], ["bob", 30, [5] * 6]]
    return [refused, found, total, again]


@toron.kernel
async def crashed(world):
    """Power goes in the middle of the work; memory is lost, and the work is done from the start."""
    results = []

    async def run():
        engine = open_memory()
        refused = await work(engine)
        results.append((refused, await balances(engine)))

    world.host("database").spawn(run)
    await world.sleep(0.35)
    world.host("database").crash()
    await world.sleep(1)
    assert results == []
    world.host("database").restart()
    await world.sleep(5)
    assert results == [(2, ([["ann", 70, [-5] * 6], ["bob", 30, [5] * 6]], 100))], results
