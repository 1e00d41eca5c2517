"""Which place objects and the epoch key lie in: `freehold.yaml` decides."""

from __future__ import annotations

from freehold.spec.config import Config
from freehold.spec.s3 import place
from freehold.store.blobs import Blobs, FileBlobs
from freehold.store.epoch import EpochKeys, FileEpoch
from freehold.store.home import Home
from freehold.store.hsm import HsmEpoch
from freehold.store.s3 import S3Blobs


def objects_of(home: Home, config: Config) -> Blobs:
    """`objects: s3://…` of the configuration, else files in the home folder. Raises NotAnAddress, NoS3."""
    return S3Blobs(place(config.objects)) if config.objects else FileBlobs(home.blobs)


def epoch_of(home: Home, config: Config) -> EpochKeys:
    """The module that `hsm` names, else a file in the control folder."""
    return HsmEpoch(home.epoch_key, config.hsm) if config.hsm.module else FileEpoch(home.epoch_key)
