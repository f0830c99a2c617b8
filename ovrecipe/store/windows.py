"""The one call to Windows that Python does not have: remove a name of a read-only file."""

from __future__ import annotations

import sys

DELETE = 0x00010000
SHARE_ALL = 0x7
OPEN_EXISTING = 3
#: Of a symbolic link, the link.
OPEN_REPARSE_POINT = 0x00200000
#: Source: winbase.h, FILE_INFO_BY_HANDLE_CLASS.
DISPOSITION_EX = 21
#: Source: winnt.h, FILE_DISPOSITION_FLAG_DELETE, _POSIX_SEMANTICS and
#: _IGNORE_READONLY_ATTRIBUTE; the last came with Windows 10 1809.
REMOVE_THOUGH_READ_ONLY = 0x1 | 0x2 | 0x10

if sys.platform == "win32":

    def unlink_read_only(name: str) -> None:
        """Remove one name of a file and change nothing of the file itself.

        Raises:
            OSError: Windows refused, as it does on file systems other than NTFS.
        """
        import ctypes
        from ctypes import wintypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateFileW.restype = wintypes.HANDLE
        kernel.SetFileInformationByHandle.argtypes = (
            wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD,
        )  # fmt: skip
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        handle = kernel.CreateFileW(
            name, DELETE, SHARE_ALL, None, OPEN_EXISTING, OPEN_REPARSE_POINT, None
        )
        if handle == wintypes.HANDLE(-1).value:
            raise ctypes.WinError(ctypes.get_last_error())
        flags = wintypes.DWORD(REMOVE_THOUGH_READ_ONLY)
        try:
            if not kernel.SetFileInformationByHandle(
                handle, DISPOSITION_EX, ctypes.byref(flags), ctypes.sizeof(flags)
            ):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            kernel.CloseHandle(handle)
