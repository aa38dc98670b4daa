"""What tests of hostile files are made with."""

import io
import tarfile
import zipfile

DEEP = "[" * 100_000 + "]" * 100_000
MIB = 1 << 20


def wheel(*members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


def sdist(*members):
    """Members as (name, bytes), or as (name, type, what it links to)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content, *more in members:
            info = tarfile.TarInfo(f"evil-1.0/{name}" if not name.startswith("/") else name)
            if more:
                info.type, info.linkname = content, more[0]
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return data.getvalue()
