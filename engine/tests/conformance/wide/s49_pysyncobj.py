"""PySyncObj: three Raft nodes in one process, driven by hand, agree on a counter."""

import asyncio

from pysyncobj import SyncObj, SyncObjConf, replicated


class Counter(SyncObj):
    def __init__(self, me, others):
        super().__init__(me, others, SyncObjConf(autoTick=False, dynamicMembershipChange=False))
        self.value = 0

    @replicated
    def add(self, n):
        self.value += n
        return self.value


async def main():
    names = [f"127.0.0.1:{port}" for port in (18101, 18102, 18103)]
    nodes = [Counter(name, [n for n in names if n != name]) for name in names]

    async def until(condition):
        for _ in range(2000):
            if condition():
                return True
            for node in nodes:
                node.doTick(0.0)
            await asyncio.sleep(0.005)
        return False

    assert await until(lambda: all(node._isReady() for node in nodes))
    answers = []
    for number in range(3):
        nodes[number].add(
            number + 1, callback=lambda value, error: answers.append([value, str(error)])
        )
        assert await until(lambda n=number: len(answers) == n + 1)
    assert await until(lambda: all(node.value == 6 for node in nodes))
    for node in nodes:
        node.destroy()
        node.doTick(0.0)
    assert answers == [[1, "0"], [3, "0"], [6, "0"]], answers
    return answers
