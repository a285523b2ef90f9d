"""What programs do with files; each returns values that are the same on a real disk."""

# ruff: noqa: BLE001, SIM117  (every way to a file is the point)

import contextlib
import errno
import fcntl
import glob
import gzip
import io
import json
import logging
import logging.handlers
import mmap
import os
import shelve
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path


def error_of(call, *arguments, **keywords):
    """The name of the error that a call raises, and the file names that it tells."""
    try:
        value = call(*arguments, **keywords)
    except OSError as error:
        known = errno.errorcode.get(error.errno, error.errno)
        names = [os.path.basename(str(n)) for n in (error.filename, error.filename2) if n]
        return [type(error).__name__, known, names]
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["no error", type(value).__name__]


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


async def text_and_bytes():
    with folder() as base:
        path = base / "a.txt"
        out = [path.write_text("héllo\nworld\n", "utf-8"), path.read_bytes().hex()]
        with open(path, encoding="utf-8") as file:
            out += [file.readline(), file.tell(), file.read(), file.name == str(path), file.mode]
        with open(path, "a", encoding="latin-1", newline="\r\n") as file:
            out += [file.tell(), file.write("ü\n")]
        with open(path, "r+b") as file:
            out += [file.seek(-3, 2), file.read(), file.seek(2), file.write(b"XY"), file.tell()]
            out += [file.peek(1)[:1].hex(), file.truncate(7), file.tell()]
        return [*out, path.read_bytes().hex(), path.stat().st_size]


async def raw_files():
    with folder() as base:
        path = str(base / "raw")
        with open(path, "wb", buffering=0) as file:
            out = [isinstance(file, io.FileIO), file.write(b"0123456789"), file.mode, file.closefd]
            out += [file.readable(), file.writable(), file.seekable(), file.isatty()]
            out += [error_of(file.read), file.seek(20), file.write(b"x"), file.tell()]
        out += [file.closed, error_of(file.write, b""), error_of(file.fileno)]
        with io.FileIO(path) as file:
            buffer = bytearray(4)
            out += [file.readinto(buffer), buffer.decode(), file.readall().hex(), file.read(1)]
        fd = os.open(path, os.O_RDWR)
        with open(fd, "rb", closefd=False) as file:
            out.append(file.read(2).decode())
        out += [os.get_inheritable(fd), os.lseek(fd, 0, os.SEEK_CUR)]
        os.close(fd)
        return [*out, error_of(os.close, fd), error_of(os.fstat, fd), error_of(open, fd)]


async def modes_that_open_refuses():
    with folder() as base:
        path = str(base / "x")
        calls = [
            error_of(open, path),
            error_of(open, path, "rw"),
            error_of(open, path, "z"),
            error_of(open, path, "rbt"),
            error_of(open, path, "wb", encoding="utf-8"),
            error_of(open, path, "w", buffering=0),
            error_of(open, str(base), "w"),
            error_of(open, str(base)),
            error_of(open, path, "r", -1, None, None, None, False),
            error_of(io.FileIO, path, "q"),
            error_of(open, path + "\0"),
            error_of(open, ""),
            error_of(open, path, "xb"),
            error_of(open, path, "xb"),
            error_of(open, path + "/below"),
            error_of(open, path + "/", "w"),
            error_of(open, str(base / ("n" * 256)), "w"),
        ]
        return [calls, sorted(os.listdir(base))]


async def descriptors():
    with folder() as base:
        fd = os.open(base / "d", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        out = [os.write(fd, b"hello"), os.pwrite(fd, b"J", 0), os.pread(fd, 9, 1).decode()]
        os.close(fd)
        fd = os.open(base / "e", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        out += [os.writev(fd, [b"ab", b"cd", b"ef"]), os.pwritev(fd, [b"X", b"Y"], 2)]
        first, second = bytearray(3), bytearray(5)
        out += [os.preadv(fd, [first, second], 1), first.decode(), second.hex()]
        out += [
            os.lseek(fd, 2, os.SEEK_SET),
            os.read(fd, 2).decode(),
            os.lseek(fd, -1, os.SEEK_END),
        ]
        other = os.dup(fd)
        out += [
            os.lseek(other, 0, os.SEEK_CUR),
            os.lseek(other, 0, os.SEEK_SET),
            os.readv(fd, [first]),
        ]
        os.close(other)
        os.ftruncate(fd, 3)
        os.fsync(fd)
        os.fdatasync(fd)
        os.posix_fallocate(fd, 0, 9)
        status = os.fstat(fd)
        out += [status.st_size, stat.S_ISREG(status.st_mode), os.stat(fd).st_nlink]
        out += [fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE, os.isatty(fd)]
        os.close(fd)
        out += [oct(os.stat(base / "d").st_mode & 0o777), os.path.getsize(base / "e")]
        reader = os.open(base / "d", os.O_RDONLY)
        out += [error_of(os.write, reader, b"x"), error_of(os.lseek, reader, -1, 0)]
        out += [error_of(os.read, os.open(base, os.O_RDONLY | os.O_DIRECTORY), 1)]
        out += [error_of(os.open, base / "d", os.O_RDONLY | os.O_DIRECTORY)]
        os.truncate(base / "d", 2)
        return [*out, (base / "d").read_text()]


async def names():
    with folder() as base:
        (base / "a").write_text("1")
        (base / "sub" / "deep").mkdir(parents=True)
        os.link(base / "a", base / "b")
        os.symlink("a", base / "s")
        os.symlink("nowhere", base / "dangling")
        os.symlink("loop", base / "loop")
        out = [(base / "b").stat().st_nlink, os.readlink(base / "s"), (base / "s").read_text()]
        out += [os.path.exists(base / "dangling"), os.path.lexists(base / "dangling")]
        out += [os.path.samefile(base / "a", base / "s"), (base / "s").is_symlink()]
        out += [os.path.realpath(base / "sub" / ".." / "s") == os.path.realpath(base / "a")]
        out += [
            error_of(open, base / "loop"),
            error_of(os.mkdir, base / "a"),
            error_of(os.rmdir, base / "sub"),
            error_of(os.rmdir, base / "a"),
            error_of(os.unlink, base / "sub"),
            error_of(os.unlink, base / "missing"),
            error_of(os.rename, base / "missing", base / "x"),
            error_of(os.rename, base / "a", base / "sub"),
            error_of(os.rename, base / "sub", base / "a"),
            error_of(os.rename, base / "sub", base / "sub" / "deep" / "x"),
            error_of(os.link, base / "a", base / "b"),
            error_of(os.listdir, base / "a"),
            error_of(os.readlink, base / "a"),
            error_of(os.stat, base / "a" / "x"),
            error_of(os.makedirs, base / "sub" / "deep"),
        ]
        os.makedirs(base / "sub" / "deep", exist_ok=True)
        os.rename(base / "a", base / "c")
        os.replace(base / "c", base / "b")
        os.rename(base / "sub", base / "moved")
        os.removedirs(base / "moved" / "deep")
        (base / "s").unlink()
        out.append(sorted(os.listdir(base)))
        out.append(sorted(os.listdir(os.fsencode(base))) == sorted(map(os.fsencode, out[-1])))
        (base / "b").chmod(0o600)
        os.utime(base / "b", (5.5, 7.25))
        status = (base / "b").stat()
        out += [oct(status.st_mode), status.st_atime, status.st_mtime_ns, status.st_nlink]
        return [*out, os.access(base / "b", os.R_OK), os.access(base / "no", os.F_OK)]


async def walks():
    with folder() as base:
        for name in ("x/1", "x/2", "y/z/3"):
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text(name)
        os.symlink("x", base / "link")
        entries = {}
        with os.scandir(base) as found:
            for entry in found:
                is_x = entry.is_dir(), entry.is_dir(follow_symlinks=False), entry.is_symlink()
                entries[entry.name] = [*is_x, os.fspath(entry) == str(base / entry.name)]
                entries[entry.name].append(entry.inode() == os.lstat(entry.path).st_ino)
        out = [sorted(entries.items())]
        out.append(
            sorted([os.path.relpath(a, base), sorted(b), sorted(c)] for a, b, c in os.walk(base))
        )
        out.append(len(list(os.fwalk(base))))
        out.append(sorted(str(p.relative_to(base)) for p in base.rglob("*")))
        out.append(
            sorted(os.path.relpath(p, base) for p in glob.glob(f"{base}/**", recursive=True))
        )
        out.append(sorted(str(p.relative_to(base)) for p in base.glob("y/**/[0-9]")))
        out.append([(base / "x" / "1").is_file(), (base / "x").is_dir(), (base / "q").exists()])
        before = os.getcwd()
        os.chdir(base / "y")
        out += [sorted(os.listdir()), os.path.exists("z/3"), Path("z/3").read_text()]
        out += [os.path.abspath("z").endswith("/y/z"), Path.cwd().name]
        os.chdir(before)
        return out


async def copies():
    with folder() as base:
        (base / "from" / "in").mkdir(parents=True)
        (base / "from" / "in" / "f").write_bytes(os.urandom(0) + b"data" * 50_000)
        os.utime(base / "from" / "in" / "f", (10**9, 10**9 + 1))
        shutil.copytree(base / "from", base / "to")
        shutil.copy2(base / "from" / "in" / "f", base / "g")
        shutil.copyfile(base / "g", base / "h")
        shutil.move(base / "to", base / "moved")
        out = [(base / "moved" / "in" / "f").stat().st_mtime, (base / "g").stat().st_mtime]
        out += [(base / "h").stat().st_size, sorted(os.listdir(base))]
        shutil.rmtree(base / "moved")
        archive = shutil.make_archive(str(base / "packed"), "zip", base / "from")
        with zipfile.ZipFile(archive) as packed:
            out.append(sorted(packed.namelist()))
        with gzip.open(base / "z.gz", "wb") as file:
            file.write(b"zipped" * 10)
        with gzip.open(base / "z.gz") as file:
            out.append(len(file.read()))
        usage = shutil.disk_usage(base)
        return [*out, usage.total >= usage.free, sorted(os.listdir(base))]


async def temporary_files():
    out = []
    with tempfile.TemporaryFile() as file:
        file.write(b"gone")
        file.seek(0)
        out += [file.read().decode(), os.fstat(file.fileno()).st_nlink]
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file:
        file.write("named")
        file.flush()
        out += [Path(file.name).read_text(), file.name.endswith(".txt")]
    out.append(os.path.exists(file.name))
    with tempfile.SpooledTemporaryFile(max_size=4) as file:
        file.write(b"rolled over")
        file.seek(0)
        out.append(file.read().decode())
    fd, name = tempfile.mkstemp()
    out += [oct(os.stat(name).st_mode), os.write(fd, b"1")]
    os.close(fd)
    os.unlink(name)
    made = tempfile.mkdtemp(prefix="p-")
    out += [os.path.basename(made)[:2], oct(os.stat(made).st_mode)]
    os.rmdir(made)
    return out


async def unlinked_and_open():
    with folder() as base:
        path = base / "f"
        file = open(path, "w+")
        file.write("still there")
        os.unlink(path)
        path.write_text("another")
        file.seek(0)
        out = [file.read(), os.fstat(file.fileno()).st_nlink, path.read_text()]
        file.close()
        return out


async def locks():
    with folder() as base, open(base / "l", "w") as first, open(base / "l") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        out = [error_of(fcntl.flock, second, fcntl.LOCK_SH | fcntl.LOCK_NB)]
        fcntl.flock(first, fcntl.LOCK_SH)
        fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
        out.append(error_of(fcntl.flock, first, fcntl.LOCK_EX | fcntl.LOCK_NB))
        second.close()
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(first, fcntl.LOCK_UN)
        return out


async def maps():
    with folder() as base:
        (base / "m").write_bytes(b"mapped bytes")
        with open(base / "m", "rb") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                out = [view[:6].decode(), len(view), view.find(b"bytes")]
                out.append(error_of(view.write, b"x"))
        with mmap.mmap(-1, 16) as memory:
            memory.write(b"anonymous")
            return [*out, memory[:9].decode()]


async def libraries():
    with folder() as base:
        handler = logging.handlers.RotatingFileHandler(base / "log", maxBytes=40, backupCount=2)
        logger = logging.getLogger("files")
        logger.addHandler(handler)
        for number in range(5):
            logger.warning("line number %d of five", number)
        handler.close()
        out = [sorted(os.listdir(base)), (base / "log").read_text()]
        (base / "j").write_text(json.dumps({"a": [1, 2]}))
        with open(base / "j") as file:
            out.append(json.load(file))
        import dbm.dumb

        with dbm.dumb.open(str(base / "db"), "n") as database:
            database["k"] = "v"
        with dbm.dumb.open(str(base / "db")) as database:
            out.append(database["k"].decode())
        with shelve.Shelf(dbm.dumb.open(str(base / "shelf"), "n")) as shelf:
            shelf["list"] = [1]
            out.append(shelf["list"])
        return out


async def devices():
    with open("/dev/null", "w") as null:
        null.write("nothing")
    out = [Path("/dev/null").read_bytes().hex(), len(Path("/dev/null").read_bytes())]
    with open("/dev/urandom", "rb") as random, open("/dev/zero", "rb") as zero:
        out += [len(random.read(16)), zero.read(3).hex()]
    return [*out, stat.S_ISCHR(os.stat("/dev/null").st_mode), os.path.exists(os.devnull)]
