"""A store with a write-ahead log and snapshots, and two ways to get it wrong."""

import asyncio
import os
import struct
import zlib

FOLDER = "/var/lib/store"
RECORD = struct.Struct("<III")


def sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


class Store:
    def __init__(self, *, syncs_files, syncs_folders):
        self.syncs_files = syncs_files
        self.syncs_folders = syncs_folders
        self.values = {}
        if not os.path.isdir(FOLDER):
            os.mkdir(FOLDER)
            sync_folder(os.path.dirname(FOLDER))
        self._replay(f"{FOLDER}/snapshot")
        whole = self._replay(f"{FOLDER}/log")
        self.log = open(f"{FOLDER}/log", "ab")
        self.log.truncate(whole)
        self._flush(self.log)
        self._keep_names()

    def _replay(self, path):
        if not os.path.exists(path):
            return 0
        with open(path, "rb") as file:
            raw = file.read()
        at = 0
        while at + RECORD.size <= len(raw):
            check, key, value = RECORD.unpack_from(raw, at)
            if check != self._check(key, value):
                break
            self.values[key] = value
            at += RECORD.size
        return at

    @staticmethod
    def _check(key, value):
        return zlib.crc32(struct.pack("<II", key, value))

    def _flush(self, file):
        file.flush()
        if self.syncs_files:
            os.fsync(file.fileno())

    def _keep_names(self):
        if self.syncs_folders:
            sync_folder(FOLDER)

    def put(self, key, value):
        self.values[key] = value
        self.log.write(RECORD.pack(self._check(key, value), key, value))
        self._flush(self.log)

    def compact(self):
        with open(f"{FOLDER}/snapshot.new", "wb") as file:
            file.writelines(RECORD.pack(self._check(k, v), k, v) for k, v in self.values.items())
            self._flush(file)
        os.replace(f"{FOLDER}/snapshot.new", f"{FOLDER}/snapshot")
        self._keep_names()
        self.log.truncate(0)
        self._flush(self.log)


async def live_and_crash(world, *, syncs_files=True, syncs_folders=True):
    host, confirmed, count = world.host("db"), {}, 0

    async def life():
        nonlocal count
        store = Store(syncs_files=syncs_files, syncs_folders=syncs_folders)
        for key, value in confirmed.items():
            found = store.values.get(key, 0)
            assert found >= value, f"key {key} was confirmed as {value} and is {found}"
        while True:
            count += 1
            store.put(count % 7, count)
            confirmed[count % 7] = count
            if count % 10 == 0:
                store.compact()
            await asyncio.sleep(0.1)

    host.spawn(life)
    world.faults(crashes=True, within=10)
    await world.sleep(12)


async def correct(world):
    await live_and_crash(world)


async def without_fsync(world):
    await live_and_crash(world, syncs_files=False)


async def without_fsync_of_the_folder(world):
    await live_and_crash(world, syncs_folders=False)
