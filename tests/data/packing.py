"""Makes the archives that package managers deliver."""

import io
import lzma
import tarfile


def tar(*members: tuple[str, bytes, bytes], mode: str = "w") -> bytes:
    """Return a tar archive of (name, type, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    """Return an ar archive, as Debian packages are."""
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return data


def deb(data_tar: bytes) -> bytes:
    return ar(("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", lzma.compress(data_tar)))
