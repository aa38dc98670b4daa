"""The signature of a model: by model-signing, which checks it wherever the model goes."""

from pathlib import Path

from atlas.errors import AtlasError
from atlas.files import link, passing_folder
from atlas.lineage.signature import check_key


def sign_model(*, files: list[Path], signature: Path, key: str | None) -> None:
    """Sign the files of a model, as a folder that has nothing else.

    :param key: private EC key (PEM), from the folder of the results.
    :raises AtlasError: where there is no key.
    """
    from model_signing import signing

    if key is None or not Path(key).is_file():
        raise AtlasError(
            f"signing_key: {key or 'is not set'}{' is no file' if key else ''}; name a private EC key, "
            "which `lineage.py sign --key FILE` makes."
        )
    check_key(Path(key))
    # Beside the model: its files are linked, and not copied.
    with passing_folder(signature.parent) as place:
        folder = Path(place) / files[0].parent.name
        folder.mkdir()
        for file in files:
            link(file, folder / file.name)
        config = signing.Config().use_elliptic_key_signer(private_key=Path(key))
        config.sign(folder, signature)
