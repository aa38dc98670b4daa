"""A signed manifest: what a forger with a chain of valid statements cannot make."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import read_json, write_json
from atlas.job.attempts import now, user
from atlas.job.history import SIGNED, append, compile_history, head, lines
from atlas.job.records import HISTORY, MANIFEST, SIGNATURE, BrokenRecordError, Records
from atlas.job.statements import is_artefact
from atlas.lineage.faults import Fault, Verification
from atlas.lineage.verify import verify
from atlas.owners import machine
from atlas.sources.hub import REVISIONS


def make_manifest(records: Records) -> dict[str, Any]:
    """What is signed: artefacts, outer inputs, the history, and records that no statement knows.

    :returns: every attested artefact with its SHA-256 and that of its statement; ``sources``, outer
        inputs; ``absent``, those of both that are not here; ``history``, number of its lines and SHA-256
        of the last; ``records``, the commits of revisions.
    :raises BrokenRecordError: where a statement is not whole.
    """
    artefacts: dict[str, dict[str, str]] = {}
    sources: dict[str, str] = {}
    for name in records.attested():
        made = records.statement(name)
        assert made is not None
        artefacts[name] = {"sha256": made.outputs[name], "statement": made.digest}
        sources |= {path: d for path, d in made.inputs.items() if not is_artefact(path)}
    told = lines(records.root)
    return {
        "artefacts": artefacts,
        "sources": sources,
        "absent": [n for n in sorted({*artefacts, *sources}) if not records.path(n).is_file()],
        "history": {"lines": len(told), "head": head(told)},
        "records": _revisions(records),
    }


def _revisions(records: Records) -> dict[str, str]:
    """Commits that revisions were found to be: file -> SHA-256."""
    files = sorted((records.root / REVISIONS).glob("[!.]*.json"))
    return {f"{REVISIONS}/{file.name}": sha256_file(file) for file in files if file.is_file()}


def sign(records: Records, key: Path) -> tuple[Path, Path]:
    """Write the manifest and sign it; the history has a line of it.

    :param key: private EC key (PEM, P-256); made where there is none.
    :returns: the manifest, and the public key that checks it.
    :raises AtlasError: where something is broken, and for something that is no such key.
    """
    from model_signing import signing

    if not records.is_crate:
        compile_history(records.root)
    broken = [fault for fault in verify(records).broken
              if fault.file not in (MANIFEST, SIGNATURE) and fault.kind != "withdrawn"]  # fmt: skip
    if broken:
        raise AtlasError(
            f"{broken[0].file} {broken[0].sentence}: what is broken is not signed; see "
            "lineage.py verify."
        )
    public = _public_key(key)
    manifest, signature = records.root / MANIFEST, records.root / SIGNATURE
    manifest.parent.mkdir(parents=True, exist_ok=True)
    write_json(manifest, make_manifest(records))
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    config.sign(manifest.parent, signature)
    if not records.is_crate:
        said = {name: sha256_file(records.root / name) for name in (MANIFEST, SIGNATURE)}
        append(records.root, {SIGNED: said, "user": user(), "host": machine(), "ended": now()})
    return manifest, public


def _public_key(key: Path) -> Path:
    """Write the public half of a key beside it; the key is made where there is none."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = form.Encoding.PEM
    if not key.exists():
        data = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            pem, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        key.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(key, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as handle:
            handle.write(data)
    private = check_key(key)
    public = key.with_name(f"{key.name}.pub")
    half = private.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(half)
    return public


def check_key(key: Path) -> Any:
    """A private key that signs.

    :raises AtlasError: for something that is no such key.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        private = form.load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise AtlasError(
            f"{key}: is not a private key in PEM without a password ({error})."
        ) from None
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, curves):
        raise AtlasError(f"{key}: is not an EC key on the curve P-256, P-384 or P-521.")
    return private


def check_signature(records: Records, key: Path, names: Iterable[str] | None) -> Verification:
    """The manifest against its signature, and what is here against the manifest.

    :param key: public EC key (PEM).
    :param names: artefacts to look at; None for all that are signed or attested.
    :raises AtlasError: where there is no key.
    """
    from model_signing import verifying

    if not key.is_file():
        raise AtlasError(f"{key}: there is no such key.")
    manifest, signature = records.root / MANIFEST, records.root / SIGNATURE
    for file in (MANIFEST, SIGNATURE):
        if not (records.root / file).is_file():
            return _faulty([Fault("signature", file, "is missing: nothing here is signed")])
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        config.verify(manifest.parent, signature)
    except Exception as error:  # the library raises many kinds, all of them a refusal
        reason = str(error).partition("\n")[0]
        return _faulty([
            Fault("signature", MANIFEST, f"does not fit its signature and {key}: {reason}")
        ])  # fmt: skip
    signed = read_json(manifest)
    if "history" not in signed:
        return _faulty(
            [Fault("signature", MANIFEST, "signs less than is signed today; sign it again")]
        )
    wanted = {*signed["artefacts"], *records.attested()} if names is None else set(names)
    found = _faulty([*_artefacts(records, signed, wanted), *_records(records, signed, names)])
    told, known = lines(records.root), signed["history"]
    if told and head(told[: known["lines"]]) != known["head"]:
        found.faults.append(
            Fault("signature", HISTORY, "does not begin with the lines that were signed")
        )
    elif known["lines"] > len(told):
        what = f"has {len(told)} lines, and {known['lines']} were signed"
        found.faults.append(Fault("signature", HISTORY, what))
    # The line of the signature itself comes after what it signs.
    if (later := len(told) - known["lines"] - 1) > 0:
        found.notes.append(
            f"{later} lines of {HISTORY} came after the signature, which says nothing of them"
        )
    return found


def _faulty(faults: list[Fault]) -> Verification:
    return Verification(faults=faults)


def _artefacts(records: Records, signed: dict[str, Any], wanted: set[str]) -> list[Fault]:
    found = []
    for name in sorted(wanted):
        entry = signed["artefacts"].get(name)
        try:
            made = records.statement(name)
        except BrokenRecordError:
            continue  # said by the verification itself
        if entry is None:
            found.append(Fault("signature", name, "is not in the signed manifest"))
        elif made is None:
            found.append(Fault("signature", name, "is signed, and has no attestation any more"))
        elif made.digest != entry["statement"]:
            sentence = "is attested by another statement than the signed one"
            found.append(Fault("signature", name, sentence, entry["statement"], made.digest))
    return found


def _records(records: Records, signed: dict[str, Any], names: Iterable[str] | None) -> list[Fault]:
    """What was here when it was signed, and is gone; commits that are others now."""
    known = {*signed["artefacts"], *signed["sources"]} if names is None else set(names)
    kept = {
        n
        for n in known - set(signed["absent"])
        if n in signed["sources"] or records.mirror(n).exists()
    }
    gone = sorted(n for n in kept if not records.path(n).is_file())
    found = [Fault("signature", name, "was here when it was signed, and is gone") for name in gone]
    now = _revisions(records)
    return found + [
        Fault("signature", name, "is not the one that was signed", digest, now.get(name))
        for name, digest in signed["records"].items() if now.get(name) != digest
    ]  # fmt: skip
