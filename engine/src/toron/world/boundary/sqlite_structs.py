"""The C structures by which SQLite calls a virtual file system (sqlite3.h, stable since 3.7)."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_double, c_int, c_int64, c_void_p

_P = ctypes.POINTER


class SqliteFile(ctypes.Structure):
    """``sqlite3_file`` and our own number behind it."""

    _fields_ = (("methods", c_void_p), ("number", c_int64))


FILE = _P(SqliteFile)

IO_CALLS = {
    "close": ctypes.CFUNCTYPE(c_int, FILE),
    "read": ctypes.CFUNCTYPE(c_int, FILE, c_void_p, c_int, c_int64),
    "write": ctypes.CFUNCTYPE(c_int, FILE, c_void_p, c_int, c_int64),
    "truncate": ctypes.CFUNCTYPE(c_int, FILE, c_int64),
    "sync": ctypes.CFUNCTYPE(c_int, FILE, c_int),
    "file_size": ctypes.CFUNCTYPE(c_int, FILE, _P(c_int64)),
    "lock": ctypes.CFUNCTYPE(c_int, FILE, c_int),
    "unlock": ctypes.CFUNCTYPE(c_int, FILE, c_int),
    "check_reserved_lock": ctypes.CFUNCTYPE(c_int, FILE, _P(c_int)),
    "file_control": ctypes.CFUNCTYPE(c_int, FILE, c_int, c_void_p),
    "sector_size": ctypes.CFUNCTYPE(c_int, FILE),
    "device_characteristics": ctypes.CFUNCTYPE(c_int, FILE),
    "shm_map": ctypes.CFUNCTYPE(c_int, FILE, c_int, c_int, c_int, _P(c_void_p)),
    "shm_lock": ctypes.CFUNCTYPE(c_int, FILE, c_int, c_int, c_int),
    "shm_barrier": ctypes.CFUNCTYPE(None, FILE),
    "shm_unmap": ctypes.CFUNCTYPE(c_int, FILE, c_int),
}

VFS_CALLS = {
    "open": ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, FILE, c_int, _P(c_int)),
    "delete": ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int),
    "access": ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, _P(c_int)),
    "full_pathname": ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, c_void_p),
    "dl_open": ctypes.CFUNCTYPE(c_void_p, c_void_p, c_char_p),
    "dl_error": ctypes.CFUNCTYPE(None, c_void_p, c_int, c_void_p),
    "dl_sym": ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_char_p),
    "dl_close": ctypes.CFUNCTYPE(None, c_void_p, c_void_p),
    "randomness": ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_void_p),
    "sleep": ctypes.CFUNCTYPE(c_int, c_void_p, c_int),
    "current_time": ctypes.CFUNCTYPE(c_int, c_void_p, _P(c_double)),
    "last_error": ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_void_p),
    "current_time_int64": ctypes.CFUNCTYPE(c_int, c_void_p, _P(c_int64)),
}


class IoMethods(ctypes.Structure):
    """``sqlite3_io_methods``, version 2: with shared memory, without mapped files."""

    _fields_ = (("version", c_int), *IO_CALLS.items())


class Vfs(ctypes.Structure):
    """``sqlite3_vfs``, version 2."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("path_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        *VFS_CALLS.items(),
    )


__all__ = ["FILE", "IO_CALLS", "VFS_CALLS", "IoMethods", "SqliteFile", "Vfs"]
